// A real OpenSSH sshd for a test: an unprivileged port of loopback, keys, home and configuration of its own in a folder that
// goes with it. It runs as whoever runs the tests, and lets that user in with the folder's client key. What runs in its sessions
// has HOME in the folder, so one machine can play several hosts.
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kill, type ProcessInfo, processesOf } from "./mesh.ts";
import { until } from "./until.ts";

export interface SshdOptions {
  /** The host's alias in the client's ssh_config. Default "host". */
  name?: string;
  /** Where it listens. Default 127.0.0.1. */
  address?: string;
  /** Default: a free one. */
  port?: number;
  /** Lines of sshd_config, instead of the usual ones of the same keywords: "MaxStartups 1:100:1", "AllowTcpForwarding no". */
  config?: string[];
  /** The program that gets each command after "-c", instead of /bin/sh. "/bin/false" is an account without a shell. */
  shell?: string;
  /** More variables of the sessions. */
  env?: Record<string, string>;
  /** Default: one of Ed25519. */
  hostKeyTypes?: KeyType[];
  /** An OpenSSH key file that may log in, with `.pub` beside it. Default: a new one. */
  clientKey?: string;
  /** Words before sshd's own: ["ip", "netns", "exec", "a"]. Then name `port` too. */
  prefix?: string[];
}

export type KeyType = "ed25519" | "ecdsa" | "rsa";

export interface Sshd extends AsyncDisposable {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly pid: number;
  /** All its files. */
  readonly folder: string;
  /** HOME of what runs in its sessions. */
  readonly home: string;
  /** Public lines, "ssh-ed25519 AAAA…", in the order of `hostKeyTypes`. */
  readonly hostKeys: string[];
  /** The client's private key file. */
  readonly clientKey: string;
  readonly authorizedKeys: string;
  /** The client's known_hosts; it holds the host keys. */
  readonly knownHosts: string;
  /** An ssh_config that knows this host by its name. */
  readonly configFile: string;
  /** The host's part of an ssh_config, for one that knows several hosts; `lines` go first, and so win. */
  configBlock(lines?: string[]): string;
  /** What sshd logged so far, at LogLevel DEBUG1. */
  log(): string;
  /** Processes that its sessions left or still run, without sshd's own. */
  processes(): ProcessInfo[];
}

const SSHD = "/usr/sbin/sshd";
const SETPRIV = "/usr/bin/setpriv"; // util-linux

/** Why there can be no sshd here; undefined where there can. For `describe.skipIf`. */
export const noSshd = existsSync(SSHD) ? undefined : `${SSHD} is missing (Debian: openssh-server)`;

/** Starts an sshd and resolves when it listens. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mesh-sshd-")));
  try {
    const files = layOut(folder, options);
    const listening = await listen(folder, files, options);
    return new RunningSshd(folder, files, listening, options);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** An ssh_config of several hosts, at `path`. */
export function writeSshConfig(path: string, hosts: Sshd[]): string {
  writeFileSync(path, hosts.map((host) => host.configBlock()).join("\n"));
  return path;
}

/** A new key without a passphrase, or with one; returns its path. */
export function makeKey(path: string, type: KeyType = "ed25519", passphrase = ""): string {
  const size = type === "rsa" ? ["-b", "2048"] : [];
  const made = spawnSync("ssh-keygen", ["-q", "-t", type, ...size, "-N", passphrase, "-C", "test", "-f", path]);
  if (made.status !== 0) throw new Error(`ssh-keygen: ${made.stderr}`);
  return path;
}

/** The public half of a key file: "ssh-ed25519 AAAA…". */
export function publicLine(path: string): string {
  return readFileSync(`${path}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
}

interface Layout {
  home: string;
  hostKeys: string[];
  clientKey: string;
  authorizedKeys: string;
  logFile: string;
  user: string;
}

interface Listening {
  pid: number;
  address: string;
  port: number;
}

function layOut(folder: string, options: SshdOptions): Layout {
  const home = join(folder, "home");
  mkdirSync(join(folder, "runtime"), { mode: 0o700 });
  mkdirSync(home, { mode: 0o755 });
  writeFileSync(join(folder, "shell"), sessionScript(options.shell ?? "/bin/sh"), { mode: 0o755 });
  const hostKeys = (options.hostKeyTypes ?? ["ed25519"]).map((type) => makeKey(join(folder, `host_${type}`), type));
  const clientKey = options.clientKey ?? makeKey(join(folder, "client"));
  const authorizedKeys = join(folder, "authorized_keys");
  writeFileSync(authorizedKeys, `${publicLine(clientKey)}\n`);
  return { home, hostKeys, clientKey, authorizedKeys, logFile: join(folder, "log"), user: ownName() };
}

/** os.userInfo() of Bun says "unknown" where USER is not set. */
function ownName(): string {
  return spawnSync("id", ["-un"], { encoding: "utf8" }).stdout.trim();
}

/** Runs what the client asked for as a login would, but in the folder's home. */
function sessionScript(shell: string): string {
  return `#!/bin/sh\ncd && exec '${shell}' -c "$SSH_ORIGINAL_COMMAND"\n`;
}

function sshdConfig(folder: string, files: Layout, options: SshdOptions, listening: string): string {
  const env = { HOME: files.home, XDG_RUNTIME_DIR: join(folder, "runtime"), MESH_TEST_MARK: folder, ...options.env };
  const usual = [
    `AuthorizedKeysFile ${files.authorizedKeys}`,
    `SetEnv ${Object.entries(env)
      .map(([name, value]) => `"${name}=${value}"`)
      .join(" ")}`,
    `ForceCommand ${join(folder, "shell")}`,
    "Subsystem sftp /usr/lib/openssh/sftp-server", // a program, because ForceCommand starts it
    "PermitRootLogin yes",
    "StrictModes no", // the folder is below /tmp, where all may write
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "MaxStartups 100:30:200",
    "MaxSessions 100",
    "PrintMotd no",
    "LogLevel DEBUG1",
  ];
  const keyword = (line: string) => line.split(" ")[0]!.toLowerCase();
  const own = options.config ?? [];
  const isOwn = (line: string) => own.some((other) => keyword(other) === keyword(line));
  return [
    listening,
    `PidFile ${join(folder, "pid")}`,
    ...files.hostKeys.map((path) => `HostKey ${path}`),
    // For most keywords the first line wins, for MaxStartups the last.
    ...usual.filter((line) => !isOwn(line)),
    ...own,
    "",
  ].join("\n");
}

/** A port that was free may be taken when sshd comes to it: then another is tried. */
async function listen(folder: string, files: Layout, options: SshdOptions): Promise<Listening> {
  const address = options.address ?? "127.0.0.1";
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort(address));
    const pid = await launch(folder, files, options, { address, port });
    if (pid !== undefined) return { pid, address, port };
    const log = existsSync(files.logFile) ? readFileSync(files.logFile, "utf8") : "";
    if (options.port !== undefined || tries === 5 || !log.includes("in use"))
      throw new Error(`sshd did not start: ${log}`);
  }
}

async function launch(
  folder: string,
  files: Layout,
  options: SshdOptions,
  { address, port }: { address: string; port: number },
): Promise<number | undefined> {
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const config = join(folder, "sshd_config");
  const place = address.includes(":") ? `[${address}]` : address;
  writeFileSync(config, sshdConfig(folder, files, options, `ListenAddress ${place}:${port}`));
  // A test that is killed ends no sshd: the kernel does.
  const tied = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL"] : [];
  const words = [...(options.prefix ?? []), ...tied, SSHD, "-D", "-f", config, "-E", files.logFile];
  const [program, ...args] = words;
  const child = spawn(program!, args, { stdio: "ignore" });
  let ended = false;
  child.on("exit", () => {
    ended = true;
  });
  child.on("error", () => {
    ended = true;
  });
  const listens = () =>
    existsSync(files.logFile) && readFileSync(files.logFile, "utf8").includes("Server listening on");
  await until(() => ended || listens(), { what: `sshd on ${place}:${port}` });
  return ended ? undefined : child.pid;
}

async function freePort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, address, resolve);
  });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Children, their children and so on. */
function descendantsOf(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // gone in the meantime
    }
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
  return found.slice(1);
}

class RunningSshd implements Sshd {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly pid: number;
  readonly folder: string;
  readonly home: string;
  readonly hostKeys: string[];
  readonly clientKey: string;
  readonly authorizedKeys: string;
  readonly knownHosts: string;
  readonly configFile: string;
  readonly #logFile: string;
  #isGone = false;

  constructor(folder: string, files: Layout, listening: Listening, options: SshdOptions) {
    this.name = options.name ?? "host";
    this.address = listening.address;
    this.port = listening.port;
    this.pid = listening.pid;
    this.user = files.user;
    this.folder = folder;
    this.home = files.home;
    this.hostKeys = files.hostKeys.map(publicLine);
    this.clientKey = files.clientKey;
    this.authorizedKeys = files.authorizedKeys;
    this.knownHosts = join(folder, "known_hosts");
    this.configFile = join(folder, "ssh_config");
    this.#logFile = files.logFile;
    writeFileSync(this.knownHosts, this.hostKeys.map((key) => `[${this.address}]:${this.port} ${key}\n`).join(""));
    writeFileSync(this.configFile, this.configBlock());
  }

  configBlock(lines: string[] = []): string {
    return [
      `Host ${this.name}`,
      ...lines,
      `HostName ${this.address}`,
      `Port ${this.port}`,
      `User ${this.user}`,
      `IdentityFile ${this.clientKey}`,
      "IdentitiesOnly yes",
      "IdentityAgent none",
      `UserKnownHostsFile ${this.knownHosts}`,
      "GlobalKnownHostsFile none",
      "StrictHostKeyChecking yes",
      "",
    ].join("\n  ");
  }

  log(): string {
    return readFileSync(this.#logFile, "utf8");
  }

  processes(): ProcessInfo[] {
    return processesOf(this.folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    const sessions = descendantsOf(this.pid);
    kill(this.pid, "SIGKILL");
    for (const pid of sessions) kill(pid, "SIGKILL");
    await until(() => this.#killsAll(), { what: `the end of sshd's sessions in ${this.folder}` });
    rmSync(this.folder, { recursive: true, force: true });
  }

  #killsAll(): boolean {
    const left = this.processes();
    for (const { pid } of left) kill(pid, "SIGKILL");
    return left.length === 0;
  }
}
