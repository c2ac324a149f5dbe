// Finds slots that have nothing to do and answer nothing: they would hold whatever they are given next. A slot that runs an
// item is never judged: user code may hold its loop for as long as it likes.
import type { Clock, Timer } from "../clock.ts";

interface Watched {
  readonly slot: number;
  /** Items it is at. */
  readonly running: readonly unknown[];
}

interface Asked {
  watched: Watched;
  /** Looks since it was asked something and was idle all the time; undefined while nothing is asked. */
  looks: number | undefined;
}

export interface IdleWatchOptions {
  /** An idle slot has so long to answer, in ms. */
  limitMs: number;
  clock: Clock;
  /** Asks a slot to answer; settles when it did, or is gone. */
  ask(slot: number): Promise<unknown>;
  /** An idle slot has not answered. Called once for each. */
  silent(slot: number): void;
}

/** Looks twice within the limit: whoever was stopped itself for a while finds a late timer, and must not judge by that one. */
const LOOKS = 2;

export class IdleWatch {
  readonly #options: IdleWatchOptions;
  readonly #asked = new Map<number, Asked>();
  #timer: Timer | undefined;

  constructor(options: IdleWatchOptions) {
    this.#options = options;
  }

  /** Looks at a slot from now on, until it is forgotten. */
  watch(watched: Watched): void {
    this.#asked.set(watched.slot, { watched, looks: undefined });
    this.#later();
  }

  forget(slot: number): void {
    this.#asked.delete(slot);
    if (this.#asked.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #later(): void {
    this.#timer ??= this.#options.clock.after(this.#options.limitMs / LOOKS, () => {
      this.#timer = undefined;
      for (const asked of [...this.#asked.values()]) this.#look(asked);
      if (this.#asked.size > 0) this.#later();
    });
  }

  #look(asked: Asked): void {
    const { slot, running } = asked.watched;
    if (running.length > 0) asked.looks = asked.looks === undefined ? undefined : 0;
    else if (asked.looks === undefined) this.#ask(asked);
    else if (++asked.looks >= LOOKS) {
      this.#asked.delete(slot);
      this.#options.silent(slot);
    }
  }

  #ask(asked: Asked): void {
    asked.looks = 0;
    const answered = () => {
      asked.looks = undefined;
    };
    this.#options.ask(asked.watched.slot).then(answered, answered);
  }
}
