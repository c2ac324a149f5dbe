// A file that one process at a time holds.
import { Database } from "bun:sqlite";
import { closeSync, existsSync, openSync } from "node:fs";

/**
 * Holds `path` for this process until `close`, and makes the file, mode 0600, when it is missing. SQLite's lock on an empty file
 * does it: the system takes it from a process that dies, however it dies, and gives it to none of its children. Throws an Error of
 * code "SQLITE_BUSY" when another process has it.
 */
export function lockFile(path: string): { close(): void } {
  // SQLite would make it readable for others. Never opened besides when it is there: closing it gives up the lock.
  if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
  const lock = new Database(path, { create: true });
  try {
    lock.run("PRAGMA journal_mode = OFF");
    lock.run("PRAGMA locking_mode = EXCLUSIVE");
    lock.run("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock.close();
    throw cause;
  }
}

export function isLocked(error: unknown): boolean {
  return (error as { code?: string }).code === "SQLITE_BUSY";
}
