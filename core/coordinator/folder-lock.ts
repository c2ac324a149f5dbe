// One coordinator for each state folder, and where others find it.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";
import { makePrivateFolder } from "../identity/private-files.ts";
import { isLocked, lockFile } from "../process-lock.ts";

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

/** Holds the folder for this process. */
export class FolderLock {
  readonly #folder: string;
  readonly #lock: { close(): void };

  /** Makes the folder if need be. Throws USAGE, naming the process, when another coordinator has it. */
  constructor(folder: string) {
    makePrivateFolder(folder);
    this.#folder = folder;
    try {
      this.#lock = lockFile(join(folder, LOCK));
    } catch (cause) {
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
  if (!isLocked(cause)) {
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
