// An internet in memory, in simulated time: routers of all kinds that translate addresses, and packets that get lost, late and reordered.
import { hostOf, portOf } from "../../core/ip-address.ts";
import type { SimClock } from "../session/sim-clock.ts";

export interface SimPacket {
  from: string;
  to: string;
  bytes: Uint8Array;
}

/** What stands at an address. */
export type Receiver = (packet: SimPacket) => void;

export class NatNetwork {
  readonly clock: SimClock;
  readonly random: () => number;
  readonly #places = new Map<string, Receiver>();
  /** Of packets on their way through the internet. */
  loss = 0;
  /** One way; each packet takes some time between. */
  delayMs: readonly [number, number] = [20, 20];
  sent = 0;
  /** Sees what goes through the internet. */
  watch: Receiver | undefined;

  constructor(clock: SimClock, random: () => number) {
    this.clock = clock;
    this.random = random;
  }

  place(host: string, receiver: Receiver): void {
    this.#places.set(host, receiver);
  }

  carry(packet: SimPacket): void {
    this.sent++;
    this.watch?.(packet);
    if (this.random() < this.loss) return;
    const [least, most] = this.delayMs;
    this.clock.after(least + this.random() * (most - least), () => this.#places.get(hostOf(packet.to))?.(packet));
  }
}

/** What a router does, in RFC 4787's words. */
export interface RouterKind {
  mapping: "none" | "independent" | "dependent";
  filtering: "open" | "address" | "port";
  /** Outside ports in their order, instead of random ones. */
  isSequential?: boolean;
  isBlocked?: boolean;
  /** Whether packets from inside to its own outside address come back in. */
  hairpins?: boolean;
  /** A mapping is forgotten when nothing went out for so long. Default 30,000. */
  forgetsAfterMs?: number;
}

interface Mapped {
  inside: string;
  outside: string;
  /** Addresses it has sent to: with the port, and without. */
  sentTo: Set<string>;
  usedAt: number;
}

const LAN_MS = 0.3;

export class Router {
  readonly #network: NatNetwork;
  readonly #host: string;
  readonly #kind: RouterKind;
  /** The router before this one. */
  readonly #upstream: Router | undefined;
  readonly #inside = new Map<string, Receiver>();
  readonly #mapped = new Map<string, Mapped>();
  readonly #byOutside = new Map<string, Mapped>();
  #nextPort: number;

  constructor(network: NatNetwork, host: string, kind: RouterKind, upstream?: Router) {
    this.#network = network;
    this.#host = host;
    this.#kind = kind;
    this.#upstream = upstream;
    this.#nextPort = 1_024 + Math.floor(network.random() * 60_000);
    if (kind.mapping === "none") return;
    if (upstream) upstream.plug(host, (packet) => this.#fromOutside(packet));
    else network.place(host, (packet) => this.#fromOutside(packet));
  }

  /** Connects a machine, or a router behind this one. */
  plug(host: string, receiver: Receiver): void {
    this.#inside.set(host, receiver);
    if (this.#kind.mapping === "none") this.#network.place(host, (packet) => this.#fromOutside(packet));
  }

  fromInside(packet: SimPacket): void {
    const neighbour = this.#inside.get(hostOf(packet.to));
    if (neighbour) {
      this.#network.clock.after(LAN_MS, () => neighbour(packet));
      return;
    }
    if (this.#kind.isBlocked) return;
    const mapped = this.#map(packet);
    const translated = { ...packet, from: mapped.outside };
    if (hostOf(packet.to) === this.#host) {
      if (this.#kind.hairpins) this.#fromOutside(translated);
    } else if (this.#upstream) this.#upstream.fromInside(translated);
    else this.#network.carry(translated);
  }

  #fromOutside(packet: SimPacket): void {
    const mapped = this.#byOutside.get(packet.to);
    if (this.#kind.isBlocked) return;
    if (!mapped || this.#isForgotten(mapped)) {
      // Without translation an open machine is reached by anybody.
      if (this.#kind.mapping === "none" && this.#kind.filtering === "open") this.#deliver(packet, packet.to);
      return;
    }
    if (this.#lets(mapped, packet.from)) this.#deliver(packet, mapped.inside);
  }

  #deliver(packet: SimPacket, inside: string): void {
    const receiver = this.#inside.get(hostOf(inside));
    this.#network.clock.after(LAN_MS, () => receiver?.({ ...packet, to: inside }));
  }

  #lets({ sentTo }: Mapped, from: string): boolean {
    if (this.#kind.filtering === "open") return true;
    return sentTo.has(this.#kind.filtering === "address" ? hostOf(from) : from);
  }

  #isForgotten({ usedAt }: Mapped): boolean {
    return this.#network.clock.now() - usedAt > (this.#kind.forgetsAfterMs ?? 30_000);
  }

  #map({ from, to }: SimPacket): Mapped {
    const key = this.#kind.mapping === "dependent" ? `${from} ${to}` : from;
    let mapped = this.#mapped.get(key);
    if (!mapped || this.#isForgotten(mapped)) {
      if (mapped) this.#byOutside.delete(mapped.outside);
      const outside = this.#kind.mapping === "none" ? from : this.#freePlace();
      mapped = { inside: from, outside, sentTo: new Set(), usedAt: 0 };
      this.#mapped.set(key, mapped);
      this.#byOutside.set(outside, mapped);
    }
    mapped.usedAt = this.#network.clock.now();
    mapped.sentTo.add(to).add(hostOf(to));
    return mapped;
  }

  #freePlace(): string {
    for (;;) {
      const port = this.#kind.isSequential
        ? this.#nextPort++
        : 1_024 + Math.floor(this.#network.random() * (65_536 - 1_024));
      const place = `${this.#host}:${port}`;
      if (port < 65_536 && !this.#byOutside.has(place)) return place;
      if (port >= 65_535) this.#nextPort = 1_024;
    }
  }
}

/** A machine behind a router: its ports. */
export class SimHost {
  readonly host: string;
  readonly #router: Router;
  readonly #network: NatNetwork;
  readonly #ports = new Map<number, Receiver>();

  constructor(network: NatNetwork, host: string, router: Router) {
    this.host = host;
    this.#router = router;
    this.#network = network;
    router.plug(host, (packet) => this.#ports.get(portOf(packet.to))?.(packet));
  }

  get openPorts(): number {
    return this.#ports.size;
  }

  open(receiver: Receiver): number {
    for (;;) {
      const port = 32_768 + Math.floor(this.#network.random() * 28_000);
      if (this.#ports.has(port)) continue;
      this.listen(port, receiver);
      return port;
    }
  }

  listen(port: number, receiver: Receiver): void {
    this.#ports.set(port, receiver);
  }

  close(port: number): void {
    this.#ports.delete(port);
  }

  send(port: number, to: string, bytes: Uint8Array): void {
    if (this.#ports.has(port)) this.#router.fromInside({ from: `${this.host}:${port}`, to, bytes });
  }
}
