// One `mesh host` at a time for each node: two `mesh up` at once start one worker. SQLite's lock does it, as in
// core/coordinator/folder-lock.ts: the system takes it from a process that dies, and gives it to none of its children.
import { Database } from "bun:sqlite";
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../errors.ts";

const LOCK = "host.lock";
const RETRY_MS = 50;
/** What one `mesh up` may take here, and more. */
const LOCK_LIMIT_MS = 90_000;

/**
 * Waits for the lock of a folder. Throws TIMEOUT when another process has it for 90 s, CANCELLED, STORAGE when it cannot be had.
 */
export async function lockHost(
  folder: string,
  { signal, waits }: { signal: AbortSignal; waits(): void },
): Promise<Disposable> {
  const path = join(folder, LOCK);
  // SQLite would make it readable for others.
  if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
  const end = performance.now() + LOCK_LIMIT_MS;
  for (;;) {
    const lock = tryLock(path);
    if (lock) return { [Symbol.dispose]: () => lock.close() };
    waits();
    if (signal.aborted) throw new MeshError("CANCELLED", "another `mesh up` or `mesh down` was at work on this host");
    if (performance.now() > end) {
      const message = `another \`mesh up\` or \`mesh down\` has been at work on this host for ${LOCK_LIMIT_MS / 1000} s: end it`;
      throw new MeshError("TIMEOUT", message);
    }
    await Bun.sleep(RETRY_MS);
  }
}

function tryLock(path: string): Database | undefined {
  let lock: Database | undefined;
  try {
    lock = new Database(path, { create: true });
    lock.run("PRAGMA journal_mode = OFF");
    lock.run("PRAGMA locking_mode = EXCLUSIVE");
    lock.run("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock?.close();
    if ((cause as { code?: string }).code === "SQLITE_BUSY") return undefined;
    throw new MeshError("STORAGE", `cannot lock ${path}: ${(cause as Error).message}`, { cause });
  }
}
