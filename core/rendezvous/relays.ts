// Who gets a relay: pairs of nodes that both have a session here, so many of each node and so many in all. A pair that asks
// again gets the same. What forwards is behind an interface; this keeps the books.
import type { Clock } from "../clock.ts";
import type { Peer } from "../coordinator/door.ts";
import { MeshError } from "../errors.ts";
import { RateLimit } from "../rate-limit.ts";
import type { Relay, Relayed } from "./bodies.ts";
import { notHere } from "./pairings.ts";

/** A relay ends when nothing went through it for so long. */
export const IDLE_MS = 60_000;

/** Two node ids, the lower one first. */
export type Pair = readonly [number, number];

/** Forwards between the two nodes of a pair. */
export interface PairRelay {
  /** What it has forwarded so far, both ways. */
  readonly bytes: number;
  /** Where that one of both finds the other. */
  placeOf(node: number): Pick<Relayed, "port" | "token">;
  /** One of both asked again: it may come from elsewhere now. */
  renew(): void;
  close(): void;
}

/** What a relay tells who keeps the books. */
export interface RelayEvents {
  /** It ended by itself, because nothing comes any more. */
  over(): void;
  /** The node of the pair that dials has come, and the other is missing. */
  missing(): void;
}

/** A pair that is relayed now. */
export interface RelayedPair {
  nodes: Pair;
  bytes: number;
}

/** Begins to forward. */
export type OpenRelay = (pair: Pair, events: RelayEvents) => Promise<PairRelay>;

export interface RelayLimits {
  /** Relays of one node at once. Default 512. */
  each: number;
  /** Of all nodes. Default 2,000; by UDP, each takes two ports. */
  all: number;
  /** Requests of one node in a second. Default 200. */
  asksEach: number;
}

const DEFAULT_LIMITS: RelayLimits = { each: 512, all: 2_000, asksEach: 200 };

export interface RelaysOptions {
  clock: Clock;
  find(node: number): Peer | undefined;
  open: Record<Relay["by"], OpenRelay>;
  /** Tells `to` where it finds the one that asked. */
  tell(to: Peer, relayed: Relayed): void;
  limits?: Partial<RelayLimits>;
}

/** A pair is told of its relay so often in a second, without having asked itself. */
const TELLINGS = { each: 10, all: 10_000 };

interface Entry {
  pair: Pair;
  relay: Promise<PairRelay>;
  /** The same, once it is there. */
  opened?: PairRelay;
  /** Those of both whose session is over. */
  gone: Set<number>;
}

export class Relays {
  /** Requests that a limit kept from getting one. */
  refused = 0;
  readonly #options: RelaysOptions;
  readonly #limits: RelayLimits;
  readonly #asks: RateLimit;
  readonly #tellings = new RateLimit(TELLINGS);
  readonly #entries = new Map<string, Entry>();
  readonly #counts = new Map<number, number>();

  constructor(options: RelaysOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#asks = new RateLimit({ each: this.#limits.asksEach, all: 100 * this.#limits.asksEach });
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The `most` pairs that have sent the most. */
  busiest(most: number): RelayedPair[] {
    const all = [...this.#entries.values()].map(({ pair, opened }) => ({ nodes: pair, bytes: opened?.bytes ?? 0 }));
    return all.sort((a, b) => b.bytes - a.bytes).slice(0, most);
  }

  /** Throws UNREACHABLE when the other has no session here, FULL over a limit, what opening a relay throws. */
  async ask(asker: Peer, { node, by }: Relay): Promise<Relayed> {
    const { clock, find, tell } = this.#options;
    const other = node === asker.node ? undefined : find(node);
    if (!other) throw notHere(node);
    if (!this.#asks.take(String(asker.node), clock.now())) {
      throw this.#full(`${asker.name} asked for relays over ${this.#limits.asksEach} times in a second: wait`);
    }
    const { key, entry } = this.#entryFor(asker, other, by);
    const relay = await entry.relay;
    relay.renew();
    if (this.#tellings.take(key, clock.now())) tell(other, this.#toldTo(other, asker, by, relay));
    return this.#toldTo(asker, other, by, relay);
  }

  /** That node's session is over: what it has goes on until the other's is, too. */
  gone(node: number): void {
    for (const [key, entry] of this.#entries) {
      if (!entry.pair.includes(node)) continue;
      entry.gone.add(node);
      if (entry.gone.size === 2) this.#end(key, entry);
    }
  }

  close(): void {
    for (const [key, entry] of this.#entries) this.#end(key, entry);
  }

  #toldTo({ node }: Peer, other: Peer, by: Relay["by"], relay: PairRelay): Relayed {
    return { node: other.node, by, ...relay.placeOf(node), dials: node < other.node };
  }

  #entryFor(asker: Peer, other: Peer, by: Relay["by"]): { key: string; entry: Entry } {
    const pair: Pair = asker.node < other.node ? [asker.node, other.node] : [other.node, asker.node];
    const key = `${by} ${pair.join(" ")}`;
    const known = this.#entries.get(key);
    known?.gone.clear();
    if (known) return { key, entry: known };
    this.#checkRoom(asker, other);
    const relay = this.#options.open[by](pair, {
      over: () => this.#forget(key, entry),
      missing: () => void this.#remind(key, entry, by),
    });
    const entry: Entry = { pair, relay, gone: new Set() };
    relay.then(
      (opened) => {
        entry.opened = opened;
      },
      () => this.#forget(key, entry),
    );
    this.#entries.set(key, entry);
    for (const node of pair) this.#counts.set(node, (this.#counts.get(node) ?? 0) + 1);
    return { key, entry };
  }

  /** Has the side that does not dial come: for a stream by TCP both have to. */
  async #remind(key: string, { pair, relay }: Entry, by: Relay["by"]): Promise<void> {
    const { clock, find, tell } = this.#options;
    const [dialing, other] = [find(pair[0]), find(pair[1])];
    if (!dialing || !other || !this.#tellings.take(key, clock.now())) return;
    tell(other, this.#toldTo(other, dialing, by, await relay));
  }

  #checkRoom(...nodes: Peer[]): void {
    const { each, all } = this.#limits;
    const busy = nodes.find(({ node }) => (this.#counts.get(node) ?? 0) >= each);
    if (busy) throw this.#full(`${busy.name} has ${each} relays here, and may have no more`);
    if (this.#entries.size < all) return;
    const what = `this rendezvous relays as many pairs as it may (${all}), and takes no more`;
    throw this.#full(`${what}: raise relayPairs of [rendezvous] in mesh.toml`);
  }

  #full(message: string): MeshError {
    this.refused++;
    return new MeshError("FULL", message);
  }

  #end(key: string, entry: Entry): void {
    this.#forget(key, entry);
    void entry.relay.then(
      (relay) => relay.close(),
      () => {},
    );
  }

  #forget(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    for (const node of entry.pair) {
      const left = (this.#counts.get(node) ?? 0) - 1;
      if (left > 0) this.#counts.set(node, left);
      else this.#counts.delete(node);
    }
  }
}
