// What rounds of dialing that led nowhere say: whether to look on for the peer, and with which words it is given up.
import { MeshError } from "../errors.ts";
import type { DialFailure } from "./dial-round.ts";
import { shownAddress } from "./machine/ladder.ts";
import type { Phase, Timing } from "./machine/liveness.ts";
import { Refusal } from "./refusal.ts";
import type { Whereabouts } from "./whereabouts.ts";

export interface FailedRoundsOptions {
  /** "node gpu1", "the coordinator": for errors. */
  peer: () => string;
  where: Whereabouts;
  timing: Timing;
  /** Gives up when the first round fails. */
  tryOnce: boolean;
  /** A certain node is looked for, not whoever answers. */
  isNodeKnown: boolean;
  /** Told once for each address that the peer, or this node, is refused there. */
  refused: (error: MeshError) => void;
}

/** How the lane stands for which a link was looked for. */
export interface LaneState {
  /** The peer was reached before. */
  isConfirmed: boolean;
  phase: Phase;
  forMs: number;
}

/** A peer that had dialed itself, and lives, is back by then: its addresses may never have led to it from here. */
const PEER_RETURNS_MS = 1_000;

export class FailedRounds {
  readonly #options: FailedRoundsOptions;
  #last: readonly DialFailure[] = [];
  #hasTriedAgain = false;
  readonly #reported = new Set<string>();

  constructor(options: FailedRoundsOptions) {
    this.#options = options;
  }

  /** The peer was reached: what failed before counts no more. */
  forget(): void {
    this.#last = [];
    this.#reported.clear();
  }

  /** Takes one round. Returns the error to end the session with when another would not help. */
  judge(failures: readonly DialFailure[], lane: LaneState): MeshError | undefined {
    if (failures.length > 0) this.#last = failures;
    for (const { address, error } of failures) this.#report(address, error);
    if (lane.isConfirmed) {
      const where = failures.map(({ address }) => shownAddress(address)).join(", ");
      return this.#isAbandoned(failures, lane) ? this.lost(`nothing of it listens on ${where} any more`) : undefined;
    }
    const final = failures.map(({ error }) => error).find((error) => this.#isFinal(error));
    return final ?? (this.#hasTriedEnough(failures) ? this.unreachable() : undefined);
  }

  /** The error for a peer that was reached, and is not any longer. */
  lost(why: string): MeshError {
    return new MeshError("LINK_CLOSED", `${this.#options.peer()} is lost: ${why}`, this.#cause);
  }

  /** The error for a peer that was never reached. */
  unreachable(): MeshError {
    const { peer, timing, tryOnce } = this.#options;
    const tried = this.#last.map(({ address, error }) => `${address} (${error.message})`).join("; ");
    const wait = tryOnce ? "" : ` within ${timing.connectTimeoutMs} ms`;
    const what = tried === "" ? "no address of it is known, and it did not dial itself" : `tried ${tried}`;
    return new MeshError("UNREACHABLE", `${peer()} cannot be reached${wait}: ${what}`, this.#cause);
  }

  get #cause(): ErrorOptions | undefined {
    const [failure] = this.#last;
    return failure && { cause: failure.error };
  }

  /** With `tryOnce`: a round in which nobody refused and nobody answered is tried again, as a packet may have been lost. */
  #hasTriedEnough(failures: readonly DialFailure[]): boolean {
    if (!this.#options.tryOnce || this.#hasTriedAgain) return this.#options.tryOnce;
    this.#hasTriedAgain = failures.length > 0 && failures.every(({ error }) => error.code === "TIMEOUT");
    return !this.#hasTriedAgain;
  }

  #report(address: string, error: MeshError): void {
    if (!(error instanceof Refusal) || !error.isFinal || this.#reported.has(address)) return;
    this.#reported.add(address);
    this.#options.refused(error);
  }

  /** Another try would not help. Another node at an address of a certain one is no such case: private addresses repeat. */
  #isFinal(error: MeshError): boolean {
    if (!(error instanceof Refusal) || !error.isFinal) return false;
    return error.refusal !== "IDENTITY" || !this.#options.isNodeKnown;
  }

  /** Its link ended, and all its addresses say that no process of it is there: it ended too. */
  #isAbandoned(failures: readonly DialFailure[], { phase, forMs }: LaneState): boolean {
    const { where } = this.#options;
    const direct = failures.filter(({ address }) => !where.isWay(address));
    if (phase !== "detached" || direct.length === 0) return false;
    if (!direct.every(({ address, error }) => isNobodyThere(error, where.wasReached(address)))) return false;
    if (direct.some(({ address }) => where.wasReached(address))) return true;
    // Behind a router others may have its addresses, and refuse for themselves.
    return forMs >= PEER_RETURNS_MS && direct.length === failures.length;
  }
}

/** The port is closed; or, where the peer was reached before, another node's. */
function isNobodyThere(error: MeshError, wasReached: boolean): boolean {
  if (error instanceof Refusal) return error.refusal === "IDENTITY" && wasReached;
  return (error.cause as { code?: unknown } | undefined)?.code === "ECONNREFUSED";
}
