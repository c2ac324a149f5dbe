// A host of the lab: namespaces of its own for network, processes, files and name, in which a real sshd runs. Its home
// folders, /tmp, /var/tmp, /run, /etc/passwd and sshd's settings are its own; programs are this machine's.
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../support/until.ts";
import { commandOf, run } from "./namespaces.ts";
import type { Network } from "./network.ts";
import {
  type HostPlan,
  layOut,
  makeHostKey,
  SSHD,
  type SshHostOptions,
  setupScript,
  WRITABLE,
} from "./ssh-host-files.ts";

export class SshHost implements HostPlan {
  readonly name: string;
  readonly user: string;
  /** The home folder of its user, on the host. */
  readonly home: string;
  readonly options: SshHostOptions;
  readonly #network: Network;
  /** Where on this machine its files are. */
  readonly folder: string;
  #init = 0;
  #child: Bun.Subprocess | undefined;

  constructor(name: string, options: SshHostOptions, network: Network, folder: string) {
    this.name = name;
    this.options = options;
    this.user = options.user ?? "root";
    this.home = this.user === "root" ? "/root" : `/home/${this.user}`;
    this.#network = network;
    this.folder = folder;
  }

  /** Resolves when its sshd takes logins of whoever has the key. */
  async start(authorizedKey: string): Promise<void> {
    layOut(this, authorizedKey);
    this.#child = this.options.isArm64 ? await this.#spawnInUserNamespace() : this.#spawn();
    const isUp = () => existsSync(join(this.folder, "etc/sshd.pid")) || this.#child!.exitCode !== null;
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

  /** Resolves when nothing runs there any more. Throws with what does after 3 s. */
  async isQuiet(): Promise<void> {
    const left = () => this.processes.map(({ command }) => command.join(" "));
    await until(() => left().length === 0, { what: "nothing to run", timeoutMs: 3_000 }).catch((cause: unknown) => {
      throw new Error(`${this.name} still runs ${left().join(", ")}`, { cause });
    });
  }

  /** Paths of all files that users wrote there, and of folders that are of mesh. */
  get files(): string[] {
    const found = this.run(`find ${WRITABLE.join(" ")} -mindepth 1 \\( -not -type d -o -name '*mesh*' \\)`);
    const laid = Object.keys(this.options.files ?? {}).map((name) => `${this.home}/${name}`);
    const isOwn = (path: string) => path.startsWith("/run/") && !path.includes("mesh");
    const paths = found.split("\n").filter((path) => path !== "" && !isOwn(path) && !laid.includes(path));
    return paths.sort();
  }

  /** Runs a script there as root, not through its sshd. Returns what it printed; throws when it fails. */
  run(script: string): string {
    return run("nsenter", "-t", String(this.#init), "-m", "-u", "-n", "-p", "sh", "-c", script);
  }

  /** A key that nobody has seen yet. */
  changeKey(): void {
    this.stopSshd();
    makeHostKey(this);
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
    this.run("for p in $(grep -ls '^sshd: [^/]' /proc/[0-9]*/cmdline | cut -d / -f 3); do kill -9 $p; done");
  }

  /** `before`: a command that is to be done first. */
  #spawn(through: readonly string[] = [], before = "", stdin: "pipe" | "ignore" = "ignore"): Bun.Subprocess {
    const namespace = this.#network.namespace(this.name);
    const script = `${before} exec unshare --uts --mount --pid --fork --kill-child sh -c "$SETUP"`;
    return Bun.spawn(["ip", "netns", "exec", namespace, ...through, "sh", "-c", script], {
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", SETUP: setupScript(this) },
      stdio: [stdin, Bun.file(join(this.folder, "init")), Bun.file(join(this.folder, "setup"))],
    });
  }

  /** Its users are the same as this machine's, by number, but it is root over what is its own alone. */
  async #spawnInUserNamespace(): Promise<Bun.Subprocess> {
    this.#network.inside(this.name, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start");
    const child = this.#spawn(["unshare", "--user"], "read -r go;", "pipe");
    const own = readlinkSync("/proc/self/ns/user");
    await until(() => readlinkSync(`/proc/${child.pid}/ns/user`) !== own, { what: `users of ${this.name}` });
    for (const map of ["uid_map", "gid_map"]) writeFileSync(`/proc/${child.pid}/${map}`, "0 0 65536\n");
    const stdin = child.stdin as Bun.FileSink;
    stdin.write("go\n");
    await stdin.end();
    return child;
  }

  #text(name: string): string {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }
}
