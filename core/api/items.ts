// Where the items of a call come from: a list, an iterable or an async iterable, read only as fast as they are used.
import { type Numbers, numbersOf } from "./numbers.ts";

/** What pool methods take items from. */
export type Items<T> = Iterable<T> | AsyncIterable<T>;

/** Items that were taken: a list, or numbers as they lie in memory. */
export type ItemList = readonly unknown[] | Numbers;

export interface ItemSource {
  /** Items in all, when that is known. */
  readonly total: number | undefined;
  /** Nothing is left, and nothing more will come. */
  readonly ended: boolean;
  /** It has failed and gave all it had before: the next `take` throws why. */
  readonly failed?: boolean;
  /** Up to `max` items that are there now; an async source asks for more. Throws what the iterable throws. */
  take(max: number): ItemList;
  /** Tells the iterable that no more is wanted. */
  close(): void;
}

/** `arrived` is called when an async source has more, has ended or failed; a failure is thrown by the next `take`. */
export function itemSource(items: Items<unknown>, arrived: () => void): ItemSource {
  // A copy: what its owner changes in the list from now on is not meant.
  if (Array.isArray(items)) return new ListSource((items.length >= WORTH_PACKING && numbersOf(items)) || items.slice());
  if (typeof (items as AsyncIterable<unknown>)[Symbol.asyncIterator] === "function") {
    return new AsyncSource((items as AsyncIterable<unknown>)[Symbol.asyncIterator](), arrived);
  }
  return new SyncSource((items as Iterable<unknown>)[Symbol.iterator]());
}

const WORTH_PACKING = 1_000;

class ListSource implements ItemSource {
  readonly #list: ItemList;
  #at = 0;

  constructor(list: ItemList) {
    this.#list = list;
  }

  get total(): number {
    return this.#list.length;
  }

  get ended(): boolean {
    return this.#at >= this.#list.length;
  }

  take(max: number): ItemList {
    if (max === 1 && this.#at < this.#list.length) return [this.#list[this.#at++]];
    const list = this.#list;
    const end = this.#at + max;
    const taken = Array.isArray(list) ? list.slice(this.#at, end) : (list as Numbers).subarray(this.#at, end);
    this.#at += taken.length;
    return taken;
  }

  close(): void {
    this.#at = this.#list.length;
  }
}

class SyncSource implements ItemSource {
  readonly total = undefined;
  readonly #iterator: Iterator<unknown>;
  ended = false;

  constructor(iterator: Iterator<unknown>) {
    this.#iterator = iterator;
  }

  take(max: number): unknown[] {
    const taken: unknown[] = [];
    while (!this.ended && taken.length < max) {
      const next = this.#next();
      if (next.done) this.ended = true;
      else taken.push(next.value);
    }
    return taken;
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    try {
      this.#iterator.return?.();
    } catch {
      // The run ends for another reason, which is told instead; as in a for loop that is left by a throw.
    }
  }

  #next(): IteratorResult<unknown> {
    try {
      return this.#iterator.next();
    } catch (error) {
      this.ended = true; // what threw is not asked to return as well
      throw error;
    }
  }
}

class AsyncSource implements ItemSource {
  readonly total = undefined;
  readonly #iterator: AsyncIterator<unknown>;
  readonly #arrived: () => void;
  #ready: unknown[] = [];
  #failure: { error: unknown } | undefined;
  #wanted = 0;
  #reading = false;
  #over = false;

  constructor(iterator: AsyncIterator<unknown>, arrived: () => void) {
    this.#iterator = iterator;
    this.#arrived = arrived;
  }

  get ended(): boolean {
    return this.#over && this.#ready.length === 0 && !this.#failure;
  }

  get failed(): boolean {
    return this.#failure !== undefined && this.#ready.length === 0;
  }

  take(max: number): unknown[] {
    const taken = this.#ready.splice(0, max);
    if (taken.length === 0 && this.#failure) {
      const { error } = this.#failure;
      this.#failure = undefined;
      throw error;
    }
    this.#wanted = max;
    if (!this.#reading && !this.#over) void this.#read();
    return taken;
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#ready = [];
    // A source stuck in `next` answers `return` only after that: nobody waits for it, nor for what it throws.
    Promise.try(() => this.#iterator.return?.()).catch(() => {});
  }

  async #read(): Promise<void> {
    this.#reading = true;
    try {
      while (!this.#over && this.#ready.length < this.#wanted) {
        const next = await this.#iterator.next();
        if (this.#over) return;
        if (next.done) this.#over = true;
        else this.#ready.push(next.value);
        this.#arrived();
      }
    } catch (error) {
      this.#over = true;
      this.#failure = { error };
      this.#arrived();
    } finally {
      this.#reading = false;
    }
  }
}
