// A file of this machine that is read.
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { MeshError } from "../errors.ts";
import { fileError } from "./file-error.ts";
import type { FileFacts, Source } from "./files.ts";

/** Hashing and copying go by pieces of this size. */
export const PIECE_BYTES = 1024 * 1024;

export class LocalSource implements Source {
  readonly facts: FileFacts;
  readonly #path: string;
  readonly #handle: FileHandle;
  #hasher = new Bun.CryptoHasher("sha256");
  #hashedBytes = 0;
  /** Reads and hashes come one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string, handle: FileHandle, facts: FileFacts) {
    this.#path = path;
    this.#handle = handle;
    this.facts = facts;
  }

  /** Throws STORAGE for what is no file. A pipe is refused without waiting for who writes to it. */
  static async open(path: string, shown = path): Promise<LocalSource> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const stat = await handle.stat();
      if (!stat.isFile()) throw new MeshError("STORAGE", `${shown} is ${stat.isDirectory() ? "a folder" : "no file"}`);
      const { size: sizeBytes, mtimeMs, mode } = stat;
      if (sizeBytes === 0 && (await readPart(handle, 0, 1)).length > 0) throw sizeless(shown);
      return new LocalSource(shown, handle, { sizeBytes, mtimeMs, mode: mode & 0o777 });
    } catch (error) {
      await handle?.close();
      throw fileError(`read ${shown}`, error);
    }
  }

  read(offset: number, sizeBytes: number): Promise<Uint8Array> {
    return this.#next(async () => {
      const bytes = await readPart(this.#handle, offset, sizeBytes);
      if (offset === 0) this.#restart();
      if (offset !== this.#hashedBytes) return bytes;
      this.#hasher.update(bytes);
      this.#hashedBytes += bytes.length;
      return bytes;
    });
  }

  hash(sizeBytes: number): Promise<string> {
    return this.#next(async () => {
      if (sizeBytes < this.#hashedBytes) this.#restart();
      await hashPart(this.#handle, this.#hashedBytes, sizeBytes, this.#hasher);
      this.#hashedBytes = sizeBytes;
      return this.#hasher.copy().digest("hex");
    });
  }

  async close(): Promise<void> {
    await this.#last.catch(() => {});
    await this.#handle.close();
  }

  #restart(): void {
    this.#hasher = new Bun.CryptoHasher("sha256");
    this.#hashedBytes = 0;
  }

  #next<Value>(what: () => Promise<Value>): Promise<Value> {
    const done = this.#last.then(what).catch((error) => {
      throw fileError(`read ${this.#path}`, error);
    });
    this.#last = done.catch(() => {});
    return done;
  }
}

/** As those of /proc. */
function sizeless(shown: string): MeshError {
  return new MeshError(
    "STORAGE",
    `${shown} does not say how large it is: read it with \`mesh exec HOST cat ${shown}\``,
  );
}

/** The bytes from `offset` on, fewer only at the end of the file. */
async function readPart(handle: FileHandle, offset: number, sizeBytes: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  let filled = 0;
  while (filled < sizeBytes) {
    const { bytesRead } = await handle.read(bytes, filled, sizeBytes - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Adds a part of a file to a hash. Throws STORAGE when the file is shorter than that. */
export async function hashPart(
  handle: FileHandle,
  from: number,
  to: number,
  hasher: { update(bytes: Uint8Array): unknown },
): Promise<void> {
  for (let at = from; at < to; ) {
    const bytes = await readPart(handle, at, Math.min(PIECE_BYTES, to - at));
    if (bytes.length === 0) throw new MeshError("STORAGE", "a file became shorter while it was read: try again");
    hasher.update(bytes);
    at += bytes.length;
  }
}
