// Reads what a job printed, from its files, as fast as it is asked for and no faster.
import { type FileHandle, open } from "node:fs/promises";
import { MeshError } from "../errors.ts";
import type { LogRecord } from "./bodies.ts";
import { ignoreMissing, logFilesIn, logPath } from "./log-file.ts";
import { readRecord, STORED_LIMIT_BYTES } from "./log-records.ts";

/** Which records are wanted. */
export interface LogFilter {
  host?: string;
  seat?: number;
  stream?: LogRecord["stream"];
}

export interface LogBatch {
  records: LogRecord[];
  /** Output before the first record that is not there any more, or never was. */
  droppedBytes: number;
}

/** Output of one batch. */
export const BATCH_BYTES = 256 * 1024;
const CHUNK_BYTES = 4 * STORED_LIMIT_BYTES;
/** Of the last lines that are asked for, so many pieces at most are looked for from the end. */
const TAIL_PIECES = 100_000;

/** A place in the log: which file, where in it, and how much output came before. */
interface Place {
  file: number;
  offset: number;
  printedBytes: number;
}

interface Read extends Place {
  record: LogRecord;
  droppedBytes: number;
}

/** One reader has one place; it holds no more than one chunk. End it with `close`. */
export class LogReader {
  readonly #folder: string;
  readonly #filter: LogFilter;
  #place: Place = { file: -1, offset: 0, printedBytes: 0 };
  #handle: FileHandle | undefined;
  #chunk = Buffer.alloc(0);
  /** Where in its file the chunk begins. */
  #chunkAt = 0;
  #dropped = 0;
  /** Lines of the first record that are not wanted. */
  #skipLines = 0;
  /** Read, and too long for the batch before. */
  #held: LogRecord | undefined;

  constructor(folder: string, filter: LogFilter = {}) {
    this.#folder = folder;
    this.#filter = filter;
  }

  /** The next records, BATCH_BYTES of output at most; none when all that is there was read. Throws STORAGE. */
  async next(): Promise<LogBatch> {
    const batch: LogBatch = { records: [], droppedBytes: 0 };
    let bytes = 0;
    for (;;) {
      const record = this.#held ?? (await this.#nextWanted());
      this.#held = undefined;
      if (!record) break;
      const isGap = this.#dropped > 0 && batch.records.length > 0;
      if (isGap || (bytes > 0 && bytes + record.bytes.length > BATCH_BYTES)) {
        this.#held = record;
        return batch;
      }
      batch.droppedBytes += this.#takeDropped();
      batch.records.push({ ...record, bytes: new Uint8Array(record.bytes) });
      bytes += record.bytes.length;
    }
    // A gap at the end is told with what follows it, if it does.
    return batch;
  }

  /** Moves on to the last `lines` lines of what is there. */
  async seekTail(lines: number): Promise<void> {
    const last: { place: Place; lines: number }[] = [];
    let sum = 0;
    let first = 0;
    for (;;) {
      const read = await this.#read();
      if (!read) break;
      if (!this.#isWanted(read.record)) continue;
      const { file, offset, printedBytes } = read;
      last.push({ place: { file, offset, printedBytes }, lines: linesIn(read.record.bytes) });
      sum += last.at(-1)!.lines;
      while (first < last.length && (sum - last[first]!.lines >= lines || last.length - first > TAIL_PIECES)) {
        sum -= last[first++]!.lines;
      }
      if (first > TAIL_PIECES) first -= last.splice(0, first).length;
    }
    const start = last[first];
    this.#dropped = 0;
    if (!start) return;
    await this.#goTo(start.place);
    this.#skipLines = Math.max(0, sum - lines);
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #nextWanted(): Promise<LogRecord | undefined> {
    for (;;) {
      const read = await this.#read();
      if (!read) return undefined;
      this.#dropped += read.droppedBytes;
      if (!this.#isWanted(read.record)) continue;
      const bytes = withoutLines(read.record.bytes, this.#skipLines);
      this.#skipLines = 0;
      if (bytes.length > 0) return { ...read.record, bytes };
    }
  }

  #isWanted({ host, seat, stream }: LogRecord): boolean {
    const wanted = this.#filter;
    if (wanted.host !== undefined && wanted.host !== host) return false;
    if (wanted.seat !== undefined && wanted.seat !== seat) return false;
    return wanted.stream === undefined || wanted.stream === stream;
  }

  #takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** The next record, and where it stands; undefined at the end. */
  async #read(): Promise<Read | undefined> {
    let droppedBytes = 0;
    for (;;) {
      const next = this.#parse();
      if (next && "record" in next.stored) {
        const at = { ...this.#place };
        this.#place.offset = next.endOffset;
        this.#place.printedBytes += next.stored.record.bytes.length;
        return { ...at, record: next.stored.record, droppedBytes };
      }
      if (next && "printedBytes" in next.stored) {
        droppedBytes += Math.max(0, next.stored.printedBytes - this.#place.printedBytes);
        this.#place = { ...this.#place, offset: next.endOffset, printedBytes: next.stored.printedBytes };
      } else if (!(await this.#fill())) {
        this.#dropped += droppedBytes;
        return undefined;
      }
    }
  }

  #parse() {
    const start = this.#place.offset - this.#chunkAt;
    try {
      const read = readRecord(this.#chunk, start);
      return read && { stored: read.stored, endOffset: this.#chunkAt + read.end };
    } catch (cause) {
      const message = `the log in ${this.#folder} is damaged: ${(cause as Error).message} in file ${this.#place.file} at ${this.#place.offset}`;
      throw new MeshError("STORAGE", message, { cause });
    }
  }

  /** Reads on in the file, or goes to the next one; false when there is nothing more. */
  async #fill(): Promise<boolean> {
    if (await this.#fillChunk()) return true;
    const next = (await logFilesIn(this.#folder)).find((file) => file > this.#place.file);
    if (next === undefined) return false;
    // The writer may have finished this file after we looked, and before it began the next.
    if (await this.#fillChunk()) return true;
    await this.#goTo({ ...this.#place, file: next, offset: 0 });
    return true;
  }

  /** Whether there is a whole record at the place. */
  async #fillChunk(): Promise<boolean> {
    if (!this.#handle) return false;
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#place.offset);
    this.#chunk = buffer.subarray(0, bytesRead);
    this.#chunkAt = this.#place.offset;
    return this.#parse() !== undefined;
  }

  async #goTo(place: Place): Promise<void> {
    if (place.file !== this.#place.file || !this.#handle) {
      await this.close();
      this.#handle = await open(logPath(this.#folder, place.file), "r").catch(ignoreMissing(undefined));
    }
    this.#place = place;
    this.#chunk = Buffer.alloc(0);
    this.#chunkAt = place.offset;
  }
}

function linesIn(bytes: Uint8Array): number {
  let lines = bytes.at(-1) === 10 ? 0 : 1;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}

function withoutLines(bytes: Uint8Array, lines: number): Uint8Array {
  let from = 0;
  for (let skipped = 0; skipped < lines && from < bytes.length; skipped++) {
    const end = bytes.indexOf(10, from);
    from = end < 0 ? bytes.length : end + 1;
  }
  return bytes.subarray(from);
}
