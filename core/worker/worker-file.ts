// What a worker tells those who start workers on its host, in a file beside its certificate.
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";

export const WORKER_FILE = "worker.json";

/**
 * Says that the worker of this process has given up its name: adds `{pid, retiring: true}` to what the file in `folder`
 * says. Does nothing when that is about another worker already. Throws UNREACHABLE when it cannot be written.
 */
export function noteRetired(folder: string): void {
  const path = join(folder, WORKER_FILE);
  const known = readJsonFile(path, fieldsOf, `remove it, and end process ${process.pid} by hand`) ?? {};
  if (known.pid !== undefined && known.pid !== process.pid) return;
  writeJsonFile(path, { ...known, pid: process.pid, retiring: true });
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new Error("it holds no object");
}
