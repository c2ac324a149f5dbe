// Starts the worker of a host apart from the login that asked for it, and ends it.
import { closeSync, constants, existsSync, openSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { isMeshError, MeshError } from "../errors.ts";
import type { HostRole } from "../provider.ts";
import { killProcess } from "../worker/libc.ts";
import { isAlive, readRecord, removeRecord, WORKER_LOG, type WorkerRecord } from "./worker-record.ts";

const LOG_LIMIT_BYTES = 8 * 1024 * 1024;
const POLL_MS = 20;
/** From its start until it is in the mesh: it tries the coordinator's addresses for 10 s. */
const JOIN_LIMIT_MS = 25_000;
/** A killed process that is there for longer hangs in the kernel. */
const VANISH_LIMIT_MS = 10_000;

export interface LaunchOptions {
  role: HostRole;
  /** The joined folder of its node. */
  folder: string;
  /** Its command line, with all it needs. */
  command: string[];
  /** Aborted: it is ended again. */
  signal: AbortSignal;
  /** It has not reached the coordinator, and goes on trying. May be called often. */
  unreached(why: { code: string; message: string }): void;
}

/**
 * Starts a worker or a rendezvous in a session of its own, and resolves with its process id when it is in the mesh. When it does not get there
 * it is ended, and what it says is thrown; TIMEOUT when it says nothing, CANCELLED.
 */
export async function launch(options: LaunchOptions): Promise<number> {
  const { folder, command } = options;
  removeRecord(folder);
  const log = openLog(folder);
  const child = Bun.spawn(command, {
    cwd: "/", // a folder it stands in cannot be unmounted
    env: environment(),
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  try {
    await isReady(child, options);
    child.unref();
    return child.pid;
  } catch (error) {
    killProcess(child.pid, "SIGKILL"); // its guard removes what it has made
    await child.exited;
    removeRecord(folder);
    throw error;
  }
}

async function isReady(child: Bun.Subprocess, { role, folder, signal, unreached }: LaunchOptions): Promise<void> {
  const end = performance.now() + JOIN_LIMIT_MS;
  for (;;) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    const record = readRecord(folder);
    const own = record?.pid === child.pid ? record : undefined;
    if (own?.state === "ready") return;
    if (own?.failure && own.state === "failed") throw new MeshError(own.failure.code, own.failure.message);
    if (own?.failure) unreached(own.failure);
    const log = join(folder, WORKER_LOG);
    if (hasEnded) {
      const how = child.signalCode ?? `status ${child.exitCode}`;
      throw new MeshError("UNREACHABLE", `the ${role} ended at once (${how}); its log says why: ${log} there`);
    }
    if (signal.aborted) throw new MeshError("CANCELLED", `the start of the ${role} was cancelled`);
    if (performance.now() > end) {
      const message = `the ${role} did not get into the mesh within ${JOIN_LIMIT_MS / 1000} s, and was ended`;
      const why = own?.failure ? ` (${own.failure.message})` : "";
      throw new MeshError("TIMEOUT", `${message}${why}; its log is ${log} there`);
    }
    await Bun.sleep(POLL_MS);
  }
}

/** Opens its log for more; one that grew long becomes the old one. */
function openLog(folder: string): number {
  const path = join(folder, WORKER_LOG);
  if (existsSync(path) && statSync(path).size > LOG_LIMIT_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o600);
}

/** What of a login's environment outlives the login. */
function environment(): Record<string, string | undefined> {
  const { XDG_RUNTIME_DIR: runtime, ...env } = process.env;
  for (const name of Object.keys(env)) if (/^(SSH_|TERM$|TTY$|DISPLAY$)/.test(name)) delete env[name];
  // systemd removes it with the last login, unless the user lingers.
  return runtime && isLingering(runtime) ? { ...env, XDG_RUNTIME_DIR: runtime } : env;
}

function isLingering(runtime: string): boolean {
  if (!runtime.startsWith("/run/user/")) return true;
  return existsSync(join("/var/lib/systemd/linger", process.env.USER ?? process.env.LOGNAME ?? "-"));
}

/**
 * Ends the process of a record: SIGTERM, then SIGKILL after `graceMs`. Resolves when it is gone; throws TIMEOUT for one that
 * hangs in the kernel.
 */
export async function endWorker(record: WorkerRecord, graceMs: number): Promise<void> {
  const { pid } = record;
  killProcess(pid, "SIGTERM");
  if (await isGone(record, graceMs)) return;
  if (isAlive(record)) killProcess(pid, "SIGKILL");
  if (await isGone(record, VANISH_LIMIT_MS)) return;
  const message = `process ${pid} is still there ${VANISH_LIMIT_MS / 1000} s after SIGKILL: it hangs in the kernel`;
  throw new MeshError("TIMEOUT", `${message} (a network disk that is away?); try again later`);
}

async function isGone(record: WorkerRecord, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs;
  while (isAlive(record)) {
    if (performance.now() > end) return false;
    await Bun.sleep(POLL_MS);
  }
  return true;
}

/** What a failure on the host is to the other side. */
export function failureOf(error: unknown): { code: string; message: string } {
  return { code: isMeshError(error) ? error.code : "LINK_CLOSED", message: (error as Error).message };
}
