// Keeps a node's certificate fresh while the node runs.
import type { Clock, Timer } from "../clock.ts";
import { issuedAt, type Validity } from "./validity.ts";

const SECOND_MS = 1000;
const FIRST_RETRY_MS = 5 * SECOND_MS;
const LONGEST_RETRY_MS = 15 * 60 * SECOND_MS;

// A timer waits for 2^31 ms at most, and stands still while the machine sleeps: the time of day is looked at every hour.
const LONGEST_WAIT_MS = 60 * 60 * SECOND_MS;

/**
 * When to renew: at two thirds of the certificate's life from its issue on, give or take a twentieth, so that nodes that
 * joined together do not come together. Milliseconds since 1970; `random` is from 0 up to 1.
 */
export function renewAt(notBefore: number, notAfter: number, random: number): number {
  const issued = issuedAt(notBefore);
  return Math.round(issued + (notAfter - issued) * (2 / 3 + (random - 0.5) / 10));
}

export interface RenewalOptions {
  clock: Clock;
  /** The time of day, milliseconds since 1970. */
  wallClock(): number;
  /** From 0 up to 1. */
  random(): number;
  /** The certificate in use. */
  validity: Validity;
  /** Gets a certificate and takes it into use. May fail: it is asked again. */
  renew(): Promise<Validity>;
  /** Told of each failure, and when the next try will be. */
  failed?(error: unknown, retryInMs: number): void;
}

/** Runs from its making until it is disposed of. */
export class Renewal implements Disposable {
  readonly #options: RenewalOptions;
  #due: number;
  #failures = 0;
  #timer: Timer | undefined;
  #isRenewing = false;
  /** A wish for a newer certificate than the one that is being fetched. */
  #hurriedTo: number | undefined;
  #isOver = false;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#due = renewAt(options.validity.notBefore, options.validity.notAfter, options.random());
    this.#wait();
  }

  /** When it will ask next; milliseconds since 1970. */
  get due(): number {
    return this.#due;
  }

  /** Renews sooner: at a random time within `withinMs`. For when the mesh changed its CA. */
  hurry(withinMs: number): void {
    const at = this.#options.wallClock() + this.#options.random() * withinMs;
    if (this.#isRenewing) this.#hurriedTo = at;
    else if (at < this.#due) this.#waitUntil(at);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }

  #waitUntil(due: number): void {
    this.#due = due;
    this.#wait();
  }

  #wait(): void {
    this.#timer?.cancel();
    if (this.#isOver) return;
    const { clock, wallClock } = this.#options;
    const delay = Math.min(Math.max(0, this.#due - wallClock()), LONGEST_WAIT_MS);
    this.#timer = clock.after(delay, () => {
      if (wallClock() < this.#due) this.#wait();
      else void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const { wallClock, random, renew, failed } = this.#options;
    this.#isRenewing = true;
    let next: number;
    try {
      const { notBefore, notAfter } = await renew();
      this.#failures = 0;
      // Never at once again, whatever the answer says.
      next = Math.max(renewAt(notBefore, notAfter, random()), wallClock() + FIRST_RETRY_MS);
    } catch (error) {
      const retryInMs = retryDelay(this.#failures++, random());
      next = wallClock() + retryInMs;
      if (!this.#isOver) failed?.(error, retryInMs);
    }
    this.#isRenewing = false;
    next = Math.min(next, this.#hurriedTo ?? next);
    this.#hurriedTo = undefined;
    this.#waitUntil(next);
  }
}

/** 5 s, 10 s, 20 s, … up to 15 min, each shortened by up to a half. */
function retryDelay(failures: number, random: number): number {
  return Math.round(Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS) * (1 - random / 2));
}
