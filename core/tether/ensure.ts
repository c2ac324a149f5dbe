// What `mesh up` and `mesh down` do with the tether of a mesh on this machine: there is one as long as a host needs it.
import { join } from "node:path";
import { isMeshError, MeshError } from "../errors.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import type { Transport } from "../transport.ts";
import { orderTether, TETHER_SOCKET, type TetherAsker } from "./control.ts";
import { addTethered, removeTethered, type TetheredHost, tetheredHosts } from "./hosts-file.ts";
import type { TetheredState } from "./tether.ts";

export interface TetherAccess {
  meshName: string;
  /** For its socket on this machine. */
  unix: Transport;
  asker: TetherAsker;
  /** Starts a tether of this mesh, detached; of several, one stays. */
  start(): void;
  /** Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const LIMIT_MS = 30_000;
const LOOK_AGAIN_MS = 50;
/** A tether that was started has so long to listen before another one is. */
const START_MS = 5_000;

/**
 * Has the tether hold a tunnel to each of these hosts, and starts it if need be. Resolves when each is up or one try has failed:
 * then its `error` says why, and the tether goes on trying. Throws TIMEOUT, CANCELLED, or why no tether can be had.
 */
export async function ensureTether(hosts: readonly TetheredHost[], access: TetherAccess): Promise<TetheredState[]> {
  for (const host of hosts) addTethered(access.meshName, host);
  const names = hosts.map(({ name }) => name);
  return await orderAndStart(names, access);
}

/** Starts the tether again if it was killed while hosts need it. To be called before anything is asked of their workers. */
export async function wakeTether(access: TetherAccess): Promise<void> {
  if (tetheredHosts(access.meshName).length > 0) await orderAndStart([], access);
}

async function orderAndStart(tell: string[], access: TetherAccess): Promise<TetheredState[]> {
  const { meshName, start, signal, timeoutMs = LIMIT_MS } = access;
  const end = performance.now() + timeoutMs;
  let startAgainAt = 0;
  for (;;) {
    if (signal?.aborted)
      throw new MeshError("CANCELLED", "starting the tether was cancelled", { cause: signal.reason });
    try {
      return await order(access, tell, end - performance.now());
    } catch (error) {
      // None runs, or it was just about to end.
      if (!isAway(error)) throw error;
      if (performance.now() + LOOK_AGAIN_MS > end) throw notStarted(meshName, timeoutMs, error);
    }
    if (performance.now() >= startAgainAt) {
      start();
      startAgainAt = performance.now() + START_MS;
    }
    await Bun.sleep(LOOK_AGAIN_MS);
  }
}

/** Lets go of a host, here and there; the last one ends the tether. Does nothing for one that is not tethered. */
export async function releaseTether(name: string, access: Omit<TetherAccess, "start">): Promise<void> {
  if (!removeTethered(access.meshName, name)) return;
  try {
    await order(access, [], access.timeoutMs ?? LIMIT_MS);
  } catch (error) {
    if (!isAway(error)) throw error;
  }
}

function order({ meshName, unix, asker }: Omit<TetherAccess, "start">, tell: string[], timeoutMs: number) {
  const path = join(stateFolderPath(meshName), TETHER_SOCKET);
  return orderTether(unix, path, { ...asker, tell }, Math.max(1, timeoutMs));
}

function isAway(error: unknown): boolean {
  return isMeshError(error, "UNREACHABLE") || isMeshError(error, "LINK_CLOSED");
}

function notStarted(meshName: string, timeoutMs: number, cause: unknown): MeshError {
  const log = join(stateFolderPath(meshName), "tether.log");
  const message = `the tether of the mesh ${meshName} did not start within ${timeoutMs / 1_000} s: ${log} may say why`;
  return new MeshError("TIMEOUT", message, { cause });
}
