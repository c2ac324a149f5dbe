// How long the way to a host and back takes, learned from results. Pure.

/** Work that is sent ahead of a slot's results at least, so that it never waits for the way there and back (some 0.1 ms). */
export const LEAST_AHEAD_MS = 4;
/** The most a way is believed to take: beyond, a machine was busy and not far. */
const WAY_LIMIT_MS = 1_000;
/** How much of a longer way is believed at once; a shorter one is, as nothing makes a way seem shorter than it is. */
const RISE = 0.3;

export class Way {
  /** Milliseconds there and back; 0 before anything is known. */
  wayMs = 0;
  /** Milliseconds of work to have under way to a slot: twice the way, as what is measured may be a little short. */
  aheadMs = LEAST_AHEAD_MS;
  #isKnown = false;

  /**
   * Learns from a chunk that was `awayMs` away and took `workMs`, with `beforeMs` of other work of its slot done in that time. That
   * work may have been done while the chunk was on its way, so what is left is at most the way, and all of it when
   * nothing was before it.
   */
  learn(awayMs: number, workMs: number, beforeMs: number): void {
    const seenMs = Math.min(WAY_LIMIT_MS, Math.max(0, awayMs - workMs - beforeMs));
    if (this.#isKnown && seenMs > this.wayMs) this.#set(this.wayMs + RISE * (seenMs - this.wayMs));
    else if (beforeMs === 0) this.#set(seenMs);
  }

  #set(wayMs: number): void {
    this.#isKnown = true;
    this.wayMs = wayMs;
    this.aheadMs = Math.max(LEAST_AHEAD_MS, 2 * wayMs);
  }
}
