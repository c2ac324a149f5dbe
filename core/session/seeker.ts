// Looks for links of one lane: for any while there is none, round after round, with growing and jittered waits between them;
// for a better one, more and more rarely, while the one in use goes a way that is not the best.
import type { Timer } from "../clock.ts";
import { type Dial, type DialFailure, DialRound, type DialRoundEvents, isVerdict } from "./dial-round.ts";
import type { Expectation } from "./dialer.ts";
import type { HandshakeContext } from "./handshake.ts";
import { climbWaitMs, redialWaitMs, triesAfterLink } from "./machine/backoff.ts";
import { BEST_RANK, rankOfAddress } from "./machine/ladder.ts";

/** The peer said that its own dial is on its way: how long it has for that before this side tries again. */
const PEER_DIALS_MS = 1_000;

/** A round that takes so long may go on for seconds: a firewall that drops packets gives no answer. To be introduced in vain costs a few packets. */
const SLOW_MS = 100;

/** Any path is wanted. */
const ANY_RANK = Number.POSITIVE_INFINITY;

export interface SeekerOptions {
  context: HandshakeContext;
  dial: Dial;
  /** From 0 up to 1. */
  random: () => number;
  /** Where to dial, best first, for a path of a rank below that one. */
  addresses: (below: number) => readonly string[];
  expect: () => Expectation;
  /** How long a round may take after so many that failed. */
  limitMs: (failures: number) => number;
}

export interface SeekerEvents extends Omit<DialRoundEvents, "failed"> {
  /**
   * A round led nowhere; without addresses it has no failures. Another follows unless `settle` is called. `isClimbing`: there is
   * a link, and none that would be better was found.
   */
  failed(failures: DialFailure[], isClimbing: boolean): void;
  /** A round goes on, and nobody has answered yet. */
  slow(isClimbing: boolean): void;
}

export class Seeker {
  readonly #options: SeekerOptions;
  readonly #events: SeekerEvents;
  /** Paths of a rank below this are wanted; undefined: none. */
  #below: number | undefined;
  /** Rounds for any link that failed in a row. */
  #failures = 0;
  /** The link in use, or the last one. */
  #link: { rank: number; since: number } | undefined;
  /** How often in a row a better one was not found, or did not last. */
  #tries = 0;
  #round: DialRound | undefined;
  #timer: Timer | undefined;
  #slow: Timer | undefined;

  constructor(options: SeekerOptions, events: SeekerEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** The address at which a greeting is on its way. */
  get greeted(): string | undefined {
    return this.#round?.greeted;
  }

  /** Begins to look for any link: at once, or after the first wait when the peer is likely to dial itself. */
  seek(peerDials: boolean): void {
    if (this.#below === ANY_RANK) return;
    this.#below = ANY_RANK;
    this.#failures = peerDials ? 1 : 0;
    if (this.#round) this.#round.add(this.#options.addresses(ANY_RANK));
    else this.#waitThenDial(redialWaitMs(this.#failures, this.#options.random()));
  }

  /** There is a link, by a path of that rank. Looks for a better one. */
  linked(rank: number): void {
    const now = this.#options.context.clock.now();
    const before = this.#link && { rank: this.#link.rank, forMs: now - this.#link.since };
    this.#tries = triesAfterLink(this.#tries, before, rank);
    this.#link = { rank, since: now };
    this.climb();
  }

  /** Goes on to look for a better link than the one there is. */
  climb(): void {
    const rank = this.#link?.rank ?? BEST_RANK;
    if (rank === BEST_RANK || this.#below !== undefined) return;
    this.#below = rank;
    this.#waitThenDial(climbWaitMs(this.#tries, this.#options.random(), rank));
  }

  /** Stops looking and ends what is under way. */
  settle(): void {
    this.#below = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#round?.stop();
    this.#endRound();
  }

  /** There is something new to try: does not wait any longer. */
  wake(addresses: readonly string[]): void {
    const below = this.#below;
    if (below === undefined || !addresses.some((address) => rankOfAddress(address) < below)) return;
    const round = this.#round;
    if (!round) this.#waitThenDial(0);
    else round.add(this.#options.addresses(below).filter((known) => addresses.includes(known) || !round.knows(known)));
  }

  #waitThenDial(waitMs: number): void {
    this.#timer?.cancel();
    if (waitMs === 0) this.#dial();
    else this.#timer = this.#options.context.clock.after(waitMs, () => this.#dial());
  }

  #dial(): void {
    this.#timer = undefined;
    const { context, dial, addresses, expect, limitMs } = this.#options;
    const where = addresses(this.#below!);
    if (where.length === 0) {
      this.#failed([]);
      return;
    }
    this.#slow = context.clock.after(SLOW_MS, () => {
      if (this.greeted === undefined) this.#events.slow(this.#isClimbing);
    });
    const pace = { limitMs: limitMs(this.#failures), wasReached: this.#link !== undefined };
    this.#round = new DialRound(
      { context, dial, addresses: where, expect: expect(), ...pace },
      {
        greetingFor: (challenge, address) => this.#events.greetingFor(challenge, address),
        welcomed: (welcomed, end, address) => this.#events.welcomed(welcomed, end, address),
        failed: (failures) => this.#failed(failures),
      },
    );
  }

  get #isClimbing(): boolean {
    return this.#below !== ANY_RANK;
  }

  #endRound(): void {
    this.#slow?.cancel();
    this.#slow = undefined;
    this.#round = undefined;
  }

  #failed(failures: DialFailure[]): void {
    this.#endRound();
    this.#events.failed(failures, this.#isClimbing);
    if (this.#below === undefined || this.#timer || this.#round) return;
    this.#waitThenDial(this.#isClimbing ? this.#climbWait() : this.#redialWait(failures));
  }

  #climbWait(): number {
    return climbWaitMs(++this.#tries, this.#options.random(), this.#below!);
  }

  #redialWait(failures: readonly DialFailure[]): number {
    if (failures.some(({ error }) => isVerdict(error) && error.refusal === "DUPLICATE")) return PEER_DIALS_MS;
    return redialWaitMs(++this.#failures, this.#options.random());
  }
}
