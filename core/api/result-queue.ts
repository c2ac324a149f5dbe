// Results on their way from the slots that make them to the loop that reads them.
import type { Sink } from "./run.ts";

/** Holds results until they are read, in the order of the items if `ordered`; says how many more may be begun. */
export class ResultQueue implements Sink {
  /** How many results may wait or be under way. */
  ahead: () => number = () => 1;
  readonly #ordered: boolean;
  #ready: unknown[] = [];
  #early = new Map<number, unknown>();
  #nextIndex = 0;
  #begun = 0;
  #consumed = 0;
  #end: { error?: unknown; failed: boolean } | undefined;
  #wake: (() => void) | undefined;

  constructor(ordered: boolean) {
    this.#ordered = ordered;
  }

  values(first: number, values: ArrayLike<unknown>): void {
    for (let i = 0; i < values.length; i++) this.#add(first + i, values[i]);
    if (this.#ready.length > 0) this.#wake?.();
  }

  #add(index: number, value: unknown): void {
    if (!this.#ordered) this.#ready.push(value);
    else {
      this.#early.set(index, value);
      while (this.#early.has(this.#nextIndex)) {
        this.#ready.push(this.#early.get(this.#nextIndex));
        this.#early.delete(this.#nextIndex++);
      }
    }
  }

  failure(): boolean {
    return false;
  }

  finished(...error: [unknown?]): void {
    this.#end = { error: error[0], failed: error.length > 0 };
    this.#wake?.();
  }

  room(): number {
    return this.ahead() - (this.#begun - this.#consumed);
  }

  began(count: number): void {
    this.#begun += count;
  }

  taken(): void {
    this.#consumed++;
  }

  /** Enough was read that more should be begun. */
  get isThirsty(): boolean {
    return this.room() * 2 >= this.ahead();
  }

  /** The results that are there, or undefined at the end. Throws what ended the run. */
  async next(): Promise<unknown[] | undefined> {
    while (this.#ready.length === 0) {
      if (this.#end?.failed) throw this.#end.error;
      if (this.#end) return undefined;
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
      this.#wake = undefined;
    }
    return this.#ready.splice(0);
  }
}
