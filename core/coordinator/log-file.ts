// The log of one job on disk: a folder of at most two files, so that the older half goes by removing one. A file is named
// after the number it has in the row.
import { type FileHandle, mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import type { LogRecord } from "./bodies.ts";
import { readRecord, STORED_LIMIT_BYTES, writeMark, writeRecords } from "./log-records.ts";

const CHUNK_BYTES = 4 * STORED_LIMIT_BYTES;

/** The numbers of the files in a job's folder, in order; none when it is not there. */
export async function logFilesIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(ignoreMissing<string[]>([]));
  return names
    .filter((name) => /^\d{1,9}\.log$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
}

export const logPath = (folder: string, file: number) => join(folder, `${file}.log`);

/** Appends to the log of one job. One writer for each job. */
export class LogWriter {
  readonly #folder: string;
  readonly #capBytes: number;
  #file = 0;
  #handle: FileHandle | undefined;
  /** Of the file being written, as far as it is whole. */
  #size = 0;
  /** Output so far, also what was lost. */
  #printed = 0;
  #hasGap = false;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(folder: string, capBytes: number) {
    this.#folder = folder;
    this.#capBytes = capBytes;
  }

  /** In the file when it resolves. Throws STORAGE when it cannot be written; a later reader is told how much is missing. */
  append(records: readonly LogRecord[]): Promise<void> {
    return this.#inTurn(() => this.#append(records));
  }

  /** Whether it holds nothing: no file, and nothing to write. */
  get isIdle(): boolean {
    return this.#waiting === 0 && this.#handle === undefined;
  }

  /** Closes the file after what is under way; the next append opens it again. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#handle?.close();
      this.#handle = undefined;
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const done = this.#queue.then(action).finally(() => this.#waiting--);
    this.#queue = done.catch(() => {}); // told to who asked for it
    return done;
  }

  async #append(records: readonly LogRecord[]): Promise<void> {
    const bytes = records.reduce((sum, record) => sum + record.bytes.length, 0);
    try {
      const handle = this.#handle ?? (await this.#open());
      const mark = this.#hasGap ? [writeMark(this.#printed)] : [];
      await this.#write(handle, Buffer.concat([...mark, writeRecords(records)]));
      this.#hasGap = false;
      this.#printed += bytes;
    } catch (error) {
      this.#hasGap = true;
      this.#printed += bytes;
      throw notWritten(this.#folder, error);
    }
    if (this.#size >= this.#capBytes / 2) await this.#next().catch(() => {}); // the next append tries again
  }

  async #write(handle: FileHandle, bytes: Buffer): Promise<void> {
    try {
      await writeAll(handle, bytes, this.#size);
      this.#size += bytes.length;
    } catch (error) {
      await handle.truncate(this.#size).catch(() => {}); // what is left ends a reader there until it is written over
      throw error;
    }
  }

  /** Goes on where the last file ends. */
  async #open(): Promise<FileHandle> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const last = (await logFilesIn(this.#folder)).at(-1);
    if (last === undefined) return await this.#create(0);
    const handle = await open(logPath(this.#folder, last), "r+");
    try {
      const { size, printedBytes } = await measure(handle);
      await handle.truncate(size);
      this.#file = last;
      this.#size = size;
      this.#printed = Math.max(this.#printed, printedBytes);
      if (size === 0) await this.#write(handle, writeMark(this.#printed));
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#handle = handle;
    return handle;
  }

  async #create(file: number): Promise<FileHandle> {
    const path = logPath(this.#folder, file);
    const mark = writeMark(this.#printed);
    const handle = await open(path, "w", 0o600);
    try {
      await writeAll(handle, mark, 0);
    } catch (error) {
      await handle.close();
      await rm(path, { force: true });
      throw error;
    }
    this.#file = file;
    this.#size = mark.length;
    this.#handle = handle;
    return handle;
  }

  /** The oldest half goes, and a new file begins. */
  async #next(): Promise<void> {
    for (const file of await logFilesIn(this.#folder)) {
      if (file < this.#file) await rm(logPath(this.#folder, file), { force: true });
    }
    const before = this.#handle;
    await this.#create(this.#file + 1);
    await before?.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** How far a file is whole, and how much output there was up to there. */
async function measure(handle: FileHandle): Promise<{ size: number; printedBytes: number }> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let size = 0;
  let printedBytes = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, size);
    const chunk = buffer.subarray(0, bytesRead);
    let at = 0;
    for (let next = recordAt(chunk, at); next; next = recordAt(chunk, at)) {
      const { stored, end } = next;
      printedBytes = "record" in stored ? printedBytes + stored.record.bytes.length : stored.printedBytes;
      at = end;
    }
    if (at === 0) return { size, printedBytes };
    size += at;
  }
}

/** As readRecord; what is damaged ends the file, too. */
function recordAt(bytes: Buffer, start: number): ReturnType<typeof readRecord> {
  try {
    return readRecord(bytes, start);
  } catch {
    return undefined;
  }
}

export function ignoreMissing<T>(instead: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === "ENOENT") return instead;
    throw error;
  };
}

function notWritten(folder: string, cause: unknown): MeshError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = code === "ENOSPC" ? "no space is left on that disk; make room there" : message;
  return new MeshError("STORAGE", `cannot write the log of a job in ${folder}: ${reason}`, { cause });
}
