// Hosts with a real sshd each, and a desk: the user's own machine, with a home folder, a key, ~/.ssh/config and known_hosts.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { binary, type MeshOptions, MeshProcess, type MeshResult, type TestFolder } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { commandOf, missingForLab, run } from "./namespaces.ts";
import { Network, type RouterOptions } from "./network.ts";
import { SshHost } from "./ssh-host.ts";
import type { SshHostOptions } from "./ssh-host-files.ts";

const DESK = "desk";
/** Shared by all tests: compressing the binary, or making one for another platform, takes seconds. */
const CACHE = join(dirname(binary), ".test-cache/mesh");

/** What a lab with SSH needs and this machine lacks; undefined when nothing is missing. */
export function missingForSshLab(): string | undefined {
  const missing = missingForLab();
  if (missing !== undefined) return missing;
  for (const tool of ["/usr/sbin/sshd", "ssh", "ssh-keygen", "nsenter", "mount", "bash"]) {
    if (!Bun.which(tool)) return `${tool} is not installed (Debian: openssh-server, openssh-client, util-linux)`;
  }
  const tried = Bun.spawnSync([
    "unshare",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "mount",
    "-t",
    "tmpfs",
    "tmpfs",
    "/mnt",
  ]);
  return tried.exitCode === 0 ? undefined : `no mount namespaces here: ${tried.stderr.toString().trim()}`;
}

export interface SshLabOptions {
  hosts: Record<string, SshHostOptions>;
  /** Private networks by name, each with its router to the outside. "sealed": none. */
  segments?: Record<string, RouterOptions | "sealed">;
  /** The network where the desk stands. Default: the outside. */
  deskIn?: string;
  /** Files of the user at the desk. */
  files?: Record<string, string>;
}

export class SshLab implements AsyncDisposable {
  readonly network: Network;
  readonly hosts = new Map<string, SshHost>();
  /** The desk's home folder, as this machine sees it. */
  readonly folder: TestFolder;
  readonly #options: SshLabOptions;
  readonly #root: string;
  #init = 0;

  private constructor(options: SshLabOptions) {
    this.#options = options;
    this.network = new Network();
    this.#root = join(tmpdir(), this.network.id);
    this.folder = folderAt(join(this.#root, "desk/root"));
  }

  /** Resolves when everybody's sshd takes logins. */
  static async start(options: SshLabOptions): Promise<SshLab> {
    const lab = new SshLab(options);
    try {
      lab.#wire();
      await lab.#startDesk();
      const key = lab.#makeUserKey();
      await Promise.all([...lab.hosts.values()].map((host) => host.start(key)));
      lab.trustAll();
      return lab;
    } catch (error) {
      lab.network[Symbol.dispose]();
      throw error;
    }
  }

  host(name: string): SshHost {
    return this.hosts.get(name)!;
  }

  /** Writes known_hosts as one who has logged in everywhere has it. */
  trustAll(): void {
    const lines = [...this.hosts.values()].map((host) => `${this.#nameInKnownHosts(host)} ${host.hostKey}\n`);
    this.folder.write({ ".ssh/known_hosts": lines.join("") });
  }

  /** Starts mesh at the desk. */
  start(args: string[], options: MeshOptions = {}): MeshProcess {
    return new MeshProcess(this.folder, args, { limitMs: 60_000, ...options, ...this.#atDesk(options) });
  }

  /** Runs mesh at the desk to its end. */
  async mesh(args: string[], options: MeshOptions = {}): Promise<MeshResult> {
    await using command = this.start(args, options);
    return await command.ended();
  }

  async succeed(args: string[], options: MeshOptions = {}): Promise<MeshResult> {
    const result = await this.mesh(args, options);
    if (result.status === 0) return result;
    throw new Error(`mesh ${args.join(" ")} ended with ${result.status}:\n${result.stderr}\n${result.stdout}`);
  }

  /** Runs the system's ssh at the desk, for comparison. */
  ssh(...args: string[]): Promise<MeshResult> {
    return this.run("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", ...args);
  }

  /** Runs any program at the desk to its end. */
  async run(...command: string[]): Promise<MeshResult> {
    const [program, ...args] = command as [string, ...string[]];
    return await this.mesh(args, { program });
  }

  /** Command lines of what runs at the desk. */
  get processes(): { pid: number; command: string[] }[] {
    const pids = this.network.processes(DESK).filter((pid) => pid !== this.#init);
    return pids.map((pid) => ({ pid, command: commandOf(pid) })).filter(({ command }) => command.length > 0);
  }

  /**
   * Takes up sshd's places for those who have not logged in yet, and returns when it has them. Disposing gives them back.
   */
  async crowd(name: string, logins: number): Promise<Disposable> {
    const { address } = this.host(name);
    const silent = `exec 3<>/dev/tcp/${address}/22; read -r line <&3; echo "$line"; exec sleep 60`;
    const crowd = Array.from({ length: logins }, () => {
      const command = ["ip", "netns", "exec", this.network.namespace(DESK), "bash", "-c", silent];
      return Bun.spawn(command, { stdio: ["ignore", "pipe", "ignore"] });
    });
    const dispose = () => crowd.forEach((each) => void each.kill("SIGKILL"));
    for (const each of crowd) await each.stdout.getReader().read();
    return { [Symbol.dispose]: dispose };
  }

  /** Ends all there is. Throws when mesh left processes on hosts. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.nothingRuns();
    } finally {
      this.network[Symbol.dispose]();
    }
  }

  /** Throws unless nothing runs any more, on any host and at the desk, besides the lab itself. */
  async nothingRuns(withinMs = 5_000): Promise<void> {
    const left = () => {
      const hosts = [...this.hosts.values()].flatMap(({ name, processes }) =>
        processes.map((each) => ({ name, ...each })),
      );
      const all = [...hosts, ...this.processes.map((each) => ({ name: DESK, ...each }))];
      return all.map(({ name, pid, command }) => `${name}: ${pid} ${command.join(" ")}`);
    };
    try {
      await until(() => left().length === 0, { what: "nothing to run", timeoutMs: withinMs });
    } catch (cause) {
      throw new Error(`still running after ${withinMs} ms:\n${left().join("\n")}`, { cause });
    }
  }

  #wire(): void {
    const { hosts, segments = {}, deskIn } = this.#options;
    for (const name of Object.keys(segments)) this.network.addSegment(name);
    this.network.addNode(DESK, deskIn === undefined ? undefined : [deskIn]);
    for (const [name, options] of Object.entries(hosts)) {
      this.network.addNode(name, options.segments);
      const folder = join(this.#root, name);
      mkdirSync(folder, { recursive: true });
      this.hosts.set(name, new SshHost(name, options, this.network, folder));
    }
    for (const [name, router] of Object.entries(segments)) {
      if (router !== "sealed") this.network.addRouter(name, router);
    }
  }

  async #startDesk(): Promise<void> {
    const desk = join(this.#root, "desk");
    for (const name of ["tmp", "vartmp", "run", "bin", "ssh"]) mkdirSync(join(desk, name));
    mkdirSync(join(desk, "root/.cache/mesh"), { recursive: true });
    mkdirSync(CACHE, { recursive: true });
    chmodSync(join(desk, "tmp"), 0o1777);
    writeFileSync(join(desk, "bin/mesh"), "");
    const names = [...this.hosts.values()].map((host) => `${host.address} ${host.name}.lab\n`);
    writeFileSync(join(desk, "hosts"), `127.0.0.1 localhost ${DESK}\n${names.join("")}`);
    writeFileSync(join(desk, "nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n");
    writeFileSync(join(desk, "passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
    // /tmp last: this machine's holds the sources.
    const binds = {
      [join(desk, "bin")]: "/usr/local/bin",
      [binary]: "/usr/local/bin/mesh",
      [join(desk, "ssh")]: "/etc/ssh",
      [join(desk, "run")]: "/run",
      [join(desk, "vartmp")]: "/var/tmp",
      [join(desk, "root")]: "/root",
      [CACHE]: "/root/.cache/mesh",
      [join(desk, "tmp")]: "/tmp",
    };
    const files = ["hosts", "nsswitch.conf", "passwd"].map((name) => `mount --bind '${desk}/${name}' /etc/${name}`);
    const setup = [
      "set -e; mount --make-rprivate /",
      `echo ${DESK} > /proc/sys/kernel/hostname`,
      ...files,
      ...Object.entries(binds).map(([own, path]) => `mount --bind '${own}' ${path}`),
      "read -r pid rest < /proc/self/stat; echo $pid; exec > /dev/null; exec sleep 86399",
    ];
    const command = ["ip", "netns", "exec", this.network.namespace(DESK), "unshare", "--uts", "--mount"];
    const child = Bun.spawn([...command, "sh", "-c", setup.join("\n")], { stdio: ["ignore", "pipe", "pipe"] });
    this.#init = Number((await new Response(child.stdout).text()).trim());
    if (this.#init === 0) throw new Error(`the desk: ${await new Response(child.stderr).text()}`);
  }

  #makeUserKey(): string {
    const path = this.folder.at(".ssh/id_ed25519");
    mkdirSync(dirname(path), { mode: 0o700 });
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "user@desk", "-f", path);
    const config = [...this.hosts.values()].map((host) => this.#alias(host));
    this.folder.write({ ".ssh/config": config.join("\n"), ...this.#options.files });
    return run("cat", `${path}.pub`);
  }

  /** What the desk dials to get to a host's sshd. */
  #dialed({ name, options }: SshHost): { address: string; port: number } {
    if (options.port === undefined) return { address: this.network.address(name), port: 22 };
    return { address: this.network.address(`${options.segments![0]}-router`), port: options.port };
  }

  #alias(host: SshHost): string {
    const { address, port } = this.#dialed(host);
    const jump = host.options.jump === undefined ? "" : `  ProxyJump ${host.options.jump}\n`;
    return `Host ${host.name}\n  HostName ${address}\n  Port ${port}\n  User ${host.user}\n  ConnectTimeout 2\n${jump}`;
  }

  #nameInKnownHosts(host: SshHost): string {
    const { address, port } = this.#dialed(host);
    return port === 22 ? `${address},${host.name}.lab` : `[${address}]:${port}`;
  }

  #atDesk({ env = {}, program = "/usr/local/bin/mesh" }: MeshOptions = {}): MeshOptions {
    const enter = ["nsenter", "-t", String(this.#init), "-m", "-u", "-n", "sh", "-c", 'cd /root && exec "$@"', "sh"];
    const own = { HOME: "/root", XDG_RUNTIME_DIR: undefined, XDG_STATE_HOME: undefined, SSH_AUTH_SOCK: undefined };
    return { through: enter, program, isOneOfMany: true, env: { ...own, ...env } };
  }
}

function folderAt(path: string): TestFolder {
  mkdirSync(path, { recursive: true });
  return {
    path,
    run: join(path, ".none"),
    marker: path,
    at: (name) => join(path, name),
    runFolders: () => [],
    write(files) {
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        if (typeof content !== "string" && !(content instanceof Uint8Array)) throw new Error("no links here");
        writeFileSync(join(path, name), content);
      }
    },
    [Symbol.dispose]() {},
  };
}
