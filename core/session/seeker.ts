// Keeps looking for a link until there is one: round after round, with growing and jittered waits between them.
import type { Timer } from "../clock.ts";
import { type Dial, type DialFailure, DialRound, type DialRoundEvents, isVerdict } from "./dial-round.ts";
import type { Expectation } from "./dialer.ts";
import type { HandshakeContext } from "./handshake.ts";
import { redialWaitMs, roundLimitMs } from "./machine/backoff.ts";

/** The peer said that its own dial is on its way: how long it has for that before this side tries again. */
const PEER_DIALS_MS = 1_000;

/** A round that takes so long may go on for seconds: a firewall that drops packets gives no answer. */
const SLOW_MS = 250;

export interface SeekerOptions {
  context: HandshakeContext;
  dial: Dial;
  /** From 0 up to 1. */
  random: () => number;
  addresses: () => readonly string[];
  expect: () => Expectation;
}

export interface SeekerEvents extends Omit<DialRoundEvents, "failed"> {
  /** A round led nowhere; without addresses it has no failures. Another follows unless `settle` is called. */
  failed(failures: DialFailure[]): void;
  /** A round goes on, and nobody has answered yet. */
  slow(): void;
}

export class Seeker {
  readonly #options: SeekerOptions;
  readonly #events: SeekerEvents;
  #isSeeking = false;
  #failures = 0;
  #round: DialRound | undefined;
  #timer: Timer | undefined;
  #slow: Timer | undefined;

  constructor(options: SeekerOptions, events: SeekerEvents) {
    this.#options = options;
    this.#events = events;
  }

  get hasGreeted(): boolean {
    return this.#round?.hasGreeted ?? false;
  }

  /** Begins to look, if it does not yet: at once, or after the first wait when the peer is likely to dial itself. */
  seek(peerDials: boolean): void {
    if (this.#isSeeking) return;
    this.#isSeeking = true;
    this.#failures = peerDials ? 1 : 0;
    this.#waitThenDial(redialWaitMs(this.#failures, this.#options.random()));
  }

  /** Stops looking and ends what is under way. */
  settle(): void {
    this.#isSeeking = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#round?.stop();
    this.#endRound();
  }

  /** There is something new to try: does not wait any longer. */
  wake(): void {
    if (this.#isSeeking && !this.#round) this.#waitThenDial(0);
  }

  #waitThenDial(waitMs: number): void {
    this.#timer?.cancel();
    if (waitMs === 0) this.#dial();
    else this.#timer = this.#options.context.clock.after(waitMs, () => this.#dial());
  }

  #dial(): void {
    this.#timer = undefined;
    const { context, dial, addresses, expect } = this.#options;
    const where = addresses();
    if (where.length === 0) {
      this.#failed([]);
      return;
    }
    const limitMs = roundLimitMs(this.#failures);
    this.#slow = context.clock.after(SLOW_MS, () => {
      if (!this.hasGreeted) this.#events.slow();
    });
    this.#round = new DialRound(
      { context, dial, addresses: where, expect: expect(), limitMs },
      {
        greetingFor: (challenge, address) => this.#events.greetingFor(challenge, address),
        welcomed: (welcomed, end, address) => this.#events.welcomed(welcomed, end, address),
        failed: (failures) => this.#failed(failures),
      },
    );
  }

  #endRound(): void {
    this.#slow?.cancel();
    this.#slow = undefined;
    this.#round = undefined;
  }

  #failed(failures: DialFailure[]): void {
    this.#endRound();
    this.#events.failed(failures);
    if (!this.#isSeeking || this.#timer || this.#round) return;
    const peerDials = failures.some(({ error }) => isVerdict(error) && error.refusal === "DUPLICATE");
    if (!peerDials) this.#failures++;
    this.#waitThenDial(peerDials ? PEER_DIALS_MS : redialWaitMs(this.#failures, this.#options.random()));
  }
}
