// `mesh host`, asked to end a worker, and to remove what mesh keeps on this host.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkName } from "../identity/names.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import type { FoundWorker } from "../provider.ts";
import { lockHost } from "./host-lock.ts";
import { endWorker } from "./host-process.ts";
import { purgeHost } from "./host-purge.ts";
import type { HostPort } from "./host-start.ts";
import type { HostWord, Order } from "./host-words.ts";
import { joinedNames, removeRecord, workersOf } from "./worker-record.ts";

type StopOrder = Extract<Order, { op: "stop" }>;

/** Workers of a mesh that `mesh up` started on this host, also those that only end their jobs. */
export function findWorkers(meshName: string): FoundWorker[] {
  return joinedNames(meshName).flatMap((name) => {
    return workersOf(meshName, name).map(({ pid, build }) => ({ mesh: meshName, name, pid, build }));
  });
}

export async function stopWorker(order: StopOrder, port: HostPort): Promise<Extract<HostWord, { word: "stopped" }>> {
  const { meshName, name, purge } = order;
  checkName(name, "the name of a node");
  const folder = join(stateFolderPath(meshName), "joined", name);
  const outcome = existsSync(folder) ? await end(folder, order, port) : "absent";
  return { word: "stopped", outcome, removed: purge ? purgeHost(meshName, folder) : [] };
}

async function end(folder: string, order: StopOrder, { signal, progress }: HostPort): Promise<"stopped" | "absent"> {
  const { meshName, name, graceMs } = order;
  using _lock = await lockHost(folder, {
    signal,
    waits: () => progress("waiting for another `mesh up` or `mesh down`"),
  });
  const workers = workersOf(meshName, name);
  if (workers[0]) progress(`ending the ${workers[0].worker.role ?? "worker"}`);
  await Promise.all(workers.map((record) => endWorker(record, graceMs)));
  removeRecord(folder);
  return workers.length > 0 ? "stopped" : "absent";
}
