// How many bytes may pass: what passes in BURST_MS at once, and from then on so many in a second. Pure: the time is handed in.

/** What came in bursts goes out in bursts; a whole second's worth at once would keep the line from all others for so long. */
const BURST_MS = 100;
/** So much may always pass at once: a handshake, or the first packets of a session. */
const BURST_BYTES = 32 * 1024;

export class ByteRate {
  readonly #bytesPerMs: number;
  readonly #burst: number;
  /** What may pass now; below zero: what has passed too early. */
  #left: number;
  #at = Number.NEGATIVE_INFINITY;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burst = Math.max(this.#bytesPerMs * BURST_MS, BURST_BYTES);
    this.#left = this.#burst;
  }

  /** Tells whether so many may pass at `now`, milliseconds of a monotonic clock, and counts them if so. */
  take(bytes: number, now: number): boolean {
    this.#refill(now);
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  /** Counts bytes that are to pass; the milliseconds to wait until they may. */
  spend(bytes: number, now: number): number {
    this.#refill(now);
    this.#left -= bytes;
    return Math.max(0, -this.#left / this.#bytesPerMs);
  }

  #refill(now: number): void {
    const gained = (now - this.#at) * this.#bytesPerMs;
    this.#left = Math.min(this.#burst, this.#left + gained);
    this.#at = now;
  }
}
