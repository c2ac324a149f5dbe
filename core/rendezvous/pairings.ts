// Brings together two nodes that want to meet: the one that asks first waits, and both are answered at the same moment. Pure
// bookkeeping under a Clock.
import { randomBytes } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";
import type { Peer } from "../coordinator/door.ts";
import { MeshError } from "../errors.ts";
import { RateLimit } from "../rate-limit.ts";
import type { Meet, Met } from "./bodies.ts";

export interface PairingLimits {
  /** Requests of one node that wait at once. Default 64. */
  waitingEach: number;
  /** Of all nodes. Default 10,000. */
  waitingAll: number;
  /** Requests of one node in a second. Default 200. */
  asksEach: number;
  /** Of all nodes in a second. Default 10,000. */
  asksAll: number;
}

const DEFAULT_LIMITS: PairingLimits = { waitingEach: 64, waitingAll: 10_000, asksEach: 200, asksAll: 10_000 };

/** How long a node waits for the other. */
export const WAIT_MS = 10_000;

export interface PairingsOptions {
  clock: Clock;
  /** A node that can be met here; undefined for all others. */
  find(node: number): Peer | undefined;
  /** Tells `to` that the other wants to meet it. */
  invite(to: Peer, other: Peer): void;
  limits?: Partial<PairingLimits>;
}

interface Waiting {
  asker: Peer;
  body: Meet;
  timer: Timer;
  resolve(met: Met): void;
  reject(error: MeshError): void;
}

export class Pairings {
  /** Pairs that met. */
  met = 0;
  readonly #options: PairingsOptions;
  readonly #limits: PairingLimits;
  readonly #asks: RateLimit;
  readonly #invitations: RateLimit;
  /** By asker, and by whom it asked for. */
  readonly #waiting = new Map<number, Map<number, Waiting>>();
  #count = 0;

  constructor(options: PairingsOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { asksEach, asksAll } = this.#limits;
    this.#asks = new RateLimit({ each: asksEach, all: asksAll });
    this.#invitations = new RateLimit({ each: 1, all: asksAll });
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#count;
  }

  /**
   * Resolves when the other has asked for the asker. Rejects with UNREACHABLE when it has no session here, TIMEOUT when it
   * does not ask within 10 s, FULL over a limit, CANCELLED when the asker asks again or is gone.
   */
  async meet(asker: Peer, body: Meet): Promise<Met> {
    const { clock, invite } = this.#options;
    const other = this.#otherOf(asker, body.node);
    const now = clock.now();
    if (!this.#asks.take(String(asker.node), now)) throw tooOften(asker, this.#limits.asksEach);
    this.#take(asker.node, other.node)?.reject(cancelled(other, "it asked again"));
    const counterpart = this.#take(other.node, asker.node);
    if (counterpart) return this.#bringTogether(counterpart, asker, body);
    const answer = this.#wait(asker, other, body);
    if (this.#invitations.take(`${asker.node} ${other.node}`, now)) invite(other, asker);
    return await answer;
  }

  /** That node's session is over. */
  gone(node: number): void {
    for (const { asker, body, reject } of this.#all()) {
      if (asker.node === node) reject(cancelled({ node: body.node }, "its session ended"));
      else if (body.node === node) reject(notHere(node));
      else continue;
      this.#take(asker.node, body.node);
    }
  }

  close(): void {
    for (const { asker, body, reject } of this.#all()) {
      this.#take(asker.node, body.node);
      reject(cancelled({ node: body.node }, "the rendezvous is ending"));
    }
  }

  #otherOf(asker: Peer, node: number): Peer {
    const other = node === asker.node ? undefined : this.#options.find(node);
    if (!other) throw notHere(node);
    return other;
  }

  #bringTogether({ asker: first, body: ofFirst, resolve }: Waiting, second: Peer, ofSecond: Meet): Met {
    const common = { meeting: randomBytes(8), key: randomBytes(32) };
    const told = ({ candidates, mapping }: Meet, dials: boolean): Met => ({ ...common, dials, candidates, mapping });
    this.met++;
    resolve(told(ofSecond, first.node < second.node));
    return told(ofFirst, second.node < first.node);
  }

  async #wait(asker: Peer, other: Peer, body: Meet): Promise<Met> {
    const ofAsker = this.#waiting.get(asker.node) ?? new Map<number, Waiting>();
    const { waitingEach, waitingAll } = this.#limits;
    if (ofAsker.size >= waitingEach || this.#count >= waitingAll) throw tooMany(asker, ofAsker.size);
    const { promise, resolve, reject } = Promise.withResolvers<Met>();
    const timer = this.#options.clock.after(WAIT_MS, () => this.#take(asker.node, other.node)?.reject(late(other)));
    this.#waiting.set(asker.node, ofAsker);
    ofAsker.set(other.node, { asker, body, timer, resolve, reject });
    this.#count++;
    return await promise;
  }

  /** Ends the waiting of `asker` for `other`. */
  #take(asker: number, other: number): Waiting | undefined {
    const ofAsker = this.#waiting.get(asker);
    const waiting = ofAsker?.get(other);
    if (!ofAsker || !waiting) return undefined;
    waiting.timer.cancel();
    ofAsker.delete(other);
    this.#count--;
    if (ofAsker.size === 0) this.#waiting.delete(asker);
    return waiting;
  }

  #all(): Waiting[] {
    return [...this.#waiting.values()].flatMap((ofAsker) => [...ofAsker.values()]);
  }
}

/** The same words for who is away and who is not of this mesh: nobody finds out here who is. */
export function notHere(node: number): MeshError {
  return new MeshError("UNREACHABLE", `node ${node} has no session with this rendezvous: it cannot be met here now`);
}

function late({ name, node }: Peer): MeshError {
  const why =
    "it may be busy, of a build that does not meet others, or between two links: try again, or ask for a relay";
  return new MeshError("TIMEOUT", `${name} (node ${node}) did not ask to be met within ${WAIT_MS / 1_000} s: ${why}`);
}

function cancelled({ node }: Pick<Peer, "node">, why: string): MeshError {
  return new MeshError("CANCELLED", `the wish to meet node ${node} is over: ${why}`);
}

function tooOften({ name }: Peer, most: number): MeshError {
  return new MeshError(
    "FULL",
    `${name} asked this rendezvous to meet others over ${most} times in a second: wait a little`,
  );
}

function tooMany({ name }: Peer, count: number): MeshError {
  return new MeshError(
    "FULL",
    `${name} waits for ${count} nodes at this rendezvous, which takes no more: wait a little`,
  );
}
