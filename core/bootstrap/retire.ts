// Makes a worker give its name to the next one.
import { endWorker } from "./host-process.ts";
import { removeRecord, type WorkerRecord } from "./worker-record.ts";

const GRACE_MS = 10_000;

/** Resolves when the name is free. */
export async function retire(folder: string, record: WorkerRecord): Promise<void> {
  await endWorker(record, GRACE_MS);
  removeRecord(folder);
}
