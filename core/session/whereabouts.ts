// Where a peer may be reached: the addresses that it and others told, the ways that this node has made for itself, and what came
// of dialing them.
import type { Clock } from "../clock.ts";
import type { DialFailure } from "./dial-round.ts";
import { byRank, kindOf, rankOfAddress, shownAddress } from "./machine/ladder.ts";

/** An address that did not lead to the peer. */
export interface FailedPath {
  kind: string;
  address: string;
  /** Why. */
  error: string;
  /** How long ago that was. */
  agoMs: number;
}

const FAILED_LIMIT = 12;
const ERROR_LIMIT_CHARS = 300;
/** A way that is good for one use is given up after so many failures in a row. */
const WAY_TRIES = 2;

export class Whereabouts {
  readonly #clock: Clock;
  readonly #waysTo: (addresses: readonly string[]) => readonly string[];
  #given: readonly string[];
  #told: readonly string[] = [];
  #ways: readonly string[] = [];
  /** At which it answered. */
  readonly #reached = new Set<string>();
  /** The last failure of each address, latest last. */
  readonly #failed = new Map<string, { error: string; at: number }>();
  /** How often in a row they did not lead to the peer. */
  readonly #failedWays = new Map<string, number>();

  /** `waysTo`: what to dial for a peer that listens at those addresses. */
  constructor(
    addresses: readonly string[],
    { clock, waysTo }: { clock: Clock; waysTo(addresses: readonly string[]): readonly string[] },
  ) {
    this.#given = addresses;
    this.#clock = clock;
    this.#waysTo = waysTo;
  }

  /** Where it listens, as far as it or others said. */
  get addresses(): readonly string[] {
    return [...new Set([...this.#given, ...this.#told])];
  }

  get ways(): readonly string[] {
    return this.#ways;
  }

  /** Returns those that were not known. */
  add(addresses: readonly string[]): string[] {
    const known = this.addresses;
    const fresh = addresses.filter((address) => !known.includes(address));
    if (fresh.length > 0) this.#given = [...new Set([...addresses, ...this.#given])];
    return fresh;
  }

  /** What it says itself, which counts until it says something else. */
  tell(addresses: readonly string[]): void {
    this.#told = addresses;
  }

  addWays(ways: readonly string[]): void {
    this.#ways = [...new Set([...ways, ...this.#ways])];
    for (const way of ways) this.#failedWays.delete(way);
  }

  removeWays(ways: readonly string[]): void {
    this.#drop(ways);
    for (const way of ways) this.#failed.delete(way);
  }

  isWay(address: string): boolean {
    return this.#ways.includes(address);
  }

  /** What to dial for a path of a rank below that, best first. */
  below(rank: number): string[] {
    const all = new Set([...this.#waysTo(this.addresses), ...this.#ways]);
    return byRank([...all].filter((address) => rankOfAddress(address) < rank));
  }

  reached(address: string): void {
    this.#reached.add(address);
    this.#failed.delete(address);
    this.#failedWays.delete(address);
  }

  wasReached(address: string): boolean {
    return this.#reached.has(address);
  }

  failed(failures: readonly DialFailure[]): void {
    for (const { address, error } of failures) {
      this.#failed.delete(address);
      const message = error.message.replaceAll(address, shownAddress(address)).slice(0, ERROR_LIMIT_CHARS);
      this.#failed.set(address, { error: message, at: this.#clock.now() });
      if (this.#failed.size > FAILED_LIMIT) this.#failed.delete(this.#failed.keys().next().value!);
      if (isOneTime(address) && this.isWay(address)) this.#countFailure(address);
    }
  }

  /** Latest first, at most 12. */
  get failedPaths(): FailedPath[] {
    const now = this.#clock.now();
    const all = [...this.#failed].map(([address, { error, at }]) => {
      return { kind: kindOf(address), address: shownAddress(address), error, agoMs: now - at };
    });
    return all.reverse();
  }

  #countFailure(way: string): void {
    const times = (this.#failedWays.get(way) ?? 0) + 1;
    this.#failedWays.set(way, times);
    if (times >= WAY_TRIES) this.#drop([way]);
  }

  #drop(ways: readonly string[]): void {
    this.#ways = this.#ways.filter((way) => !ways.includes(way));
    for (const way of ways) this.#failedWays.delete(way);
  }
}

/** Made for one connection, or one hole: "punch://…?from=40001". */
function isOneTime(way: string): boolean {
  return way.includes("?");
}
