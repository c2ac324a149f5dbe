// Ends slots whose item takes longer than its limit. The slot's own clock cannot: user code may hold its loop.
import type { RunningItem } from "./status-page.ts";

/** How often pages are looked at; a limit is kept to within this. */
const LOOK_MS = 20;

interface Watched {
  readonly slot: number;
  readonly running: RunningItem[];
}

interface Seen {
  watched: Watched;
  /** By depth: which item, and since when. */
  items: Map<number, { sequence: number; since: number }>;
}

export class TimeLimits {
  readonly #exceeded: (slot: number, limitMs: number) => void;
  readonly #seen = new Map<number, Seen>();
  #timer: NodeJS.Timeout | undefined;

  constructor(exceeded: (slot: number, limitMs: number) => void) {
    this.#exceeded = exceeded;
  }

  /** Looks at a slot from now on, until it is forgotten. */
  watch(watched: Watched): void {
    if (!this.#seen.has(watched.slot)) this.#seen.set(watched.slot, { watched, items: new Map() });
    this.#timer ??= setInterval(() => this.look(performance.now()), LOOK_MS);
  }

  forget(slot: number): void {
    this.#seen.delete(slot);
    if (this.#seen.size === 0) this.stop();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Compares what runs at `now` (ms) with what ran before. */
  look(now: number): void {
    for (const { watched, items } of this.#seen.values()) {
      for (const { depth, sequence, timeoutMs } of watched.running) {
        const before = items.get(depth);
        if (before?.sequence !== sequence) items.set(depth, { sequence, since: now });
        else if (timeoutMs > 0 && now - before.since >= timeoutMs) this.#exceeded(watched.slot, timeoutMs);
      }
    }
  }
}
