// The only printer of `mesh run`: the script's own output byte by byte, the slots' output line by line, mesh's own notices,
// and a progress bar that never mixes with any of them. Knows nothing of jobs; gets bytes, labels and counts.

import { fstatSync, write } from "node:fs";
import { isatty } from "node:tty";
import type { Clock, Timer } from "../core/clock.ts";
import type { Progress } from "../core/worker/control.ts";
import { spanWords } from "./amounts.ts";

export type OutputStream = "stdout" | "stderr";

/** Writes all of `bytes` and resolves once they are taken; rejects when they never will be (EPIPE, ENOSPC). */
export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

export interface TerminalOptions {
  stdout: WriteBytes;
  stderr: WriteBytes;
  /** Which of the two is shown to a person: gets labels, colours, and on stderr the bar. */
  isTty: Record<OutputStream, boolean>;
  /** Both lead to the same place, so that a line one of them left open is open for the other. Default: both are terminals. */
  isOneTarget?: boolean;
  /** The terminal's width, asked before each redraw. 0 and undefined count as 80. */
  columns: () => number | undefined;
  /** Colours labels on terminals. */
  colour: boolean;
  clock: Clock;
  /** Called once, when stdout takes no more (its reader is gone, its disk is full). What follows on stdout is dropped. */
  onBroken?: (error: Error) => void;
}

// Slot output waits this long for the script to finish a line it has begun; a prompt that waits for a person must not hold
// back others for good: their backpressure would stop the very tasks the script waits for.
const OPEN_LINE_WAIT_MS = 250;
const REDRAW_MS = 100;
const DEFAULT_COLUMNS = 80;

const LF = 10;
const ESC = 27;
const ERASE_LINE = "\r\x1b[2K";
const SHOW_CURSOR = "\x1b[?25h";
const RESET = "\x1b[0m";
const LABEL_COLOURS = [36, 33, 35, 32, 34, 96, 93, 95];

const encoder = new TextEncoder();
const newline = Uint8Array.of(LF);
const reset = encoder.encode(RESET);

/**
 * Prints for one run. Every method that writes resolves once its bytes are taken, so that whoever waits for it is slowed
 * down to the pace of the reader; none rejects. Bytes handed over must stay as they are until then.
 */
export class Terminal {
  readonly #options: TerminalOptions;
  readonly #outlets: Record<OutputStream, Outlet>;
  #isEnded = false;
  #touched = new Set<OutputStream>();

  constructor(options: TerminalOptions) {
    this.#options = options;
    const isOne = options.isOneTarget ?? (options.isTty.stdout && options.isTty.stderr);
    const stderr = new Outlet(options, options.isTty.stderr);
    this.#outlets = { stderr, stdout: isOne ? stderr : new Outlet(options, false) };
  }

  /** Passes the script's own output on as it is: in order, unchanged, a line without an end at once. */
  driver(stream: OutputStream, bytes: Uint8Array): Promise<void> {
    if (this.#options.isTty[stream] && bytes.includes(ESC)) this.#touched.add(stream);
    return this.#outlets[stream].put({ kind: "driver", stream, parts: [bytes] });
  }

  /**
   * Prints whole lines of a slot, on a terminal each behind `[label] `. `lines` is one line or several; a newline at the
   * end is added where missing. They wait up to 250 ms for the script to finish a line it has begun, then break it.
   */
  slot(stream: OutputStream, label: string, lines: string | Uint8Array): Promise<void> {
    const bytes = typeof lines === "string" ? encoder.encode(lines) : lines;
    const parts = this.#options.isTty[stream] ? prefixed(bytes, this.#prefix(label)) : whole(bytes);
    return this.#outlets[stream].put({ kind: "lines", stream, parts });
  }

  /** Prints a message of mesh itself on stderr, as "mesh: text". Starts a line of its own at once. */
  notice(text: string): Promise<void> {
    const parts = [encoder.encode(`mesh: ${text.replace(/\n$/, "")}\n`)];
    return this.#outlets.stderr.put({ kind: "notice", stream: "stderr", parts });
  }

  /** Shows `state` in the bar, or takes the bar away. Does nothing where stderr is no terminal, and after `end`. */
  progress(state: Progress | undefined): void {
    if (this.#isEnded || !this.#options.isTty.stderr) return;
    if (state) this.#touched.add("stderr");
    this.#outlets.stderr.progress(state);
  }

  /** Takes the bar away, writes what was held back, and shows the cursor in case the script hid it. */
  async end(): Promise<void> {
    this.progress(undefined);
    this.#isEnded = true;
    const outlets = new Set(Object.values(this.#outlets));
    await Promise.all(Array.from(outlets, (outlet) => outlet.flush()));
    const parts = [encoder.encode(SHOW_CURSOR)];
    const stream = this.#touched.has("stderr") ? "stderr" : "stdout";
    if (this.#touched.size > 0) await this.#outlets[stream].put({ kind: "control", stream, parts });
    this.#touched.clear();
  }

  #prefix(label: string): Uint8Array {
    const text = `[${printable(label)}]`;
    if (!this.#options.colour) return encoder.encode(`${text} `);
    const sum = Array.from(label).reduce((hash, char) => (hash * 31 + char.codePointAt(0)!) % 65_521, 7);
    return encoder.encode(`\x1b[${LABEL_COLOURS[sum % LABEL_COLOURS.length]}m${text}${RESET} `);
  }
}

interface Item {
  kind: "driver" | "lines" | "notice" | "control";
  stream: OutputStream;
  parts: Uint8Array[];
}

interface Queued extends Item {
  taken: () => void;
}

/**
 * One place where output goes: one queue, one line that may be open, at most one bar. What comes while a write is under
 * way goes out with the next one.
 */
class Outlet {
  readonly #options: TerminalOptions;
  readonly #bar: Bar | undefined;
  readonly #broken = new Set<OutputStream>();
  #waiting: Queued[] = [];
  /** Lines of slots that came while the script's line was open. */
  #held: Queued[] = [];
  #holdTimer: Timer | undefined;
  #mustBreak = false;
  /** The last line: ended; begun by the script; or begun by it and then ended by us, so that others could print. */
  #line: "closed" | "open" | "broken" = "closed";
  #running: Promise<void> | undefined;

  constructor(options: TerminalOptions, hasBar: boolean) {
    this.#options = options;
    this.#bar = hasBar ? new Bar(options, () => this.#start()) : undefined;
  }

  put(item: Item): Promise<void> {
    return new Promise((taken) => {
      this.#waiting.push({ ...item, taken });
      this.#start();
    });
  }

  progress(state: Progress | undefined): void {
    if (!this.#bar) return;
    this.#bar.state = state;
    this.#start();
  }

  /** Resolves when nothing is queued, held or being written. */
  async flush(): Promise<void> {
    this.#mustBreak = true;
    this.#start();
    while (this.#running !== undefined) await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await undefined; // so that all calls of one turn go out together, and #running is set before it is cleared
    for (;;) {
      const batch = this.#nextBatch();
      if (!batch) break;
      for (const { stream, parts } of batch.segments) await this.#write(stream, parts);
      for (const item of batch.items) item.taken();
    }
    this.#running = undefined;
  }

  /** What to write next: all that waits, else what the bar wants; undefined when there is nothing. */
  #nextBatch(): Batch | undefined {
    const batch = new Batch();
    const items = this.#waiting;
    this.#waiting = [];
    for (const item of items) this.#compose(item, batch);
    if (this.#mustBreak) this.#breakLine(batch);
    const first = batch.segments[0];
    if (first && this.#bar?.forget()) first.parts.unshift(encoder.encode(ERASE_LINE));
    if (batch.items.length > 0) return batch;
    const redraw = this.#bar?.redraw(this.#line === "closed");
    if (redraw === undefined) return undefined;
    batch.add("stderr", [encoder.encode(redraw)]);
    return batch;
  }

  #compose(item: Queued, batch: Batch): void {
    if (item.kind === "driver") {
      this.#composeDriver(item, batch);
    } else if (item.kind === "lines" && this.#line === "open") {
      this.#hold(item);
    } else {
      if (item.kind === "notice") this.#breakLine(batch, item.stream);
      batch.addItem(item);
    }
  }

  /** Held lines go out behind the last newline in what the script writes, before what it begins after that. */
  #composeDriver(item: Queued, batch: Batch): void {
    const bytes = item.parts[0]!;
    const begun = bytes.lastIndexOf(LF) + 1;
    if (begun > 0) {
      batch.add(item.stream, [bytes.subarray(0, begun)]);
      this.#line = "closed";
      this.#release(batch);
    }
    if (begun < bytes.length) {
      batch.add(item.stream, [bytes.subarray(begun)]);
      this.#line = "open";
    }
    batch.items.push(item);
  }

  #hold(item: Queued): void {
    this.#held.push(item);
    this.#holdTimer ??= this.#options.clock.after(OPEN_LINE_WAIT_MS, () => {
      this.#mustBreak = true;
      this.#start();
    });
  }

  /** Ends the script's open line with a newline of ours where something else has to follow. */
  #breakLine(batch: Batch, stream = this.#held[0]?.stream): void {
    this.#mustBreak = false;
    if (this.#line === "open" && stream) {
      batch.add(stream, [newline]);
      this.#line = "broken";
    }
    this.#release(batch);
  }

  #release(batch: Batch): void {
    this.#holdTimer?.cancel();
    this.#holdTimer = undefined;
    for (const item of this.#held.splice(0)) batch.addItem(item);
  }

  async #write(stream: OutputStream, parts: Uint8Array[]): Promise<void> {
    if (this.#broken.has(stream)) return;
    try {
      await this.#options[stream](parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    } catch (error) {
      this.#broken.add(stream);
      if (stream === "stdout") this.#options.onBroken?.(error as Error);
    }
  }
}

/** What one round writes, in order, and whom to tell when it is taken. */
class Batch {
  readonly segments: { stream: OutputStream; parts: Uint8Array[] }[] = [];
  readonly items: Queued[] = [];

  add(stream: OutputStream, parts: readonly Uint8Array[]): void {
    const last = this.segments.at(-1);
    if (last?.stream === stream) last.parts.push(...parts);
    else this.segments.push({ stream, parts: [...parts] });
  }

  addItem(item: Queued): void {
    this.add(item.stream, item.parts);
    this.items.push(item);
  }
}

/** What the bar shows now, and whether it is time to show something else. */
class Bar {
  state: Progress | undefined;
  readonly #options: TerminalOptions;
  readonly #wake: () => void;
  #shown = "";
  #drawnAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(options: TerminalOptions, wake: () => void) {
    this.#options = options;
    this.#wake = wake;
  }

  /** Tells whether the bar stands on the terminal, from where it is being erased. */
  forget(): boolean {
    const wasShown = this.#shown !== "";
    this.#shown = "";
    return wasShown;
  }

  /** The bytes that bring the terminal up to date; undefined when it is, or when it is too early for another redraw. */
  redraw(mayShow: boolean): string | undefined {
    if (!this.state || !mayShow) {
      this.#timer?.cancel();
      this.#timer = undefined;
      return this.forget() ? ERASE_LINE : undefined;
    }
    const text = progressLine(this.state, this.#options.columns() || DEFAULT_COLUMNS);
    if (text === this.#shown) return undefined;
    const now = this.#options.clock.now();
    const early = this.#drawnAt + REDRAW_MS - now;
    if (early > 0) {
      this.#wait(early);
      return undefined;
    }
    this.#drawnAt = now;
    this.#shown = text;
    return ERASE_LINE + text;
  }

  #wait(delayMs: number): void {
    this.#timer ??= this.#options.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#wake();
    });
  }
}

/** The lines of `bytes`, each behind `prefix`; colours that a line leaves on end with it. */
function prefixed(bytes: Uint8Array, prefix: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const end = bytes.at(-1) === LF ? bytes.length - 1 : bytes.length;
  for (let from = 0; from <= end; ) {
    const found = bytes.indexOf(LF, from);
    const to = found < 0 ? end : found;
    const line = bytes.subarray(from, to);
    parts.push(prefix, line);
    if (line.includes(ESC)) parts.push(reset);
    parts.push(newline);
    from = to + 1;
  }
  return parts;
}

function whole(bytes: Uint8Array): Uint8Array[] {
  return bytes.at(-1) === LF ? [bytes] : [bytes, newline];
}

interface Fact {
  text: string;
  /** What goes last when there is no room: 0. */
  rank: number;
}

const MAX_BAR_COLUMNS = 30;
const MIN_BAR_COLUMNS = 8;

/** The bar's text for a terminal of `columns`: always narrower than that, dropping the least important first. */
export function progressLine(state: Progress, columns: number): string {
  const room = Math.max(0, columns - 1); // the last column stays free: some terminals wrap as soon as it is filled
  const facts = factsOf(state);
  while (facts.length > 1 && widthOf(facts) > room) {
    const least = Math.max(...facts.map((fact) => fact.rank));
    facts.splice(
      facts.findIndex((fact) => fact.rank === least),
      1,
    );
  }
  const barColumns = Math.min(MAX_BAR_COLUMNS, room - widthOf(facts) - 1);
  const texts = facts.map((fact) => fact.text);
  if (state.total !== undefined && barColumns >= MIN_BAR_COLUMNS) {
    const at = facts.findIndex((fact) => fact.rank === 0);
    texts.splice(at, 0, gauge(state.done / Math.max(1, state.total), barColumns));
  }
  return Bun.sliceAnsi(texts.join(" "), 0, room);
}

function widthOf(facts: readonly Fact[]): number {
  return Bun.stringWidth(facts.map((fact) => fact.text).join(" "));
}

function factsOf(state: Progress): Fact[] {
  const { label, done, total, running, failed = 0, ratePerS } = state;
  const facts: Fact[] = [{ text: printable(label), rank: 3 }];
  if (total === undefined) facts.push({ text: `${done} done`, rank: 0 });
  else {
    facts.push({ text: `${done}/${total}`, rank: 0 });
    facts.push({ text: `${Math.floor(100 * shareOf(done / Math.max(1, total)))}%`, rank: 2 });
  }
  if (ratePerS > 0) {
    facts.push({ text: `${ratePerS < 10 ? ratePerS.toFixed(1) : Math.round(ratePerS)}/s`, rank: 5 });
    if (total !== undefined && total > done) {
      facts.push({ text: `ETA ${spanWords((total - done) / ratePerS)}`, rank: 4 });
    }
  }
  facts.push({ text: `${running} running`, rank: 6 });
  if (failed > 0) facts.push({ text: `${failed} failed`, rank: 1 });
  return facts;
}

function shareOf(share: number): number {
  return Math.min(1, Math.max(0, share));
}

/** ASCII: its width is the same in every terminal and every encoding. */
function gauge(share: number, columns: number): string {
  const inside = columns - 2;
  const full = Math.floor(inside * shareOf(share));
  return `[${"#".repeat(full)}${"-".repeat(inside - full)}]`;
}

/** Without what would move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

/**
 * Writes whole buffers to a file descriptor. Not by Bun.write: on a `Bun.stdout` that is a regular file an empty buffer
 * empties the file, and 300 KB after `>> log` leave as many zeros in front (Bun 1.4.5). Not by process.stdout: that loses
 * bytes at exit.
 */
export function fdWriter(fd: number): WriteBytes {
  return (bytes) =>
    new Promise((resolve, reject) => {
      const next = (from: number): void => {
        write(fd, bytes, from, bytes.length - from, null, (error, written) => {
          if (!error && from + written >= bytes.length) resolve();
          else if (!error) next(from + written);
          // Whoever shares the pipe or terminal may have set it to non-blocking.
          else if (error.code === "EAGAIN") setTimeout(next, 2, from);
          else reject(error);
        });
      };
      next(0);
    });
}

/** The terminal of this process. */
export function terminalOfProcess(options: Pick<TerminalOptions, "clock" | "onBroken">): Terminal {
  return new Terminal({ ...outputsOfProcess(), ...options, columns: () => process.stderr.columns });
}

/** Where this process prints, and how. TERM=dumb counts as no terminal; NO_COLOR is heeded. */
export function outputsOfProcess() {
  const isTty = (fd: number) => process.env.TERM !== "dumb" && isatty(fd);
  return {
    stdout: fdWriter(1),
    stderr: fdWriter(2),
    isTty: { stdout: isTty(1), stderr: isTty(2) },
    isOneTarget: (isatty(1) && isatty(2)) || isSameFile(1, 2),
    colour: !process.env.NO_COLOR,
  };
}

function isSameFile(a: number, b: number): boolean {
  try {
    const [one, other] = [fstatSync(a), fstatSync(b)];
    return one.dev === other.dev && one.ino === other.ino;
  } catch {
    return false; // one of them is closed
  }
}
