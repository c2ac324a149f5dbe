// How one side finds a way to the other: (event, now) -> effects. Knows time as a number that is handed in, packets as what they say,
// and sockets by their number; whoever runs it sends, opens and closes.
//
//            first way proven      30 ms since heard, or a better one   used
//   probing ------------------> waiting -----------------------> pressing ------> leaving -> done     the side that dials
//   probing ------------------------------------------------------> use comes -> done                 the side that listens
import { hostOf } from "../ip-address.ts";
import { type Crowd, guessPorts, openPorts, type Turn } from "./crowd.ts";
import type { Packet } from "./packet.ts";
import type { Method, Side } from "./prospects.ts";
import { type Way, Ways } from "./ways.ts";

/** Probes go out so often, at first and after 300 ms. */
const EAGER_MS = 20;
const PATIENT_MS = 100;
const EAGER_FOR_MS = 300;

/** A packet that came is answered by a probe at once, but not more often than this. */
const REPEAT_MS = 10;

/** After the first packet of the other those that take a better way should have come, too. */
const BETTER_MS = 30;

/** How often, and how long, the other is told which way to take, before it is taken for told. */
const USE_EVERY_MS = 20;
const USE_FOR_MS = 300;

/** Copies of the last word of the side that listens: it leaves with them and answers no more. */
const LAST_WORDS = 3;

/** The side that dials leaves so much later than the other, which has to listen on its port by then. */
const LISTEN_MS = 30;

/** Where something was heard already, the many ports wait so long for it to lead somewhere. */
const HOPE_MS = 600;

export type PunchEffect =
  | { kind: "send"; socket: number; to: string; packet: Packet }
  /** Open one more and say so with `opened`; if that fails, nothing. */
  | { kind: "open"; socket: number }
  | { kind: "done"; socket: number; remote: string }
  | { kind: "failed" };

export interface PunchSettings {
  method: Method;
  /** The other side, as it was introduced. */
  other: Side;
  /** Whether this side chooses. */
  dials: boolean;
  limitMs: number;
  /** With the methods of many ports: plain probes have so long before. */
  crowdAfterMs: number;
  /** From 0 up to 1. */
  random: () => number;
}

export class Puncher {
  readonly #settings: PunchSettings;
  readonly #ways: Ways;
  readonly #crowd: Crowd | undefined;
  readonly #beganAt: number;
  /** Probes by their number. */
  readonly #sent = new Map<number, { socket: number; remote: string; at: number }>();
  #effects: PunchEffect[] = [];
  #count = 0;
  #roundAt: number;
  #crowdAt: number;
  #heardAt = Number.POSITIVE_INFINITY;
  #chosen: Way | undefined;
  #pressAt = Number.POSITIVE_INFINITY;
  #leaveAt = Number.POSITIVE_INFINITY;
  #isOver = false;

  constructor(settings: PunchSettings, now: number) {
    const { method, other, random, crowdAfterMs } = settings;
    this.#settings = settings;
    this.#ways = new Ways(other);
    this.#crowd = crowdOf(method, this.#ways, random);
    this.#beganAt = now;
    this.#roundAt = now;
    this.#crowdAt = now + crowdAfterMs;
  }

  /** When to tick next. */
  get wakeAt(): number {
    if (this.#isOver) return Number.POSITIVE_INFINITY;
    if (this.#chosen) return Math.min(this.#pressAt, this.#leaveAt);
    const isChoosing = this.#settings.dials && this.#ways.proven.length > 0;
    const better = isChoosing ? this.#heardAt + BETTER_MS : Number.POSITIVE_INFINITY;
    const crowd = this.#crowd ? Math.max(this.#crowdAt, this.#crowd.dueAt) : Number.POSITIVE_INFINITY;
    return Math.min(this.#endAt, this.#roundAt, better, crowd);
  }

  /** Packets that were sent to find a way, and what came of them, for people. */
  get report(): string {
    const heard = this.#ways.all.filter(({ isHeard }) => isHeard).map(({ remote }) => remote);
    const proven = this.#ways.proven.map(({ remote }) => remote);
    const tried = [...new Set(this.#ways.all.map(({ remote }) => remote))].join(", ");
    const sent = `${this.#count} packets to ${tried || "no address"}${this.#crowdWords()}`;
    if (proven.length > 0) return `${sent}; packets go to ${proven.join(", ")} and back, but it did not choose a way`;
    if (heard.length > 0) return `${sent}; packets came from ${heard.join(", ")}, but none to it was answered`;
    return `${sent}; nothing came from it`;
  }

  get #endAt(): number {
    return this.#beganAt + this.#settings.limitMs;
  }

  /** Does what is due; the first tick begins. */
  tick(now: number): PunchEffect[] {
    if (this.#isOver) return [];
    if (this.#chosen) this.#press(now);
    else {
      if (now >= this.#roundAt) this.#round(now);
      if (this.#crowd && now >= this.#crowdAt) for (const turn of this.#crowd.take(now)) this.#turn(turn, now);
      this.#choose(now);
      if (!this.#chosen && now >= this.#endAt) this.#end({ kind: "failed" });
    }
    return this.#flush();
  }

  /** A socket that was asked for is open. */
  opened(socket: number, now: number): PunchEffect[] {
    if (!this.#isOver && !this.#chosen) this.#probeOutside(socket, now);
    return this.#flush();
  }

  /** A packet of the other, verified, came to that socket. */
  received(socket: number, from: string, { type, number }: Packet, now: number): PunchEffect[] {
    if (this.#isOver) return [];
    if (type === "probe") this.#probed(socket, from, number, now);
    else if (type === "answer") this.#answered(socket, from, number, now);
    else if (type === "use") this.#told(socket, from, number, now);
    else if (socket === this.#chosen?.socket && from === this.#chosen.remote) this.#leave(now);
    return this.#flush();
  }

  #probed(socket: number, from: string, number: number, now: number): void {
    this.#send(socket, from, { type: "answer", number });
    this.#probeSoon(this.#heard(socket, from, now), now);
  }

  #answered(socket: number, from: string, number: number, now: number): void {
    const way = this.#heard(socket, from, now);
    const sent = this.#sent.get(number);
    // From elsewhere than the probe went to: QUIC could not take that way, but a probe to there may be answered.
    if (!way || socket !== sent?.socket || from !== sent.remote) return;
    way.roundTripMs ??= now - sent.at;
    if (this.#settings.dials) this.#choose(now);
    else this.#yield(way);
  }

  #told(socket: number, from: string, number: number, now: number): void {
    const way = this.#settings.dials ? undefined : this.#heard(socket, from, now);
    if (!way) return;
    way.wish = number;
    this.#yield(way);
    if (!this.#isOver) this.#probeSoon(way, now);
  }

  /** Leaves by the way that the other wants, if that is proven: somebody may have sent on what he saw, from elsewhere. */
  #yield({ socket, remote, roundTripMs, wish }: Way): void {
    if (wish === undefined || roundTripMs === undefined) return;
    for (let i = 0; i < LAST_WORDS; i++) this.#send(socket, remote, { type: "used", number: wish });
    this.#end({ kind: "done", socket, remote });
  }

  #leave(now: number): void {
    // It left half a round trip ago.
    const restMs = LISTEN_MS - this.#chosen!.roundTripMs! / 2;
    this.#leaveAt = Math.min(this.#leaveAt, now + Math.max(0, restMs));
    this.#pressAt = Number.POSITIVE_INFINITY;
  }

  #heard(socket: number, from: string, now: number): Way | undefined {
    const way = this.#ways.learn(socket, from);
    if (!way || way.isHeard) return way;
    way.isHeard = true;
    // A probe that went there before came too early, perhaps.
    way.probedAt = Number.NEGATIVE_INFINITY;
    this.#heardAt = Math.min(this.#heardAt, now);
    if (now < this.#crowdAt) this.#crowdAt = Math.max(this.#crowdAt, now + HOPE_MS);
    return way;
  }

  #choose(now: number): void {
    const best = this.#ways.proven[0];
    if (!this.#settings.dials || this.#chosen || !best) return;
    const mayImprove = !best.isInside && this.#ways.hasInside && now < this.#heardAt + BETTER_MS;
    if (mayImprove && now < this.#endAt) return;
    this.#chosen = best;
    this.#leaveAt = now + USE_FOR_MS;
    this.#pressAt = now;
    this.#press(now);
  }

  #press(now: number): void {
    const { socket, remote } = this.#chosen!;
    if (now >= this.#leaveAt) this.#end({ kind: "done", socket, remote });
    if (this.#isOver || now < this.#pressAt) return;
    this.#pressAt = now + USE_EVERY_MS;
    this.#send(socket, remote, { type: "use", number: ++this.#count });
  }

  #round(now: number): void {
    this.#roundAt = now + (now - this.#beganAt < EAGER_FOR_MS ? EAGER_MS : PATIENT_MS);
    for (const way of this.#ways.all) this.#probe(way, now);
  }

  #turn(turn: Turn, now: number): void {
    if ("remote" in turn) this.#probeTo(0, turn.remote, now);
    else if (turn.isNew) this.#effects.push({ kind: "open", socket: turn.socket });
    else this.#probeOutside(turn.socket, now);
  }

  #probeOutside(socket: number, now: number): void {
    const to = this.#ways.named.at(-1);
    if (to !== undefined) this.#probeTo(socket, to, now);
  }

  #probeSoon(way: Way | undefined, now: number): void {
    if (way && !this.#chosen && now - way.probedAt >= REPEAT_MS) this.#probe(way, now);
  }

  #probe(way: Way, now: number): void {
    way.probedAt = now;
    this.#probeTo(way.socket, way.remote, now);
  }

  #probeTo(socket: number, remote: string, now: number): void {
    const number = ++this.#count;
    this.#sent.set(number, { socket, remote, at: now });
    this.#send(socket, remote, { type: "probe", number });
  }

  #send(socket: number, to: string, packet: Packet): void {
    this.#effects.push({ kind: "send", socket, to, packet });
  }

  #end(effect: PunchEffect): void {
    this.#isOver = true;
    this.#effects.push(effect);
  }

  #flush(): PunchEffect[] {
    return this.#effects.splice(0);
  }

  #crowdWords(): string {
    const { method } = this.#settings;
    if (method === "open-ports") return ", from many ports";
    return method === "guess-ports" ? `, and to many ports of ${hostOf(this.#ways.named.at(-1) ?? "")}` : "";
  }
}

function crowdOf(method: Method, { named }: Ways, random: () => number): Crowd | undefined {
  if (named.length === 0) return undefined;
  if (method === "open-ports") return openPorts();
  return method === "guess-ports" ? guessPorts(named, random) : undefined;
}
