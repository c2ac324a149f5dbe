// The folder of one run: sockets, status pages and bundles, readable by their user alone, gone when the run is over.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { MeshError } from "../errors.ts";

/** Room for "/65535.sock" behind the folder in the 107 bytes a socket's path may have. */
const FOLDER_LIMIT_BYTES = 95;

/**
 * Makes the folder of a run of this process, and removes those of runs that were killed together with their agents.
 * Throws UNREACHABLE when no place will do.
 */
export function makeRunFolder(): string {
  const tried: string[] = [];
  for (const base of bases()) {
    try {
      const parent = runParent(base);
      removeDead(parent);
      const folder = mkdtempSync(join(parent, `${process.pid}-${startOf(process.pid)}-${pidNamespace()}-`));
      if (Buffer.byteLength(folder) <= FOLDER_LIMIT_BYTES) return folder;
      rmSync(folder, { recursive: true });
      tried.push(`${folder}: its path is longer than ${FOLDER_LIMIT_BYTES} bytes`);
    } catch (error) {
      tried.push(`${base}: ${(error as Error).message}`);
    }
  }
  throw new MeshError("UNREACHABLE", `no folder for the sockets of this run can be made; tried ${tried.join("; ")}`);
}

export function removeRunFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

function bases(): string[] {
  const runtime = process.env.XDG_RUNTIME_DIR;
  return [...(runtime ? [runtime] : []), tmpdir(), "/tmp"];
}

/** Removes the folders that hold this user's runs, where there are none. Returns which those were. */
export function removeEmptyRunParents(): string[] {
  const parents = [...new Set(bases())].map((base) => join(base, `mesh-${userInfo().uid}`));
  return parents.filter((parent) => {
    try {
      rmdirSync(parent);
      return true;
    } catch {
      return false; // something is in it, or it is not there
    }
  });
}

/** Where this user's sockets are in `base`, such as "/tmp"; a folder of this user alone. */
export function runParent(base: string): string {
  return ownFolder(join(base, `mesh-${userInfo().uid}`));
}

/** A folder that belongs to this user and to nobody else; one that others prepared is refused. */
function ownFolder(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const stat = lstatSync(path);
  if (!stat.isDirectory()) throw new Error(`${path} is a link, which others may have laid`);
  if (stat.uid !== userInfo().uid) throw new Error(`${path} belongs to user ${stat.uid}`);
  chmodSync(path, 0o700);
  return path;
}

function removeDead(parent: string): void {
  for (const name of readdirSync(parent)) {
    const [pid, start, namespace] = name.split("-");
    // Process ids of another container, which may share this folder, say nothing here.
    if (!pid || !start || namespace !== pidNamespace()) continue;
    if (startOf(Number(pid)) !== start) removeRunFolder(join(parent, name));
  }
}

/** The number of the kernel's namespace that our process ids belong to; "0" where there is none. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

/** When a process started, in ticks since boot: tells it from a later one of the same id. "0" when it is gone. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "0";
  } catch {
    return process.platform === "linux" ? "0" : String(isAlive(pid) ? 1 : 0);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
