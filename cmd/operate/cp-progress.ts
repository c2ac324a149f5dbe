// How a copy goes on: one line that is drawn again and again on a terminal, else a line now and then.
import type { Timer } from "../../core/clock.ts";
import { bytesWords, spanWords } from "../amounts.ts";
import { type Surroundings, say } from "../surroundings.ts";
import { count } from "./job-words.ts";

const REDRAW_MS = 200;
const LINE_MS = 10_000;
const DEFAULT_COLUMNS = 80;
const ERASE_LINE = "\r\x1b[2K";

export class CopyProgress implements AsyncDisposable {
  readonly #around: Surroundings;
  readonly #isShown: boolean;
  readonly #start: number;
  #files = 0;
  #foundBytes = 0;
  #doneBytes = 0;
  #timer: Timer | undefined;
  #last: Promise<void> = Promise.resolve();

  /** `isQuiet` counts and shows nothing. */
  constructor(around: Surroundings, isQuiet: boolean) {
    this.#around = around;
    this.#isShown = around.isTty.stderr;
    this.#start = around.clock.now();
    if (!isQuiet) this.#later();
  }

  found(sizeBytes: number): void {
    this.#files++;
    this.#foundBytes += sizeBytes;
  }

  moved(bytes: number): void {
    this.#doneBytes += bytes;
  }

  /** Says something in a line of its own. */
  async say(text: string): Promise<void> {
    this.#erase();
    await this.#last;
    await say(this.#around, text);
  }

  get seconds(): number {
    return (this.#around.clock.now() - this.#start) / 1_000;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#erase();
    await this.#last;
  }

  #later(): void {
    this.#timer = this.#around.clock.after(this.#isShown ? REDRAW_MS : LINE_MS, () => {
      if (this.#isShown) this.#write(`${ERASE_LINE}${Bun.sliceAnsi(this.#words, 0, this.#columns - 1)}`);
      else void say(this.#around, this.#words);
      this.#later();
    });
  }

  #erase(): void {
    if (this.#isShown) this.#write(ERASE_LINE);
  }

  #write(text: string): void {
    this.#last = this.#last.then(() => this.#around.stderr(new TextEncoder().encode(text))).catch(() => {});
  }

  get #columns(): number {
    return this.#around.columns() || DEFAULT_COLUMNS;
  }

  get #words(): string {
    const rate = this.#doneBytes / Math.max(0.001, this.seconds);
    const left = this.#foundBytes - this.#doneBytes;
    const share = Math.floor((100 * this.#doneBytes) / Math.max(1, this.#foundBytes));
    const eta = left > 0 && rate > 0 ? ` ETA ${spanWords(left / rate)}` : "";
    const amounts = `${bytesWords(this.#doneBytes)} of ${bytesWords(this.#foundBytes)} ${share}%`;
    return `${count(this.#files, "file")} ${amounts} ${bytesWords(rate)}/s${eta}`;
  }
}
