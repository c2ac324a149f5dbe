// What `mesh up` and `mesh down` show while they work: on a terminal a row for each host that changes in its place,
// elsewhere a line "[host] text" for each step. All of it on stderr; the answer itself is for stdout.
import { styleText } from "node:util";
import type { Timer } from "../../core/clock.ts";
import type { Surroundings } from "../surroundings.ts";
import { cutTo, printable } from "../table.ts";

const REDRAW_MS = 100;
const DEFAULT_ROWS = 24;
const encoder = new TextEncoder();

export class HostRows implements AsyncDisposable {
  readonly #around: Surroundings;
  readonly #width: number;
  readonly #isLive: boolean;
  /** What each host is at, in the order they were named. */
  readonly #texts: Map<string, string>;
  readonly #isQuiet: boolean;
  #isAside = false;
  #drawn = 0;
  #timer: Timer | undefined;
  #written: Promise<void> = Promise.resolve();

  constructor(around: Surroundings, hosts: readonly string[], isQuiet = false) {
    this.#around = around;
    this.#width = Math.max(0, ...hosts.map((host) => host.length));
    this.#isLive = around.isTty.stderr && !isQuiet;
    this.#texts = new Map(this.#isLive ? hosts.map((host) => [host, "waiting"]) : []);
    this.#isQuiet = isQuiet;
  }

  /** Resolves when all that was told so far has been written. */
  get settled(): Promise<void> {
    return this.#written;
  }

  /** A host is at something else now. */
  tell(host: string, text: string): void {
    if (this.#isQuiet) return;
    if (!this.#isLive) {
      const before = this.#texts.get(host) ?? "";
      // Lines stay: those that only count on are left out.
      if (stepOf(before) !== stepOf(text)) this.#write(`[${host}] ${printable(text)}\n`);
      this.#texts.set(host, text);
      return;
    }
    this.#texts.set(host, printable(text));
    this.#timer ??= this.#around.clock.after(REDRAW_MS, () => this.#redraw());
  }

  /** A line above the rows, for good. */
  say(text: string): void {
    this.#write(`${this.#erase()}mesh: ${text}\n`);
    this.#redraw();
  }

  /** Takes the rows away while something else uses the terminal. */
  async aside<Value>(use: () => Promise<Value>): Promise<Value> {
    this.#timer?.cancel();
    this.#write(this.#erase());
    await this.#written;
    this.#isAside = true;
    try {
      return await use();
    } finally {
      this.#isAside = false;
      this.#redraw();
    }
  }
  /** Takes the rows away for good. Safe to call again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel();
    this.#isAside = true;
    this.#write(this.#erase());
    await this.#written;
  }

  #redraw(): void {
    this.#timer = undefined;
    if (!this.#isLive || this.#isAside) return;
    const lines = [...this.#texts].map(([host, text]) => this.#line(host, text));
    const room = (this.#around.rows() || DEFAULT_ROWS) - 2;
    const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `... ${lines.length - room + 1} more`];
    const before = this.#erase();
    this.#drawn = shown.length;
    this.#write(`${before}${shown.map((line) => `${line}\n`).join("")}`);
  }

  #line(host: string, text: string): string {
    const width = (this.#around.columns() || 80) - this.#width - 3;
    const name = host.padEnd(this.#width);
    return `${this.#around.colour ? styleText("cyan", name) : name}  ${cutTo(text, Math.max(10, width))}`;
  }

  #erase(): string {
    const lines = this.#drawn;
    this.#drawn = 0;
    return lines === 0 ? "" : `\x1b[${lines}A\x1b[J`;
  }

  #write(text: string): void {
    if (text === "") return;
    const write = () => this.#around.stderr(encoder.encode(text)).catch(() => {}); // nobody is left to tell
    this.#written = this.#written.then(write);
  }
}

/** The same for all texts of one step: "sending # of # MB". */
function stepOf(text: string): string {
  return text.replace(/[\d.,]+/g, "#");
}
