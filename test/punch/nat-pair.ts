// Two nodes of the simulated internet that were introduced, and whether the hole they found carries anything.
import { randomBytes } from "node:crypto";
import { SimClock } from "../session/sim-clock.ts";
import { randomOf } from "../support/random.ts";
import { NatNetwork, Router, type RouterKind, SimHost, type SimPacket } from "./nat-network.ts";
import { NatNode, placeEcho } from "./nat-node.ts";

export const KINDS = {
  open: { mapping: "none", filtering: "open" },
  firewalled: { mapping: "none", filtering: "port" },
  "full cone": { mapping: "independent", filtering: "open" },
  "address-restricted": { mapping: "independent", filtering: "address" },
  "port-restricted": { mapping: "independent", filtering: "port" },
  symmetric: { mapping: "dependent", filtering: "port" },
  "symmetric in order": { mapping: "dependent", filtering: "port", isSequential: true },
  blocked: { mapping: "independent", filtering: "port", isBlocked: true },
} as const satisfies Record<string, RouterKind>;

export type KindName = keyof typeof KINDS;

export interface PairOptions {
  loss?: number;
  delayMs?: readonly [number, number];
  /** How much later the other side hears of the meeting. */
  skewMs?: number;
  /** From the echoes to the meeting. */
  waitMs?: number;
}

export class NatPair {
  readonly clock = new SimClock();
  readonly network: NatNetwork;
  readonly hosts: [SimHost, SimHost];
  readonly nodes: [NatNode, NatNode];
  readonly random: () => number;
  metAt = 0;

  constructor(seed: number, make: (network: NatNetwork) => [SimHost, SimHost], options: PairOptions = {}) {
    this.random = randomOf(seed);
    this.network = new NatNetwork(this.clock, this.random);
    this.network.loss = options.loss ?? 0;
    this.network.delayMs = options.delayMs ?? [20, 20];
    this.hosts = make(this.network);
    this.nodes = [new NatNode(this.network, this.hosts[0]), new NatNode(this.network, this.hosts[1])];
  }

  /** Each behind a router of its own. */
  static of(seed: number, a: RouterKind, b: RouterKind, options: PairOptions = {}): NatPair {
    return new NatPair(seed, (network) => [behind(network, a, 1), behind(network, b, 2)], options);
  }

  /** Until both are through: echoes, meeting, punching. */
  run({ skewMs = 0, waitMs = 0 }: PairOptions = {}): this {
    const place = placeEcho(this.network);
    for (const node of this.nodes) node.ask(place);
    this.#until(() => this.nodes.every(({ side }) => side), 10_000);
    this.#advance(waitMs);
    this.#meet(skewMs);
    this.#until(() => this.nodes.every(({ endedAt }) => endedAt !== undefined), 30_000);
    return this;
  }

  /** Whether each can send to the other with the hole as it is, from ports that are opened anew. */
  get isThrough(): boolean {
    const [a, b] = this.nodes;
    if (!a.hole || !b.hole) return false;
    const came: string[] = [];
    this.network.loss = 0;
    this.network.watch = undefined;
    const hear = (who: string) => (packet: SimPacket) => {
      // Probes that are late are none of it.
      if (packet.bytes.length === 1) came.push(`${who} from ${packet.from}`);
    };
    this.hosts[0].listen(a.hole.localPort, hear("a"));
    this.hosts[1].listen(b.hole.localPort, hear("b"));
    this.hosts[0].send(a.hole.localPort, a.hole.remote, new Uint8Array(1));
    this.#advance(2_000);
    this.hosts[1].send(b.hole.localPort, b.hole.remote, new Uint8Array(1));
    this.#advance(2_000);
    return came.join() === `b from ${b.hole.remote},a from ${a.hole.remote}`;
  }

  /** From the moment both were told until both were through. */
  get tookMs(): number {
    return Math.max(...this.nodes.map(({ endedAt }) => endedAt!)) - this.metAt;
  }

  #meet(skewMs: number): void {
    const [a, b] = this.nodes;
    const shared = { meeting: randomBytes(8), key: randomBytes(32) };
    const aDials = this.random() < 0.5;
    this.metAt = this.clock.now() + skewMs;
    a.meet({ ...shared, dials: aDials, ...b.side! });
    this.clock.after(skewMs, () => b.meet({ ...shared, dials: !aDials, ...a.side! }));
  }

  #until(isOver: () => boolean, limitMs: number): void {
    const end = this.clock.now() + limitMs;
    while (!isOver()) if (!this.clock.step(end)) throw new Error("it never ended");
  }

  #advance(ms: number): void {
    const end = this.clock.now() + ms;
    while (this.clock.step(end));
  }
}

/** Machine number `i`, with a private address behind a router that translates. */
export function behind(network: NatNetwork, kind: RouterKind, i: number, upstream?: Router): SimHost {
  const router = new Router(network, upstream ? `100.64.0.${i}` : `198.51.100.${i}`, kind, upstream);
  const inside = kind.mapping === "none" ? `203.0.113.${i}` : `10.0.${i}.2`;
  return new SimHost(network, inside, router);
}
