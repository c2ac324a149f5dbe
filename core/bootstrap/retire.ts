// Makes a worker give its name to the next one. Jobs that run on it finish there.
import { killProcess } from "../worker/libc.ts";
import { endWorker } from "./host-process.ts";
import { isAlive, readRecord, removeRecord, retireRecord, type WorkerRecord } from "./worker-record.ts";

/** It tells the coordinator first, which may be away for as long. */
const RETIRE_LIMIT_MS = 15_000;
const GRACE_MS = 10_000;
const POLL_MS = 20;

/** Resolves when the name is free. A worker that does not retire in 15 s is ended with all its jobs. */
export async function retire(folder: string, record: WorkerRecord): Promise<void> {
  // Before it is in the mesh it has neither a name nor jobs, nor does it listen to this signal.
  if (record.state !== "joining") {
    killProcess(record.pid, "SIGUSR1");
    if (await hasRetired(folder, record)) {
      if (isAlive(record)) retireRecord(folder, record);
      return;
    }
  }
  await endWorker(record, GRACE_MS);
  removeRecord(folder);
}

async function hasRetired(folder: string, record: WorkerRecord): Promise<boolean> {
  const end = performance.now() + RETIRE_LIMIT_MS;
  while (isAlive(record)) {
    const now = readRecord(folder);
    if (now?.pid === record.pid && now.retiring) return true;
    if (performance.now() > end) return false;
    await Bun.sleep(POLL_MS);
  }
  return true;
}
