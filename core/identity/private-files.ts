// Files and folders that belong to their user alone. What others could have written or read is refused with the command
// that puts it right. A write is done as a whole or not at all, also under kill -9: a new file, to disk, then renamed.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { MeshError } from "../errors.ts";

const FILE_LIMIT_BYTES = 4 * 1024 * 1024;

/** Makes a folder of mode 0700, and those above it that are missing; one that is there is checked as by checkFolder. */
export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    // Something else may stand there: checkFolder has better words for that.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw failure("make the folder", path, error);
  }
  checkPrivateFolder(path);
}

/** Throws AUTHENTICATION unless `path` is a folder (no link) of this user that nobody else may enter. */
export function checkPrivateFolder(path: string): void {
  let stat: Stats;
  try {
    stat = lstatSync(path);
  } catch (error) {
    throw failure("look at the folder", path, error);
  }
  if (stat.isSymbolicLink())
    throw refusal(`${path} is a symbolic link, and others may have laid it: put a folder there`);
  if (!stat.isDirectory()) throw refusal(`${path} is not a folder: move it away`);
  checkOwner(path, stat, "700");
}

/** Tells whether anything is at `path`, also a link to nowhere. */
export function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Reads a file of text; undefined when there is none. Throws AUTHENTICATION unless it is a plain file of this user that
 * nobody else may read or write, UNREACHABLE when it cannot be read.
 */
export function readPrivateFile(path: string): string | undefined {
  let file: number;
  try {
    // Not blocking: opening a named pipe would wait for a writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "ELOOP") throw refusal(`${path} is a symbolic link, and others may have laid it: put a file there`);
    throw failure("read", path, error);
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw refusal(`${path} is not a plain file: move it away`);
    checkOwner(path, stat, "600");
    if (stat.size > FILE_LIMIT_BYTES) throw refusal(`${path} has ${stat.size} bytes, too many: it is damaged`);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** Writes a file of mode 0600 as a whole. Throws UNREACHABLE when it cannot; then the old file is as it was. */
export function writePrivateFile(path: string, text: string): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  try {
    removeLeftovers(path);
    writeToDisk(temporary, text);
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw failure("write", path, error);
  }
}

/** Gives a file another name, lasting; one of that name is replaced. */
export function renamePrivateFile(from: string, to: string): void {
  renameSync(from, to);
  syncFolder(dirname(to));
}

function writeToDisk(path: string, text: string): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Removes what writers of `path` left that were killed in the middle. */
function removeLeftovers(path: string): void {
  const prefix = `.${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(prefix) || !name.endsWith(".tmp")) continue;
    const pid = Number(name.slice(prefix.length).split(".")[0]);
    if (!isAlive(pid)) rmSync(join(dirname(path), name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function checkOwner(path: string, stat: Stats, mode: "600" | "700"): void {
  const user = process.geteuid?.();
  if (user !== undefined && stat.uid !== user) {
    const advice = `run mesh as that user, or as root \`chown ${user} ${path}\``;
    throw refusal(`${path} belongs to user ${stat.uid}, and this is user ${user}: ${advice}`);
  }
  if (stat.mode & 0o077) {
    const found = (stat.mode & 0o777).toString(8);
    throw refusal(`${path} has mode ${found}, so that others may get at what is secret: \`chmod ${mode} ${path}\``);
  }
}

function refusal(message: string): MeshError {
  return new MeshError("AUTHENTICATION", message);
}

function failure(what: string, path: string, cause: unknown): MeshError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOSPC: "no space is left on that disk: make room",
    EDQUOT: "this user's quota of that disk is used up: make room",
    EROFS: "that file system is mounted read-only",
    EACCES: "this user may not",
    ENOTDIR: "something above it is no folder",
  };
  return new MeshError("UNREACHABLE", `cannot ${what} ${path}: ${reasons[code ?? ""] ?? message}`, { cause });
}
