// One coordinator for each state folder, and where others find it.
import { Database } from "bun:sqlite";
import { closeSync, existsSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";
import { makePrivateFolder } from "../identity/private-files.ts";

const LOCK = "coordinator.lock";
const PID = "coordinator.pid";
const WHERE = "coordinator.json";

/** What coordinator.json says while a coordinator listens. */
export interface CoordinatorPlace {
  pid: number;
  node: number;
  addresses: string[];
  /** ms since 1970. */
  since: number;
  version: string;
}

/**
 * Holds the folder for this process. SQLite's lock on an empty file does it: the system takes it from a process that dies,
 * however it dies, and gives it to none of its children.
 */
export class FolderLock {
  readonly #folder: string;
  readonly #lock: Database;

  /** Makes the folder if need be. Throws USAGE, naming the process, when another coordinator has it. */
  constructor(folder: string) {
    makePrivateFolder(folder);
    this.#folder = folder;
    const path = join(folder, LOCK);
    // SQLite would make it readable for others. Never opened besides when it is there: closing it gives up the lock.
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
    this.#lock = new Database(path, { create: true });
    try {
      this.#lock.run("PRAGMA journal_mode = OFF");
      this.#lock.run("PRAGMA locking_mode = EXCLUSIVE");
      this.#lock.run("BEGIN EXCLUSIVE");
    } catch (cause) {
      this.#lock.close();
      throw notLocked(folder, cause);
    }
    rmSync(join(folder, WHERE), { force: true }); // of one that was killed
    writeJsonFile(join(folder, PID), process.pid);
  }

  /** Tells others where this coordinator listens. */
  publish(place: CoordinatorPlace): void {
    writeJsonFile(join(this.#folder, WHERE), place);
  }

  release(): void {
    rmSync(join(this.#folder, WHERE), { force: true });
    rmSync(join(this.#folder, PID), { force: true });
    this.#lock.close();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Where the coordinator of this folder listens; undefined when none does, as far as its folder says: one that was killed
 * leaves the file, so whoever finds nothing there says that it is not up.
 */
export function readCoordinatorPlace(folder: string): CoordinatorPlace | undefined {
  return readJsonFile(join(folder, WHERE), checkPlace, "delete it, and start the coordinator again");
}

function checkPlace(value: unknown): CoordinatorPlace {
  const { pid, node, addresses, since, version } = value as CoordinatorPlace;
  const isPlace = [pid, node, since].every(Number.isFinite) && typeof version === "string" && Array.isArray(addresses);
  if (!isPlace || !addresses.every((address) => typeof address === "string")) throw new Error("it lacks something");
  return { pid, node, addresses, since, version };
}

function notLocked(folder: string, cause: unknown): MeshError {
  if ((cause as { code?: string }).code !== "SQLITE_BUSY") {
    const message = `cannot lock ${join(folder, LOCK)}: ${(cause as Error).message}`;
    return new MeshError("STORAGE", message, { cause });
  }
  const pid = pidOfOther(folder);
  const who = pid === undefined ? "another process" : `process ${pid}`;
  const message = `a coordinator already uses ${folder}: ${who}; use that one, or end it first: mesh kill coordinator`;
  return new MeshError("USAGE", message, { cause });
}

function pidOfOther(folder: string): number | undefined {
  try {
    return readJsonFile(join(folder, PID), Number, "");
  } catch {
    return undefined;
  }
}
