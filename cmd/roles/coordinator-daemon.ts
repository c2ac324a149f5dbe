// The coordinator that `mesh up` starts on this machine: a process of its own, that outlives the command.
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildOf } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { readCoordinatorPlace } from "../../core/coordinator/folder-lock.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { stateFolder } from "../../core/identity/state-folder.ts";
import { CERTIFICATE_SOCKET } from "../../core/member/certificate-socket.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { openClient } from "../client.ts";
import { ask, askStatus } from "../operate/asking.ts";
import { ownCommand } from "../own-command.ts";
import type { CoordinatorSettings } from "./coordinator.ts";
import { buildName } from "./node-process.ts";

const START_LIMIT_MS = 20_000;
const END_LIMIT_MS = 10_000;
const LOOK_MS = 20;
const LOG = "coordinator.log";
const LOG_TAIL_CHARS = 600;

export interface RunningCoordinator {
  client: MeshClient;
  /** "replaced": one of another build ran. */
  outcome: "started" | "replaced" | "unchanged";
}

/** Connects to the mesh's coordinator; starts it when none runs, and anew when it is of another build. */
export async function ensureCoordinator(
  settings: CoordinatorSettings,
  signal: AbortSignal,
): Promise<RunningCoordinator> {
  const running = await connectIfUp(settings.name);
  if (running && (await isOfThisBuild(running))) return { client: running, outcome: "unchanged" };
  if (running) await endCoordinator(running);
  await start(settings, signal);
  return { client: await openClient({ mesh: settings.name }), outcome: running ? "replaced" : "started" };
}

/** Undefined when the mesh is not up. */
export async function connectIfUp(mesh: string): Promise<MeshClient | undefined> {
  try {
    return await openClient({ mesh });
  } catch (error) {
    if (isMeshError(error, "UNREACHABLE")) return undefined;
    throw error;
  }
}

/** Whether the coordinator is of this very build. */
export async function isOfThisBuild(client: MeshClient): Promise<boolean> {
  const { nodes } = await askStatus(client);
  const coordinator = nodes.find(({ role }) => role === "coordinator");
  return coordinator !== undefined && buildOf(coordinator) === buildName();
}

/** Ends it, and the client; jobs and workers go on without it, and come back to the next one. */
export async function endCoordinator(client: MeshClient): Promise<void> {
  await using ending = client;
  const body = { name: "coordinator" };
  try {
    await ask(ending, { type: "killNode", body });
  } catch (error) {
    if (!isMeshError(error, "LINK_CLOSED")) throw error; // who should answer is who ends
  }
  await gone(ending.mesh);
}

/** Waits until one on this machine has let go of its folder. */
async function gone(mesh: string): Promise<void> {
  const end = performance.now() + END_LIMIT_MS;
  while (readCoordinatorPlace(stateFolder(mesh)) && performance.now() < end) await Bun.sleep(LOOK_MS);
}

async function start(given: CoordinatorSettings, signal: AbortSignal): Promise<void> {
  const { name, listen, transports, timing, rendezvous, leaseMs } = given;
  const settings: CoordinatorSettings = { name, listen, transports, timing, rendezvous, leaseMs };
  const spawnWith = async (...more: string[]) => {
    const args = ["--settings", JSON.stringify(settings), ...more];
    (await spawnCoordinator(name, { stdin: "ignore", args, signal })).unref();
  };
  try {
    await spawnWith();
  } catch (error) {
    // Nobody asked for the port by default: another mesh of this machine may have it.
    const isTaken = isMeshError(error, "UNREACHABLE") && /the port is taken/.test(error.message);
    if (!isTaken || listen) throw error;
    await spawnWith("--any-port");
  }
}

export interface SpawnCoordinatorOptions {
  stdin: "ignore" | "pipe";
  args: string[];
  signal: AbortSignal;
  /** Hears of its process at once. */
  started?(pid: number): void;
}

/**
 * Starts a coordinator in a session of its own; resolves when it can be asked. Throws what it said when it ended instead,
 * TIMEOUT when it does not get ready, CANCELLED; nothing of it runs then.
 */
export async function spawnCoordinator(
  mesh: string,
  { stdin, args, signal, started }: SpawnCoordinatorOptions,
): Promise<Bun.Subprocess> {
  const folder = stateFolder(mesh);
  const path = join(folder, LOG);
  const log = openSync(path, "a", 0o600);
  const begin = fstatSync(log).size;
  try {
    const child = Bun.spawn([...ownCommand("coordinator"), "--mesh", mesh, ...args], {
      cwd: "/", // a folder it stands in cannot be unmounted
      env: process.env,
      detached: true,
      stdio: [stdin, log, log],
    });
    started?.(child.pid);
    const said = () => readFileSync(path).subarray(begin).toString().slice(-LOG_TAIL_CHARS).trim();
    await untilReady(child, folder, said, signal);
    return child;
  } finally {
    closeSync(log);
  }
}

async function untilReady(
  child: Bun.Subprocess,
  folder: string,
  said: () => string,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS;
  while (readCoordinatorPlace(folder)?.pid !== child.pid || !(await takesRequests(folder))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new MeshError("UNREACHABLE", `the coordinator ended at once; its last words: ${said()}`);
    }
    if (signal.aborted || performance.now() > deadline) {
      child.kill("SIGKILL");
      if (signal.aborted) throw new MeshError("CANCELLED", "given up while the coordinator started");
      const limit = `${START_LIMIT_MS / 1_000} s`;
      throw new MeshError(
        "TIMEOUT",
        `the coordinator was not ready after ${limit}; its last words: ${said() || "none"}`,
      );
    }
    await Bun.sleep(LOOK_MS);
  }
}

/** A socket is there before anybody listens on it. */
async function takesRequests(folder: string): Promise<boolean> {
  const link = await new UnixTransport().dial(join(folder, CERTIFICATE_SOCKET)).catch(() => undefined);
  link?.close();
  return link !== undefined;
}
