// The round trip to a peer, measured on heartbeats: each brings the sender's time and echoes the last one heard.

/** Times on the wire are microseconds in 32 bits: they wrap after 71 minutes, and only differences count. */
const WRAP = 0x1_0000_0000;
/** An echo of a heartbeat this old says nothing about the path. */
const OLDEST_US = 60_000_000;
/** Weight of a new sample, as in RFC 6298. */
const WEIGHT = 1 / 8;

export function microsOf(ms: number): number {
  return Math.floor(ms * 1_000) % WRAP;
}

export class RoundTrip {
  /** Smoothed; undefined before the first echo. */
  ms: number | undefined;
  #heardStamp = 0;
  #heardAt: number | undefined;

  /** A heartbeat came at `now` that was sent at the peer's time `stamp`. */
  heard(stamp: number, now: number): void {
    this.#heardStamp = stamp;
    this.#heardAt = now;
  }

  /** What to echo in a heartbeat sent at `now`; undefined when none was heard on this link. */
  echo(now: number): { stamp: number; heldUs: number } | undefined {
    if (this.#heardAt === undefined) return undefined;
    const heldUs = Math.min(OLDEST_US, Math.max(0, Math.round((now - this.#heardAt) * 1_000)));
    return { stamp: this.#heardStamp, heldUs };
  }

  /** The peer echoed, at `now`, what was sent at the own time `stamp` and held by it for `heldUs`. */
  measure(stamp: number, heldUs: number, now: number): void {
    const us = ((microsOf(now) - stamp + WRAP) % WRAP) - heldUs;
    if (us < 0 || us > OLDEST_US) return;
    const sample = us / 1_000;
    this.ms = this.ms === undefined ? sample : this.ms + (sample - this.ms) * WEIGHT;
  }

  /** Another link: another path. */
  reset(): void {
    this.ms = undefined;
    this.#heardAt = undefined;
  }
}
