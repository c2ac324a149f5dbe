// `mesh tether MESH`: the tether of a mesh on this machine. Started by `mesh up` for hosts that cannot dial the mesh themselves;
// ends by itself with the last of them.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { readCoordinatorPlace } from "../../core/coordinator/folder-lock.ts";
import { MeshError } from "../../core/errors.ts";
import { stateFolder, stateFolderPath } from "../../core/identity/state-folder.ts";
import { isTemporaryMesh } from "../../core/member/known.ts";
import { isLocked, lockFile } from "../../core/process-lock.ts";
import { listenForOrders, TETHER_SOCKET, type TetherOrder } from "../../core/tether/control.ts";
import { MeshReach } from "../../core/tether/reach.ts";
import { Tether } from "../../core/tether/tether.ts";
import { systemResolve } from "../../transports/resolve.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { buildName, endSignal, foregroundLog } from "./node-process.ts";
import { TetherMesh } from "./tether-mesh.ts";

/** One that nobody gave a host by then has nothing to do. */
const FIRST_ORDER_MS = 10_000;
/** How often to look whether the mesh is still there. */
const LOOK_MS = 1_000;
/** How long to wait for one that is about to end. */
const LOCK_LIMIT_MS = 5_000;
const LOCK_AGAIN_MS = 50;

export async function main([meshName = "mesh"]: string[]): Promise<number> {
  const folder = stateFolder(meshName);
  const log = foregroundLog();
  const lock = await lockOf(folder);
  if (!lock) return 0; // another one was faster
  const over = Promise.withResolvers<string>();
  let isEnding = false;
  const end = (by: string) => {
    isEnding = true;
    over.resolve(by);
  };
  void endSignal().then(end);
  const mesh = new TetherMesh(meshName);
  const reach = new MeshReach({
    meshName,
    known: () => mesh.addresses(),
    prove: (address) => mesh.prove(address),
    resolve: systemResolve,
    clock: systemClock,
  });
  const tether = new Tether({
    meshName,
    connect: async (target, signal) => await (await import("./tether-ssh.ts")).connectHost(target, signal),
    reach: (address, channelOf) => reach.connect(address, channelOf),
    clock: systemClock,
    random: Math.random,
    log,
  });
  const obey = async ({ tell, build, agent }: TetherOrder) => {
    if (agent !== undefined) process.env.SSH_AUTH_SOCK = agent;
    if (build === buildName()) await tether.look();
    else end(`${build}, which takes its place`);
    const states = isEnding ? [] : await tether.told(tell);
    // Whoever hears this starts another tether.
    if (isEnding) throw new MeshError("LINK_CLOSED", `the tether of the mesh ${meshName} is ending`);
    return states;
  };
  const endIfIdle = () => tether.isIdle && end("nothing to do");
  rmSync(join(folder, TETHER_SOCKET), { force: true }); // of one that was killed
  const orders = await listenForOrders(new UnixTransport(), join(folder, TETHER_SOCKET), obey, endIfIdle);
  try {
    await tether.look();
    const timer = setTimeout(endIfIdle, FIRST_ORDER_MS);
    const look = setInterval(() => isForgotten(meshName) && end("nothing of its mesh being left"), LOOK_MS);
    log.info("ready", { mesh: meshName });
    log.info("ending", { by: await over.promise });
    clearTimeout(timer);
    clearInterval(look);
  } finally {
    await orders.close();
    await tether.close();
    lock.close();
  }
  return 0;
}

/** A mesh that lasts for one run goes without a word, and its state folder with it, unless its coordinator was killed. */
function isForgotten(meshName: string): boolean {
  const folder = stateFolderPath(meshName);
  if (!existsSync(folder)) return true;
  return isTemporaryMesh(meshName) && !isAlive(readCoordinatorPlace(folder)?.pid);
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function lockOf(folder: string): Promise<{ close(): void } | undefined> {
  const end = performance.now() + LOCK_LIMIT_MS;
  for (;;) {
    try {
      return lockFile(join(folder, "tether.lock"));
    } catch (error) {
      if (!isLocked(error)) throw error;
      if (performance.now() > end) return undefined;
    }
    await Bun.sleep(LOCK_AGAIN_MS);
  }
}
