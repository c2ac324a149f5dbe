// What `mesh exec` prints: the bytes of one host as they are, whole lines of several behind their names, or JSON.
import { LineSplitter } from "../../core/worker/lines.ts";
import { brokenOutput, type Surroundings } from "../surroundings.ts";
import type { OutputStream } from "../terminal.ts";
import type { ExecOutcome } from "./exec-run.ts";

export interface ExecPrinter {
  /** Resolves once it is printed; rejects with OUTPUT when that cannot be. */
  printed(host: string, stream: OutputStream, bytes: Uint8Array): Promise<void>;
  /** What is left of a host's last lines. */
  ended(outcome: ExecOutcome): Promise<void>;
}

const encoder = new TextEncoder();
const newline = encoder.encode("\n");

/** Writes one after the other, so that no line is torn by another. */
class Outlets {
  readonly #around: Surroundings;
  readonly #last: Record<OutputStream, Promise<void>> = { stdout: Promise.resolve(), stderr: Promise.resolve() };

  constructor(around: Surroundings) {
    this.#around = around;
  }

  async write(stream: OutputStream, bytes: Uint8Array): Promise<void> {
    const written = this.#last[stream].then(() => this.#around[stream](bytes));
    this.#last[stream] = written.catch(() => {});
    await written.catch((error: Error) => {
      throw brokenOutput(error);
    });
  }
}

export class RawPrinter implements ExecPrinter {
  readonly #outlets: Outlets;

  constructor(around: Surroundings) {
    this.#outlets = new Outlets(around);
  }

  async printed(_host: string, stream: OutputStream, bytes: Uint8Array): Promise<void> {
    await this.#outlets.write(stream, bytes);
  }

  async ended(): Promise<void> {}
}

/** Lines behind their hosts' names, without them, or as objects. */
export type LineForm = "named" | "bare" | "json";

/** Cuts what hosts print into whole lines, so that those of one are not torn by another's. */
export class LinePrinter implements ExecPrinter {
  readonly #outlets: Outlets;
  readonly #splitters = new Map<string, LineSplitter>();
  readonly #form: LineForm;

  constructor(around: Surroundings, form: LineForm) {
    this.#outlets = new Outlets(around);
    this.#form = form;
  }

  async printed(host: string, stream: OutputStream, bytes: Uint8Array): Promise<void> {
    const key = `${stream} ${host}`;
    const splitter = this.#splitters.get(key) ?? new LineSplitter();
    this.#splitters.set(key, splitter);
    await this.#print(host, stream, splitter.push(bytes));
  }

  async ended(outcome: ExecOutcome): Promise<void> {
    const { host } = outcome;
    for (const stream of ["stdout", "stderr"] as const) {
      await this.#print(host, stream, this.#splitters.get(`${stream} ${host}`)?.end() ?? []);
    }
    if (this.#form === "json")
      await this.#outlets.write("stdout", encoder.encode(`${JSON.stringify(endObject(outcome))}\n`));
  }

  async #print(host: string, stream: OutputStream, lines: readonly Uint8Array[]): Promise<void> {
    if (lines.length === 0) return;
    if (this.#form === "json") {
      const decoder = new TextDecoder();
      const objects = lines.map((line) => JSON.stringify({ host, stream, line: decoder.decode(line) }));
      await this.#outlets.write("stdout", encoder.encode(`${objects.join("\n")}\n`));
    } else {
      const prefix = encoder.encode(this.#form === "named" ? `[${host}] ` : "");
      await this.#outlets.write(stream, Buffer.concat(lines.flatMap((line) => [prefix, line, newline])));
    }
  }
}

function endObject({ host, end, error }: ExecOutcome) {
  if (!end) return { host, end: true, exitCode: null, error: error.message };
  const { exitCode, signal, problem } = end;
  return { host, end: true, exitCode, ...(signal && { signal }), ...(problem !== undefined && { error: problem }) };
}
