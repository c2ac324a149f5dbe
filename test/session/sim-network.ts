// A network in memory, in simulated time: links with delay that can be cut, become half-open, be blocked for a while.
// Both ends of a link are real memory links; what goes from one to the other passes here.
import { MeshError } from "../../core/errors.ts";
import { readRefused } from "../../core/session/refusal.ts";
import type { DialOptions, Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import type { ProcessClock, SimClock } from "./sim-clock.ts";

/** A process that may listen and dial. */
export interface Host {
  name: string;
  clock: ProcessClock;
}

interface Listening {
  host: Host;
  accept: (link: Link) => void;
}

const codec = new Codec();
const RESEND_MS = 200;

/** One direction of a wire. */
interface Way {
  from: Host;
  to: Host;
  /** The near side of the receiving end's link. */
  out: Link;
  /** What is on its way, in order, and when it arrives. */
  queue: { at: number; act: () => void }[];
}

/** A link between two hosts, as the network sees it. */
export class Wire {
  readonly dialer: Host;
  readonly acceptor: Host;
  /** What was dialed. */
  readonly address: string;
  readonly #network: SimNetwork;
  readonly #ways: [Way, Way];
  isBroken = false;
  /** Frames that were sent over it. */
  frames = 0;
  /** Breaks by itself after so many more frames. */
  framesLeft = Number.POSITIVE_INFINITY;
  #openSides = 2;

  constructor(network: SimNetwork, dialer: Host, acceptor: Host, [near, far]: [Link, Link], address: string) {
    this.#network = network;
    this.address = address;
    this.dialer = dialer;
    this.acceptor = acceptor;
    this.#ways = [
      { from: dialer, to: acceptor, out: far, queue: [] },
      { from: acceptor, to: dialer, out: near, queue: [] },
    ];
    this.#carry(near, this.#ways[0]);
    this.#carry(far, this.#ways[1]);
  }

  get isOpen(): boolean {
    return this.#openSides === 2 && !this.isBroken;
  }

  /** Both sides hear that the link broke; what was on the way is lost. */
  cut(): void {
    this.isBroken = true;
    for (const { to, out } of this.#ways) to.clock.whenRunning(() => out.destroy(new Error("reset")));
  }

  /** Only that host hears that the link broke; what the other sends gets lost without a word. */
  cutFor(host: Host): void {
    this.isBroken = true;
    const way = this.#ways.find(({ to }) => to === host)!;
    host.clock.whenRunning(() => way.out.destroy(new Error("reset")));
  }

  joins(host: Host): boolean {
    return this.dialer === host || this.acceptor === host;
  }

  #carry(source: Link, way: Way): void {
    source.attach({
      frame: (frame) => {
        this.frames++;
        if (--this.framesLeft < 0 && !this.isBroken) this.cut();
        const copy = frame.slice();
        if (copy[0] === MessageType.refused) this.#network.noteRefusal(copy);
        this.#pass(way, () => void way.out.send(copy));
      },
      drained: () => {},
      closed: (error) => {
        this.#openSides--;
        this.#network.closed(this);
        this.#pass(way, () => (error ? way.out.destroy(error) : way.out.close()));
      },
    });
  }

  #pass(way: Way, act: () => void): void {
    if (this.isBroken) return;
    const last = way.queue.at(-1)?.at ?? 0;
    way.queue.push({ at: Math.max(last, this.#network.clock.now() + this.#network.delay()), act });
    if (way.queue.length === 1) this.#wait(way, way.queue[0]!.at - this.#network.clock.now());
  }

  #wait(way: Way, ms: number): void {
    this.#network.clock.after(ms, () => this.#deliver(way));
  }

  #deliver(way: Way): void {
    if (this.isBroken) return;
    const now = this.#network.clock.now();
    if (this.#network.blockedMs(way.from, way.to) > 0 || this.#network.silent.has(this.address)) {
      this.#wait(way, RESEND_MS); // held back as TCP would: sent again now and then until the way is free
      return;
    }
    while (way.queue.length > 0 && way.queue[0]!.at <= now) {
      const { act } = way.queue.shift()!;
      way.to.clock.whenRunning(act);
    }
    if (way.queue.length > 0) this.#wait(way, way.queue[0]!.at - now);
  }
}

export class SimNetwork {
  readonly clock: SimClock;
  readonly wires = new Set<Wire>();
  readonly #random: () => number;
  readonly #listening = new Map<string, Listening>();
  readonly #dead = new Set<Host>();
  #blocks: { from: Host; to: Host; until: number }[] = [];
  /** The longest time a frame takes. */
  latencyMs = 20;
  /** Addresses that lead nowhere: what is sent there gets lost, links that were made by them too. */
  readonly silent = new Set<string>();
  /** Somebody answers for all hosts that nothing listens there. */
  isLiedTo = false;
  /** How often a machine was asked whether a process still listens. */
  probes = 0;
  /** How often anything was dialed. */
  dials = 0;
  /** How many frames a new link carries before it breaks. */
  framesOfLink = (): number => Number.POSITIVE_INFINITY;
  /** Why links were refused, and how often. */
  readonly refusals = new Map<string, number>();

  constructor(clock: SimClock, random: () => number) {
    this.clock = clock;
    this.#random = random;
  }

  listen(address: string, host: Host, accept: (link: Link) => void): void {
    this.#listening.set(address, { host, accept });
  }

  unlisten(address: string): void {
    this.#listening.delete(address);
  }

  noteRefusal(frame: Uint8Array): void {
    const { code } = readRefused(codec, frame, 0, frame.length);
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  delay(): number {
    return this.#random() * this.latencyMs;
  }

  /** Nothing goes from one host to the other for so long. */
  block(from: Host, to: Host, forMs: number): void {
    this.#blocks.push({ from, to, until: this.clock.now() + forMs });
  }

  /** No way is blocked any longer. */
  heal(): void {
    this.#blocks = [];
  }

  blockedMs(from: Host, to: Host): number {
    const now = this.clock.now();
    const ends = this.#blocks.filter((block) => block.from === from && block.to === to).map(({ until }) => until - now);
    return Math.max(0, ...ends);
  }

  closed(wire: Wire): void {
    if (!wire.isOpen) this.wires.delete(wire);
  }

  /** A process ends: those it talked to hear so, and nobody listens at its addresses any more. */
  kill(host: Host): void {
    this.killSilently(host);
    for (const wire of this.wires) if (wire.joins(host)) wire.cut();
  }

  /** As over UDP: nobody hears of it. */
  killSilently(host: Host): void {
    host.clock.die();
    this.#dead.add(host);
    for (const [address, { host: owner }] of this.#listening) if (owner === host) this.#listening.delete(address);
  }

  async dial(from: Host, address: string, { timeoutMs = 5_000, signal }: DialOptions): Promise<Link> {
    this.dials++;
    await this.#wait(from, this.delay());
    const listening = this.#listening.get(address);
    const end = this.clock.now() + timeoutMs;
    for (;;) {
      if (signal?.aborted) throw new MeshError("CANCELLED", "cancelled");
      const to = this.#listening.get(address)?.host;
      const blocked = to ? Math.max(this.blockedMs(from, to), this.blockedMs(to, from)) : 0;
      if (blocked === 0 && !this.silent.has(address)) break;
      if (this.clock.now() + 200 >= end) throw new MeshError("TIMEOUT", `${address} did not answer`);
      await this.#wait(from, 200);
    }
    if (!listening || this.#listening.get(address) !== listening) {
      const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
      throw new MeshError("UNREACHABLE", `nothing listens on ${address}`, { cause });
    }
    return this.#connect(from, listening, address);
  }

  #connect(from: Host, { host, accept }: Listening, address: string): Link {
    const [mine, near] = memoryPair(`sim://${address}`);
    const [theirs, far] = memoryPair(`sim://${from.name}`);
    const wire = new Wire(this, from, host, [near, far], address);
    wire.framesLeft = this.framesOfLink();
    this.wires.add(wire);
    mine.probe = () => this.#probe(from, host, mine);
    theirs.probe = () => this.#probe(host, from, theirs);
    host.clock.whenRunning(() => accept(theirs));
    return mine;
  }

  #probe(asker: Host, asked: Host, link: Link): void {
    this.probes++;
    if (!this.#dead.has(asked) && !this.isLiedTo) return;
    void this.#wait(asker, 2 * this.delay()).then(() => link.destroy(new Error("nothing listens there any more")));
  }

  #wait(host: Host, ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, () => host.clock.whenRunning(resolve)));
  }
}
