// mesh status --watch: the status again every second, on a terminal always in the same place. It outlives the
// coordinator: while that is away it says so, and goes on once it is back.
import type { Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { isMeshError, type MeshErrorCode } from "../../core/errors.ts";
import { EXIT } from "../exit.ts";
import { type ClientOptions, connect, print, type Surroundings, say, statusOfSignal } from "../surroundings.ts";
import { cutTo } from "../table.ts";
import { askStatus } from "./asking.ts";

const EVERY_MS = 1_000;
/** A coordinator that is being restarted answers again after these. */
const PASSING: readonly MeshErrorCode[] = ["LINK_CLOSED", "UNREACHABLE", "TIMEOUT"];

const DEFAULT_ROWS = 24;
const ENTER_SCREEN = "\x1b[?1049h\x1b[?25l";
const LEAVE_SCREEN = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const ERASE_LINE_END = "\x1b[K";
const ERASE_BELOW = "\x1b[J";

/** Shows what `show` makes of the status until a signal comes; returns the exit status. Rejects if the first fails. */
export async function watchStatus(
  around: Surroundings,
  options: ClientOptions,
  show: (status: Status) => string,
  json: boolean,
): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  await using mesh = new Reconnecting(around, options);
  await using display = around.isTty.stdout && !json ? new Screen(around) : new Blocks(around, json);
  while (!signal.aborted) {
    try {
      await display.show(show(await mesh.status(signal)));
    } catch (error) {
      if (signal.aborted) break;
      if (!display.isBegun || !PASSING.some((code) => isMeshError(error, code))) throw error;
      await display.trouble(`no answer: ${(error as Error).message}; asking again`);
    }
    await pause(around, signal);
  }
  return signal.reason === "SIGINT" ? EXIT.ok : statusOfSignal(signal);
}

/** A client that is made anew after it failed. */
class Reconnecting implements AsyncDisposable {
  readonly #around: Surroundings;
  readonly #options: ClientOptions;
  #client: MeshClient | undefined;

  constructor(around: Surroundings, options: ClientOptions) {
    this.#around = around;
    this.#options = options;
  }

  async status(signal: AbortSignal): Promise<Status> {
    try {
      this.#client ??= await unlessAborted(connect(this.#around, this.#options), signal);
      return await askStatus(this.#client, { signal });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.[Symbol.asyncDispose]();
  }
}

/** One place on a terminal, drawn over; what was last there stays when it ends. */
class Screen implements AsyncDisposable {
  readonly #around: Surroundings;
  #last: string | undefined;
  #trouble: string | undefined;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  get isBegun(): boolean {
    return this.#last !== undefined;
  }

  async show(text: string): Promise<void> {
    const before = this.isBegun ? "" : ENTER_SCREEN;
    this.#last = text;
    this.#trouble = undefined;
    await this.#draw(before);
  }

  async trouble(text: string): Promise<void> {
    this.#trouble = text;
    await this.#draw("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A terminal that takes no more is gone, and what went wrong with it is known.
    if (this.isBegun) await print(this.#around, LEAVE_SCREEN + this.#last).catch(() => {});
  }

  async #draw(before: string): Promise<void> {
    const rows = this.#around.rows() || DEFAULT_ROWS;
    const notice = this.#trouble === undefined ? [] : [cutTo(this.#trouble, this.#around.columns() || 80)];
    const lines = [...notice, ...this.#last!.split("\n")];
    const room = rows - 1; // the newline behind the last one
    const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `... ${lines.length - room + 1} more`];
    const text = shown.map((line) => line + ERASE_LINE_END).join("\n");
    await print(this.#around, `${before}${HOME}${text}${ERASE_BELOW}`);
  }
}

/** One below the other. */
class Blocks implements AsyncDisposable {
  readonly #around: Surroundings;
  readonly #isDense: boolean;
  isBegun = false;

  constructor(around: Surroundings, isDense: boolean) {
    this.#around = around;
    this.#isDense = isDense;
  }

  async show(text: string): Promise<void> {
    const gap = this.isBegun && !this.#isDense ? "\n" : "";
    this.isBegun = true;
    await print(this.#around, gap + text);
  }

  trouble(text: string): Promise<void> {
    return say(this.#around, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** What `promise` gives; rejects at once when the signal comes. */
async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function pause({ clock }: Surroundings, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      timer.cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(EVERY_MS, done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
