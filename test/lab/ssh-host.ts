// A host of the lab: namespaces of its own for network, processes, files and name, in which a real sshd runs. Its home
// folders, /tmp, /var/tmp, /run, /etc/passwd and sshd's settings are its own; programs are this machine's.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { binary } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { commandOf, run } from "./namespaces.ts";
import type { Network } from "./network.ts";

export interface SshHostOptions {
  /** The networks it stands in. Default: the outside. */
  segments?: string[];
  /** The host through which alone the desk's ~/.ssh/config leads to it. */
  jump?: string;
  /** The port of its network's router that leads to its sshd. */
  port?: number;
  /** Who logs in. Default root; any other is made for it, without rights. */
  user?: string;
  /** Default /bin/bash. */
  shell?: string;
  /** Folders that hold so many KiB and no more; in memory. */
  sizesKib?: Record<string, number>;
  /** Folders from which nothing can be run. */
  noexec?: string[];
  /** Programs that it lacks. */
  without?: string[];
  /** Text by path: programs that are other ones there, such as {"/usr/bin/uname": "#!/bin/sh\necho ..."}. */
  programs?: Record<string, string>;
  /** Files of its user, by path below the home folder. */
  files?: Record<string, string>;
  /** The binary is in its cache already, so that a test need not wait for its way there. */
  hasBinary?: boolean;
  /** Further lines of sshd_config, which precede the lab's. */
  sshd?: string[];
}

/** Everything a user may write to. */
export const WRITABLE = ["/root", "/home", "/tmp", "/var/tmp", "/run", "/dev/shm"];

export class SshHost {
  readonly name: string;
  readonly user: string;
  /** The home folder of its user, on the host. */
  readonly home: string;
  readonly options: SshHostOptions;
  readonly #network: Network;
  /** Where on this machine its files are. */
  readonly #folder: string;
  #init = 0;
  #child: Bun.Subprocess | undefined;

  constructor(name: string, options: SshHostOptions, network: Network, folder: string) {
    this.name = name;
    this.options = options;
    this.user = options.user ?? "root";
    this.home = this.user === "root" ? "/root" : `/home/${this.user}`;
    this.#network = network;
    this.#folder = folder;
  }

  /** Resolves when its sshd takes logins of whoever has the key. */
  async start(authorizedKey: string): Promise<void> {
    this.#layOut(authorizedKey);
    const namespace = this.#network.namespace(this.name);
    const own = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child"];
    this.#child = Bun.spawn(["ip", "netns", "exec", namespace, ...own, "sh", "-c", this.#setup()], {
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
      stdio: ["ignore", Bun.file(join(this.#folder, "init")), Bun.file(join(this.#folder, "setup"))],
    });
    const isUp = () => existsSync(join(this.#folder, "etc/sshd.pid")) || this.#child!.exitCode !== null;
    await until(isUp, { what: `sshd of ${this.name}` });
    if (this.#child.exitCode !== null) throw new Error(`${this.name}: ${this.#text("setup")}${this.#text("etc/log")}`);
    this.#init = Number(this.#text("init").trim());
  }

  get address(): string {
    return this.#network.address(this.name);
  }

  /** The line of its host key: "ssh-ed25519 AAAA...". */
  get hostKey(): string {
    return this.#text("etc/ssh_host_ed25519_key.pub").split(" ").slice(0, 2).join(" ").trim();
  }

  /** What its sshd logged. */
  get log(): string {
    return this.#text("etc/log");
  }

  /** Where a file of the host is seen from outside. */
  path(onHost: string): string {
    return `/proc/${this.#init}/root${onHost}`;
  }

  /** Command lines of what runs there, besides the lab's own and sshd. */
  get processes(): { pid: number; command: string[] }[] {
    const pids = this.#network.processes(this.name).filter((pid) => pid !== this.#init && pid !== this.#child?.pid);
    const all = pids.map((pid) => ({ pid, command: commandOf(pid) })).filter(({ command }) => command.length > 0);
    return all.filter(({ command }) => !/^sshd: |^sleep 86399$|sshd -f/.test(command.join(" ")));
  }

  /** Paths of all that users wrote there: what sshd and the lab need is left out. */
  get files(): string[] {
    const found = this.run(
      `find ${WRITABLE.join(" ")} -mindepth 1 -not -path '/run/sshd*' -not -path '/run/programs*'`,
    );
    const laid = new Set(Object.keys(this.options.files ?? {}).map((name) => `${this.home}/${name}`));
    return found
      .split("\n")
      .filter((path) => path !== "" && path !== this.home && !laid.has(path))
      .sort();
  }

  /** Runs a script there as root, not through its sshd. Returns what it printed; throws when it fails. */
  run(script: string): string {
    return run("nsenter", "-t", String(this.#init), "-m", "-u", "-n", "-p", "sh", "-c", script);
  }

  /** A key that nobody has seen yet. */
  changeKey(): void {
    this.stopSshd();
    this.#makeKey();
    this.startSshd();
  }

  /** Stops its sshd; sessions go on. */
  stopSshd(): void {
    this.run("kill $(cat /etc/ssh/sshd.pid); while [ -e /etc/ssh/sshd.pid ]; do sleep 0.01; done");
  }

  /** Returns when logins are taken again. */
  startSshd(): void {
    this.run(`${SSHD}; while ! [ -e /etc/ssh/sshd.pid ]; do sleep 0.01; done`);
  }

  /** Ends every login that is open, as a network that breaks would. */
  dropLogins(): void {
    this.run("for p in $(grep -ls '^sshd: ' /proc/[0-9]*/cmdline | cut -d / -f 3); do kill -9 $p; done");
  }

  #layOut(authorizedKey: string): void {
    for (const path of WRITABLE) mkdirSync(this.#own(path), { recursive: true });
    const etc = join(this.#folder, "etc");
    mkdirSync(etc);
    this.#makeKey();
    writeFileSync(join(etc, "authorized_keys"), `${authorizedKey}\n`);
    writeFileSync(join(etc, "sshd_config"), this.#config());
    const { user, home } = this;
    const shell = this.options.shell ?? "/bin/bash";
    const line = user === "root" ? "" : `${user}:x:4711:4711::${home}:${shell}\n`;
    const root = `root:x:0:0:root:/root:${user === "root" ? shell : "/bin/sh"}\n`;
    const system =
      "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n";
    writeFileSync(join(etc, "passwd"), root + system + line);
    writeFileSync(join(etc, "shadow"), ["root", "sshd", user].map((name) => `${name}:*:19000:0:99999:7:::\n`).join(""));
    writeFileSync(join(etc, "group"), `root:x:0:\nnogroup:x:65534:\n${user === "root" ? "" : `${user}:x:4711:\n`}`);
    if (this.options.hasBinary) this.#placeBinary();
    for (const [name, text] of Object.entries(this.options.files ?? {})) {
      const path = join(this.#own(home), name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    Object.values(this.options.programs ?? {}).forEach((text, index) => {
      writeFileSync(join(etc, `program-${index}`), text);
      chmodSync(join(etc, `program-${index}`), 0o755);
    });
  }

  #placeBinary(): void {
    const path = join(this.#own(this.home), ".cache/mesh/bin", binaryHash(), "mesh");
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    copyFileSync(binary, path);
  }

  #makeKey(): void {
    const path = join(this.#folder, "etc/ssh_host_ed25519_key");
    run("sh", "-c", 'rm -f "$0" && ssh-keygen -q -t ed25519 -N "" -C "" -f "$0"', path);
  }

  #config(): string {
    return `${(this.options.sshd ?? []).map((line) => `${line}\n`).join("")}Port 22
PidFile /etc/ssh/sshd.pid
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
PrintMotd no
LogLevel VERBOSE
Subsystem sftp internal-sftp
`;
  }

  /** What process 1 of the host does: makes its view of the files, starts sshd, and reaps what is left to it. */
  #setup(): string {
    const { sizesKib = {}, noexec = [], without = [], programs = {}, user } = this.options;
    const etc = join(this.#folder, "etc");
    const mounts = WRITABLE.filter((path) => path !== "/tmp").concat("/tmp"); // last: this machine's holds the sources
    const lines = [
      `${NO_TABLE}; set -e; mount --make-rprivate /`,
      "read -r pid rest < /proc/self/stat; echo $pid",
      `echo '${this.name}' > /proc/sys/kernel/hostname`,
      ...["passwd", "shadow", "group"].map((name) => `mount --bind '${etc}/${name}' /etc/${name}`),
      ...Object.keys(programs).map((path, index) => `mount --bind '${etc}/program-${index}' '${path}'`),
      `mount --bind '${etc}' /etc/ssh`,
      ...mounts.map((path) => this.#mount(path, sizesKib[path])),
      "chmod 1777 /tmp /var/tmp /dev/shm; chmod 755 /run /home; mkdir -p /run/sshd",
      user === undefined ? "" : `mkdir -p ${this.home}; chown -R ${user}:${user} ${this.home}`,
      without.length > 0 ? hide(without) : "",
      ...noexec.map((path) => `mount -o remount,bind,noexec ${path}`),
      "mount -t proc proc /proc",
      `cd /; ${SSHD}; exec > /dev/null 2>&1`,
      "while :; do sleep 86399 & wait $!; done",
    ];
    return lines.filter((line) => line !== "").join("\n");
  }

  #mount(path: string, sizeKib: number | undefined): string {
    const own = `'${this.#own(path)}'`;
    if (sizeKib === undefined) return `mount --bind ${own} ${path}`;
    const below = `'${this.#own("")}/memory${path}'`; // copied before it takes its place: /tmp hides the source
    return [
      `mkdir -p ${below}; mount -t tmpfs -o size=${sizeKib}k,mode=755 tmpfs ${below}`,
      `cp -a ${own}/. ${below}/; mount --move ${below} ${path}`,
    ].join("\n");
  }

  #own(path: string): string {
    return join(this.#folder, `files${path}`);
  }

  #text(name: string): string {
    const path = join(this.#folder, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }
}

/** mount(8) keeps notes of its own in /run, which is about to be another one. */
const NO_TABLE = 'mount() { command mount -n "$@"; }';

let hashOfBinary: string | undefined;

/** SHA-256 of dist/mesh, in hex. */
export function binaryHash(): string {
  hashOfBinary ??= new Bun.CryptoHasher("sha256").update(readFileSync(binary)).digest("hex");
  return hashOfBinary;
}

const SSHD = "/usr/sbin/sshd -f /etc/ssh/sshd_config -E /etc/ssh/log";

/** /usr/bin becomes a folder of links to all programs but these. */
function hide(programs: readonly string[]): string {
  return [
    "mkdir -p /run/programs && mount --bind /usr/bin /run/programs && mount -t tmpfs -o mode=755 tmpfs /usr/bin",
    "/run/programs/ln -s /run/programs/* /usr/bin/",
    `/run/programs/rm ${programs.map((program) => `/usr/bin/${program}`).join(" ")}`,
  ].join("\n");
}
