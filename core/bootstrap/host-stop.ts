// `mesh host`, asked to end a worker, and to remove what mesh keeps on this host.
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkName } from "../identity/names.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import type { FoundWorker } from "../provider.ts";
import { removeEmptyRunParents } from "../worker/run-folder.ts";
import { lockHost } from "./host-lock.ts";
import { endWorker } from "./host-process.ts";
import type { HostPort } from "./host-start.ts";
import type { HostWord, Order } from "./host-words.ts";
import { joinedNames, liveRecord, removeRecord, retiredRecords, type WorkerRecord } from "./worker-record.ts";

type StopOrder = Extract<Order, { op: "stop" }>;

/** Workers of a mesh that `mesh up` started on this host, also those that only end their jobs. */
export function findWorkers(meshName: string): FoundWorker[] {
  return joinedNames(meshName).flatMap((name) => {
    const all = workersOf(join(stateFolderPath(meshName), "joined", name));
    return all.map(({ pid, build }) => ({ mesh: meshName, name, pid, build }));
  });
}

function workersOf(folder: string): WorkerRecord[] {
  const live = liveRecord(folder);
  return [...(live ? [live] : []), ...retiredRecords(folder)];
}

export async function stopWorker(order: StopOrder, port: HostPort): Promise<Extract<HostWord, { word: "stopped" }>> {
  const { meshName, name, graceMs, purge } = order;
  checkName(name, "the name of a node");
  const folder = join(stateFolderPath(meshName), "joined", name);
  const outcome = existsSync(folder) ? await end(folder, graceMs, port) : "absent";
  return { word: "stopped", outcome, removed: purge ? purgeHost(meshName, folder) : [] };
}

async function end(folder: string, graceMs: number, { signal, progress }: HostPort): Promise<"stopped" | "absent"> {
  using _lock = await lockHost(folder, {
    signal,
    waits: () => progress("waiting for another `mesh up` or `mesh down`"),
  });
  const workers = workersOf(folder);
  if (workers.length > 0) progress("ending the worker");
  await Promise.all(workers.map((record) => endWorker(record, graceMs)));
  removeRecord(folder);
  return workers.length > 0 ? "stopped" : "absent";
}

/** Removes the node's folder, what becomes empty above it, and the caches when no worker here needs them. */
function purgeHost(meshName: string, folder: string): string[] {
  const removed = [folder].filter(existsSync);
  rmSync(folder, { recursive: true, force: true });
  const state = stateFolderPath(meshName);
  for (const empty of [dirname(folder), state, dirname(state)]) if (removeEmpty(empty)) removed.push(empty);
  return [...removed, ...(isNeeded(dirname(state)) ? [] : [...purgeCache(), ...removeEmptyRunParents()])];
}

function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return false; // something else is in it, or it is not there
  }
}

/** Whether a worker of any mesh runs here. */
function isNeeded(meshes: string): boolean {
  const names = existsSync(meshes) ? readdirSync(meshes) : [];
  return names.some((mesh) => findWorkers(mesh).length > 0);
}

/** Only what `mesh up` has put there: a binary of the user's own runs from elsewhere. */
function purgeCache(): string[] {
  const folder = dirname(process.execPath);
  const bin = dirname(folder);
  if (basename(bin) !== "bin" || !/^[0-9a-f]{64}$/.test(basename(folder))) return [];
  rmSync(bin, { recursive: true, force: true });
  const cache = dirname(bin);
  return [bin, ...(removeEmpty(cache) ? [cache] : [])];
}
