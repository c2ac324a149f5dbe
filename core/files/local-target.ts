// A file of this machine that is written: beside its name, under one that tells of which file it is a part, and given
// its name when all of it is there. What an attempt left is taken up by the next one of the same file.
import { constants } from "node:fs";
import { type FileHandle, link, open, readdir, rename, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { lockFile } from "../worker/libc.ts";
import { fileError, hasCode } from "./file-error.ts";
import type { FileFacts, Standing, Target } from "./files.ts";
import type { Folder } from "./folder.ts";
import { hashPart } from "./local-source.ts";
import { PARTIAL_PREFIX } from "./paths.ts";

/** Less than this is not worth another attempt: it is not kept. */
const KEPT_BYTES = 1024 * 1024;
/** Parts of files that nobody went on with are removed after so long. */
const FORGOTTEN_MS = 7 * 24 * 3_600_000;

interface Partial {
  name: string;
  handle: FileHandle;
}

/** Partial files that this process writes, by device and inode: where the system has no locks nothing else tells. */
const ours = new Set<string>();

export class LocalTarget implements Target {
  readonly path: string;
  readonly offset: number;
  readonly hash: string;
  readonly #folder: Folder;
  readonly #name: string;
  readonly #facts: FileFacts;
  readonly #overwrite: boolean;
  readonly #partial: Partial;
  readonly #id: string;
  #hasher: Bun.CryptoHasher;
  #writtenBytes: number;
  #last: Promise<unknown> = Promise.resolve();
  #isOver = false;

  private constructor(
    folder: Folder,
    name: string,
    facts: FileFacts,
    overwrite: boolean,
    { partial, id, offset, hasher }: { partial: Partial; id: string; offset: number; hasher: Bun.CryptoHasher },
  ) {
    this.path = join(folder.path, name);
    this.#folder = folder;
    this.#name = name;
    this.#facts = facts;
    this.#overwrite = overwrite;
    this.#partial = partial;
    this.#id = id;
    this.#hasher = hasher;
    this.#writtenBytes = offset;
    this.offset = offset;
    this.hash = hasher.copy().digest("hex");
    ours.add(id);
  }

  /** Takes over the folder, and closes it in the end. Throws STORAGE. */
  static async begin(folder: Folder, name: string, facts: FileFacts, overwrite: boolean): Promise<LocalTarget> {
    const path = join(folder.path, name);
    let partial: Partial | undefined;
    try {
      partial =
        (await openPartial(folder, partialName(name, facts))) ??
        (await openPartial(folder, randomName(name), constants.O_EXCL));
      if (!partial) throw new MeshError("STORAGE", `several processes write ${path} at once: try again`);
      const { handle } = partial;
      const { size, dev, ino } = await handle.stat();
      const offset = size <= facts.sizeBytes ? size : 0;
      if (offset !== size) await handle.truncate(0);
      await checkRoom(folder, path, facts.sizeBytes - offset);
      if (facts.sizeBytes >= KEPT_BYTES) await removeForgotten(folder, name, partial.name);
      const hasher = new Bun.CryptoHasher("sha256");
      await hashPart(handle, 0, offset, hasher);
      return new LocalTarget(folder, name, facts, overwrite, { partial, id: `${dev}:${ino}`, offset, hasher });
    } catch (error) {
      if (partial) await letGo(folder, partial);
      throw fileError(`write ${path}`, error);
    }
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#next(async () => {
      if (offset === 0 && this.#writtenBytes > 0) {
        await this.#partial.handle.truncate(0);
        this.#hasher = new Bun.CryptoHasher("sha256");
        this.#writtenBytes = 0;
      }
      if (offset !== this.#writtenBytes || offset + bytes.length > this.#facts.sizeBytes) {
        throw new MeshError(
          "PROTOCOL",
          `${bytes.length} bytes at ${offset} do not follow the ${this.#writtenBytes} before`,
        );
      }
      await writeAll(this.#partial.handle, bytes, offset);
      this.#hasher.update(bytes);
      this.#writtenBytes += bytes.length;
    });
  }

  async finish(hash: string): ReturnType<Target["finish"]> {
    return await this.#next(async () => {
      const { sizeBytes, mode, mtimeMs } = this.#facts;
      if (this.#writtenBytes !== sizeBytes || this.#hasher.copy().digest("hex") !== hash) {
        await this.#close(false);
        throw new MeshError("STORAGE", `${this.path} came damaged: its hash is not that of its source; try again`);
      }
      const { handle, name } = this.#partial;
      await handle.chmod(mode);
      await handle.utimes(new Date(), new Date(mtimeMs));
      if (this.#overwrite) await rename(this.#folder.at(name), this.#folder.at(this.#name));
      else if (!(await linkIfFree(this.#folder, name, this.#name))) {
        const standing = await standingAt(this.#folder, this.#name);
        await this.#close(false);
        if (!standing) throw new MeshError("STORAGE", `something that is no file came to ${this.path} meanwhile`);
        return { state: "exists", standing };
      }
      await this.#close(true);
      return { state: "saved" };
    });
  }

  async abandon(keeps: boolean): Promise<void> {
    await this.#last.catch(() => {});
    await this.#close(keeps && this.#writtenBytes >= KEPT_BYTES);
  }

  async #close(keeps: boolean): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    ours.delete(this.#id);
    if (!keeps) await unlink(this.#folder.at(this.#partial.name)).catch(() => {});
    await this.#partial.handle.close();
    await this.#folder[Symbol.asyncDispose]();
  }

  #next<Value>(what: () => Promise<Value>): Promise<Value> {
    const done = this.#last.then(what).catch((error) => {
      throw fileError(`write ${this.path}`, error);
    });
    this.#last = done.catch(() => {});
    return done;
  }
}

/** The file of that name in a folder, with its hash; undefined when there is none, or something else. Links are not followed. */
export async function standingAt(folder: Folder, name: string): Promise<Standing | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(folder.at(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ELOOP") || hasCode(error, "ENXIO")) return undefined;
    throw error;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return undefined;
    const hasher = new Bun.CryptoHasher("sha256");
    await hashPart(handle, 0, stat.size, hasher);
    return { sizeBytes: stat.size, mtimeMs: stat.mtimeMs, hash: hasher.digest("hex") };
  } finally {
    await handle.close();
  }
}

/** Closes it; nothing is left of one that nothing was written to. */
async function letGo(folder: Folder, { name, handle }: Partial): Promise<void> {
  const isEmpty = (await handle.stat()).size === 0;
  if (isEmpty) await unlink(folder.at(name)).catch(() => {});
  await handle.close();
}

/** Opens it and makes it this process's own; undefined when another writes it. */
async function openPartial(folder: Folder, name: string, more = 0): Promise<Partial | undefined> {
  for (let tries = 0; tries < 5; tries++) {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK | more;
    const handle = await open(folder.at(name), flags, 0o600);
    const stat = await handle.stat();
    // In a folder that others may write to, somebody may have laid one there that is his.
    const isOwn = stat.isFile() && stat.nlink === 1 && stat.uid === process.geteuid?.();
    if (isOwn && !ours.has(`${stat.dev}:${stat.ino}`) && lockFile(handle.fd)) {
      // Who had it before may have given it its name meanwhile: then it is no partial file any more.
      const there = await folder.look(name);
      if (there?.ino === stat.ino && there.dev === stat.dev) return { name, handle };
      await handle.close();
    } else {
      await handle.close();
      return undefined;
    }
  }
  return undefined;
}

/** Of the same name for the same file, so that another attempt finds it. */
function partialName(name: string, { sizeBytes, mtimeMs }: FileFacts): string {
  return `${partialsOf(name)}${shortHash(`${sizeBytes} ${mtimeMs}`)}`;
}

function randomName(name: string): string {
  return `${partialsOf(name)}${crypto.randomUUID()}`;
}

function partialsOf(name: string): string {
  return `${PARTIAL_PREFIX}${shortHash(name)}-`;
}

function shortHash(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16);
}

async function checkRoom(folder: Folder, path: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder.self);
  if (bavail * bsize >= neededBytes) return;
  throw new MeshError(
    "STORAGE",
    `no room for ${path}: it needs ${neededBytes} bytes more, and ${bavail * bsize} are free`,
  );
}

/** Parts of earlier versions of this file, and of any after a week. Those that others write are left alone. */
async function removeForgotten(folder: Folder, name: string, own: string): Promise<void> {
  const names = await readdir(folder.self).catch(() => []);
  for (const each of names) {
    if (!each.startsWith(PARTIAL_PREFIX) || each === own) continue;
    const stat = await folder.look(each);
    const isOld = stat && Date.now() - stat.mtimeMs > FORGOTTEN_MS;
    if (!stat?.isFile() || !(isOld || each.startsWith(partialsOf(name)))) continue;
    const partial = await openPartial(folder, each).catch(() => undefined);
    if (!partial) continue;
    await unlink(folder.at(each)).catch(() => {});
    await partial.handle.close();
  }
}

/** Gives a file its name unless something has that; false then. */
async function linkIfFree(folder: Folder, partial: string, name: string): Promise<boolean> {
  try {
    await link(folder.at(partial), folder.at(name));
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    // A disk without hard links: between the look and the renaming another may come.
    if (await folder.look(name)) return false;
    await rename(folder.at(partial), folder.at(name));
    return true;
  }
  await unlink(folder.at(partial));
  return true;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, offset + at);
    at += bytesWritten;
  }
}
