// The ways that are tried between this side's sockets and addresses of the other.
import { hostOf } from "../ip-address.ts";
import { CANDIDATE_LIMIT } from "../rendezvous/bodies.ts";
import { outsideHost } from "./candidates.ts";
import type { Side } from "./prospects.ts";
import { readRemote } from "./remote.ts";

/** So many addresses are learned from packets, beyond those that were named. */
const LEARNED_LIMIT = 16;

export interface Way {
  socket: number;
  remote: string;
  /** Whether it leads to an address of the other's own network or IPv6: those are preferred. */
  isInside: boolean;
  probedAt: number;
  /** Of the first probe that was answered; until then it is not known that packets go both ways. */
  roundTripMs?: number;
  /** Number of the other's `use` for it. */
  wish?: number;
  /** Something came from there. */
  isHeard: boolean;
}

export class Ways {
  readonly #ways = new Map<string, Way>();
  readonly #inside: ReadonlySet<string>;
  /** The addresses that the other named, as far as they are any; the last one is outside. */
  readonly named: readonly string[];

  constructor({ candidates, mapping }: Side) {
    this.named = usable(candidates);
    const outside = mapping === "none" ? undefined : outsideHost(this.named);
    this.#inside = new Set(this.named.filter((remote) => hostOf(remote) !== outside));
    for (const remote of this.named) this.#add(0, remote);
  }

  get all(): Way[] {
    return [...this.#ways.values()];
  }

  /** Those that lead there and back, the best first. */
  get proven(): Way[] {
    const found = this.all.filter(({ roundTripMs }) => roundTripMs !== undefined);
    return found.sort((a, b) => Number(b.isInside) - Number(a.isInside) || a.roundTripMs! - b.roundTripMs!);
  }

  get hasInside(): boolean {
    return this.#inside.size > 0;
  }

  /** The way from there to that socket, a new one where packets from an unknown place come; undefined when there are too many. */
  learn(socket: number, remote: string): Way | undefined {
    const known = this.#ways.get(keyOf(socket, remote));
    if (known) return known;
    return this.#ways.size < CANDIDATE_LIMIT + LEARNED_LIMIT ? this.#add(socket, remote) : undefined;
  }

  #add(socket: number, remote: string): Way {
    const isInside = this.#inside.has(remote);
    const way: Way = { socket, remote, isInside, probedAt: Number.NEGATIVE_INFINITY, isHeard: false };
    this.#ways.set(keyOf(socket, remote), way);
    return way;
  }
}

/** Each once, as they would be seen as sources; what is no address is left out. */
function usable(candidates: readonly string[]): string[] {
  const remotes = candidates.slice(0, CANDIDATE_LIMIT).map(readRemote);
  return [...new Set(remotes.filter((remote) => remote !== undefined))];
}

function keyOf(socket: number, remote: string): string {
  return `${socket} ${remote}`;
}
