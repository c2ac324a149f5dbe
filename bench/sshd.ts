// An sshd of this machine's user on a port of loopback, with keys of its own, for contenders that go by ssh.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

const SSHD = "/usr/sbin/sshd";
const START_LIMIT_MS = 10_000;

export interface BenchSshd {
  /** A file that makes ssh and scp know it as "host"; they log in with its key. */
  configFile: string;
  /** Where what is copied to "host:" with an absolute path may go. */
  folder: string;
  end(): void;
}

/**
 * Undefined where there is none. With several `names` it plays as many hosts: each has a key of its own, and by that a HOME,
 * the folder of its name.
 */
export async function startSshd(names: readonly string[] = ["host"]): Promise<BenchSshd | undefined> {
  if (!existsSync(SSHD)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "mesh-bench-sshd-"));
  const hostKey = makeKey(join(folder, "host_key"));
  const port = freePort();
  const log = join(folder, "log");
  writeFileSync(join(folder, "authorized"), names.map((name) => authorized(folder, name)).join(""));
  writeFileSync(join(folder, "known"), `[127.0.0.1]:${port} ${readFileSync(`${hostKey}.pub`, "utf8")}`);
  writeFileSync(join(folder, "sshd_config"), serverConfig(folder, port));
  writeFileSync(join(folder, "ssh_config"), names.map((name) => clientConfig(folder, port, name)).join(""));
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const child = Bun.spawn([SSHD, "-D", "-f", join(folder, "sshd_config"), "-E", log], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  const end = () => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", end);
  const limit = performance.now() + START_LIMIT_MS;
  while (!existsSync(log) || !readFileSync(log, "utf8").includes("listening on")) {
    if (performance.now() > limit || child.exitCode !== null) throw new Error(`sshd did not start: see ${log}`);
    await Bun.sleep(10);
  }
  return { configFile: join(folder, "ssh_config"), folder, end };
}

function makeKey(path: string): string {
  const made = Bun.spawnSync(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path]);
  if (made.exitCode !== 0) throw new Error(`ssh-keygen: ${made.stderr}`);
  return path;
}

/** A line of authorized_keys for the host's key, which it makes. */
function authorized(folder: string, name: string): string {
  const home = join(folder, name);
  mkdirSync(home, { mode: 0o700 });
  const key = readFileSync(`${makeKey(join(folder, `${name}.user_key`))}.pub`, "utf8");
  return `environment="HOME=${home}" ${key}`;
}

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  server.stop(true);
  return server.port;
}

function serverConfig(folder: string, port: number): string {
  return [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${join(folder, "host_key")}`,
    `AuthorizedKeysFile ${join(folder, "authorized")}`,
    `PidFile ${join(folder, "pid")}`,
    "Subsystem sftp internal-sftp",
    "PermitRootLogin yes",
    "StrictModes no",
    "PermitUserEnvironment HOME",
    "MaxSessions 100",
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "MaxStartups 100:30:200",
    "PrintMotd no",
    "LogLevel INFO",
    "",
  ].join("\n");
}

function clientConfig(folder: string, port: number, name: string): string {
  return [
    `Host ${name}`,
    "HostName 127.0.0.1",
    `Port ${port}`,
    ...(userInfo().username === "unknown" ? [] : [`User ${userInfo().username}`]),
    `IdentityFile ${join(folder, `${name}.user_key`)}`,
    "IdentitiesOnly yes",
    "IdentityAgent none",
    `UserKnownHostsFile ${join(folder, "known")}`,
    "GlobalKnownHostsFile none",
    "StrictHostKeyChecking yes",
    "LogLevel ERROR",
    "",
  ].join("\n  ");
}
