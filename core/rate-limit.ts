// How often something may be done for strangers: for each of them, and for all together. Pure: the time is handed in.

const WINDOW_MS = 1_000;

export interface RateLimits {
  /** For each key, in a second. */
  each: number;
  /** For all keys, in a second; also how many keys are remembered at most. */
  all: number;
}

export class RateLimit {
  readonly #limits: RateLimits;
  readonly #taken = new Map<string, number>();
  #total = 0;
  #start = Number.NEGATIVE_INFINITY;

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Keys that are remembered; never more than `all`. */
  get size(): number {
    return this.#taken.size;
  }

  /** Tells whether it may be done once more for `key`, and counts that. `now`: milliseconds of a monotonic clock. */
  take(key: string, now: number): boolean {
    if (now - this.#start >= WINDOW_MS) this.#restart(now);
    const taken = this.#taken.get(key) ?? 0;
    if (taken >= this.#limits.each || this.#total >= this.#limits.all) return false;
    this.#taken.set(key, taken + 1);
    this.#total++;
    return true;
  }

  #restart(now: number): void {
    this.#start = now;
    this.#taken.clear();
    this.#total = 0;
  }
}
