// What a job prints, on its way to the coordinator, which keeps it for `mesh logs`.

import type { LogRecord } from "../coordinator/bodies.ts";
import { isMeshError } from "../errors.ts";
import type { Output } from "../worker/control.ts";
import { LineSplitter } from "../worker/lines.ts";

/** A batch goes out when it has so many bytes, or after so long. */
const BATCH_BYTES = 256 * 1024;
const BATCH_MS = 100;
/** So much may wait before whoever prints is slowed down, or, without a coordinator, before the oldest is dropped. */
const QUEUE_BYTES = 4 * 1024 * 1024;

export interface JobLogOptions {
  /** Name of the head's node: the host of what the script prints. */
  host: string;
  /** Sends a batch; resolves when it was taken, rejects when the coordinator cannot be reached. */
  send(records: LogRecord[]): Promise<unknown>;
  /** Milliseconds since 1970. */
  now(): number;
}

export class JobLog {
  readonly #options: JobLogOptions;
  readonly #script = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  #queue: LogRecord[] = [];
  #queuedBytes = 0;
  #droppedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #isAway = false;

  constructor(options: JobLogOptions) {
    this.#options = options;
  }

  /** Takes output. Resolves when more may follow: at once unless too much waits for a coordinator that is there. */
  async add({ seat, host, stream, bytes }: Output): Promise<void> {
    const lines = seat === 0 ? joined(this.#script[stream].push(bytes)) : bytes;
    if (lines.length > 0) this.#enqueue({ timeMs: this.#options.now(), host, seat, stream, bytes: lines });
    while (this.#queuedBytes > QUEUE_BYTES && !this.#isAway) await (this.#sending ?? this.#send());
  }

  /** Sends all that waits, lines without an end too; gives up when the coordinator cannot be reached. */
  async end(): Promise<void> {
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = joined(this.#script[stream].end());
      const { host, now } = this.#options;
      if (rest.length > 0) this.#enqueue({ timeMs: now(), host, seat: 0, stream, bytes: rest });
    }
    await this.#sending; // it may have begun when the coordinator was away: what it says is out of date
    while (this.#queue.length > 0) {
      await this.#send();
      if (this.#isAway) break;
    }
    clearTimeout(this.#timer);
  }

  #enqueue(record: Omit<LogRecord, "bytes"> & { bytes: Uint8Array }): void {
    // Copied: the bytes belong to the message they came in.
    this.#queue.push({ ...record, bytes: new Uint8Array(record.bytes) });
    this.#queuedBytes += record.bytes.length;
    if (this.#isAway) this.#dropOldest();
    if (this.#queuedBytes >= BATCH_BYTES) void (this.#sending ?? this.#send());
    else this.#timer ??= setTimeout(() => void (this.#sending ?? this.#send()), BATCH_MS);
  }

  #dropOldest(): void {
    while (this.#queuedBytes > QUEUE_BYTES) {
      const { bytes } = this.#queue.shift()!;
      this.#queuedBytes -= bytes.length;
      this.#droppedBytes += bytes.length;
    }
  }

  #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending = this.#sendBatch().finally(() => {
      this.#sending = undefined;
      if (this.#queue.length > 0) this.#timer ??= setTimeout(() => void (this.#sending ?? this.#send()), BATCH_MS);
    });
    return this.#sending;
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#takeBatch();
    if (batch.length === 0) return;
    try {
      await this.#options.send(batch);
      this.#isAway = false;
    } catch (error) {
      if (isMeshError(error, "STORAGE")) return; // the coordinator's disk is full: it tells readers what is missing
      this.#isAway = true;
      this.#queue.unshift(...batch);
      for (const { bytes } of batch) this.#queuedBytes += bytes.length;
      this.#dropOldest();
    }
  }

  #takeBatch(): LogRecord[] {
    const batch: LogRecord[] = [];
    if (this.#droppedBytes > 0) batch.push(this.#lossNote());
    for (let bytes = 0; this.#queue.length > 0 && bytes < BATCH_BYTES; ) {
      const record = this.#queue.shift()!;
      bytes += record.bytes.length;
      this.#queuedBytes -= record.bytes.length;
      batch.push(record);
    }
    return batch;
  }

  #lossNote(): LogRecord {
    const text = `mesh: ${this.#droppedBytes} bytes of output were dropped here: the coordinator could not be reached\n`;
    this.#droppedBytes = 0;
    const { host, now } = this.#options;
    return { timeMs: now(), host, seat: 0, stream: "stderr", bytes: Buffer.from(text) };
  }
}

const NEWLINE = new Uint8Array([10]);

function joined(lines: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(lines.flatMap((line) => [line, NEWLINE]));
}
