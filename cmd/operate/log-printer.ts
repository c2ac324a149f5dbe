// Prints the records of a job's log: as the job's own terminal would have shown them, or as JSON.
import type { LogLines } from "../../core/coordinator/answers.ts";
import type { LogRecord } from "../../core/coordinator/bodies.ts";
import { bytesWords } from "../amounts.ts";
import { brokenOutput, print, type Surroundings } from "../surroundings.ts";
import { type OutputStream, Terminal } from "../terminal.ts";
import type { LogEnd } from "./log-reader.ts";

export interface LogPrinter {
  /** Resolves once it is printed; rejects with OUTPUT when that cannot be. */
  print(lines: LogLines): Promise<void>;
  notice(text: string): Promise<void>;
  end(end: LogEnd | undefined): Promise<void>;
}

/** stdout to stdout, stderr to stderr; lines of slots behind `[host/slot]` on a terminal. */
export class TerminalLogPrinter implements LogPrinter {
  readonly #terminal: Terminal;
  #broken: Error | undefined;

  constructor(around: Surroundings) {
    const watched = (stream: OutputStream) => (bytes: Uint8Array) =>
      around[stream](bytes).catch((error: Error) => {
        this.#broken ??= brokenOutput(error);
        throw error;
      });
    this.#terminal = new Terminal({ ...around, stdout: watched("stdout"), stderr: watched("stderr") });
  }

  async print({ droppedBytes = 0, records }: LogLines): Promise<void> {
    const first = droppedBytes > 0 ? [this.notice(droppedWords(droppedBytes))] : [];
    await Promise.all([...first, ...records.map((record) => this.#print(record))]);
    if (this.#broken) throw this.#broken;
  }

  notice(text: string): Promise<void> {
    return this.#terminal.notice(text);
  }

  async end(): Promise<void> {
    await this.#terminal.end();
  }

  #print({ host, seat, stream, bytes }: LogRecord): Promise<void> {
    return seat === 0 ? this.#terminal.driver(stream, bytes) : this.#terminal.slot(stream, `${host}/${seat}`, bytes);
  }
}

/** One object for each line of output, in the order in which they came, all on stdout. */
export class JsonLogPrinter implements LogPrinter {
  readonly #around: Surroundings;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  async print({ droppedBytes = 0, records }: LogLines): Promise<void> {
    const dropped = droppedBytes > 0 ? [{ droppedBytes }] : [];
    await this.#write([...dropped, ...records.flatMap(objectsOf)]);
  }

  async notice(): Promise<void> {}

  async end(end: LogEnd | undefined): Promise<void> {
    if (end) await this.#write([{ end: true, ...end }]);
  }

  async #write(objects: object[]): Promise<void> {
    if (objects.length > 0) await print(this.#around, objects.map((object) => JSON.stringify(object)).join("\n"));
  }
}

function objectsOf({ timeMs, host, seat, stream, bytes }: LogRecord) {
  const text = new TextDecoder().decode(bytes).replace(/\n$/, "");
  return text.split("\n").map((line) => ({ timeMs, host, slot: seat, stream, line }));
}

function droppedWords(bytes: number): string {
  return `${bytesWords(bytes)} of output are missing here: the log was full or could not be written`;
}
