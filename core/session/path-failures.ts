// What was tried lately to reach a peer, and why it failed: for people who ask why a path is not better.
import type { Clock } from "../clock.ts";
import type { DialFailure } from "./dial-round.ts";
import { kindOf, shownAddress } from "./machine/ladder.ts";

export interface FailedPath {
  kind: string;
  address: string;
  /** Why it did not lead to the peer. */
  error: string;
  /** How long ago that was. */
  agoMs: number;
}

const LIMIT = 12;
const LIMIT_CHARS = 300;

/** The last failure of each address, of at most 12. */
export class PathFailures {
  readonly #clock: Clock;
  readonly #failures = new Map<string, { error: string; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Latest first. */
  list(): FailedPath[] {
    const now = this.#clock.now();
    const all = [...this.#failures].map(([address, { error, at }]) => {
      return { kind: kindOf(address), address: shownAddress(address), error, agoMs: now - at };
    });
    return all.reverse();
  }

  add(failures: readonly DialFailure[]): void {
    for (const { address, error } of failures) {
      this.#failures.delete(address);
      const message = error.message.replaceAll(address, shownAddress(address)).slice(0, LIMIT_CHARS);
      this.#failures.set(address, { error: message, at: this.#clock.now() });
      if (this.#failures.size > LIMIT) this.forget([this.#failures.keys().next().value!]);
    }
  }

  /** They lead to the peer now, or are no ways any more. */
  forget(addresses: readonly string[]): void {
    for (const address of addresses) this.#failures.delete(address);
  }
}
