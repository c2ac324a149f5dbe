// A node of the simulated internet, which finds its candidates and punches as a real one does, with the same machines.
import { randomBytes } from "node:crypto";
import { hostOf, portOf } from "../../core/ip-address.ts";
import { candidatesOf } from "../../core/punch/candidates.ts";
import { EchoAsker } from "../../core/punch/echo-asker.ts";
import type { EchoPlace, Hole, Meeting } from "../../core/punch/hole.ts";
import { judgeMapping } from "../../core/punch/mapping.ts";
import { Sealer } from "../../core/punch/packet.ts";
import { type Method, prospectsOf, type Side, WORTH_MS } from "../../core/punch/prospects.ts";
import { type PunchEffect, Puncher } from "../../core/punch/puncher.ts";
import { encodeEchoAnswer, isEchoRequest, isEchoSigned, readEchoRequest } from "../../core/rendezvous/echo.ts";
import type { NatNetwork, SimHost, SimPacket } from "./nat-network.ts";

export const ECHO_HOST = "192.0.2.1";
const ECHO_PORTS = [7_451, 7_452];

/** A place of the simulated internet that answers echoes. */
export function placeEcho(network: NatNetwork): EchoPlace {
  const place = { host: ECHO_HOST, ports: ECHO_PORTS, id: new Uint8Array(16), key: new Uint8Array(32).fill(7) };
  network.place(ECHO_HOST, ({ from, to, bytes }) => {
    if (!isEchoRequest(bytes) || !isEchoSigned(bytes, place.key)) return;
    const { transaction, fromOtherPort } = readEchoRequest(bytes);
    const port = fromOtherPort ? ECHO_PORTS.find((each) => each !== portOf(to))! : portOf(to);
    const seen = { host: hostOf(from), port: portOf(from) };
    const answer = encodeEchoAnswer({ transaction, ...seen, fromOtherPort }, place.key);
    network.carry({ from: `${ECHO_HOST}:${port}`, to: from, bytes: answer });
  });
  return place;
}

export class NatNode {
  readonly #network: NatNetwork;
  readonly #host: SimHost;
  readonly #ports: number[] = [];
  #puncher: Puncher | undefined;
  #sealer: Sealer | undefined;
  #asker: EchoAsker | undefined;
  side: Side | undefined;
  hole: Hole | undefined;
  /** Why there is none. */
  failure: string | undefined;
  endedAt: number | undefined;

  constructor(network: NatNetwork, host: SimHost) {
    this.#network = network;
    this.#host = host;
    this.#ports.push(host.open((packet) => this.#received(0, packet)));
  }

  get localPort(): number {
    return this.#ports[0]!;
  }

  /** Ports it had open at once. */
  get portsUsed(): number {
    return this.#ports.length;
  }

  /** Packets that its machine has sent and others not; for reports. */
  get report(): string {
    return this.#puncher?.report ?? "nothing was tried";
  }

  ask(place: EchoPlace, limitMs = 1_500): void {
    const questions = place.ports.map((port) => {
      const transaction = randomBytes(8);
      return { place, port, fromOtherPort: false, transaction };
    });
    this.#asker = new EchoAsker(questions, { limitMs, own: this.#own }, this.#now);
    this.#tickAsker();
  }

  meet(meeting: Meeting): void {
    const prospects = prospectsOf(this.side!, meeting);
    if ("why" in prospects) this.#end(undefined, prospects.why);
    else this.#punch(meeting, prospects.method);
  }

  #punch(meeting: Meeting, method: Method): void {
    const { candidates, mapping, dials } = meeting;
    this.#sealer = new Sealer(meeting);
    const settings = { method, other: { candidates, mapping }, dials, limitMs: WORTH_MS[method], crowdAfterMs: 300 };
    this.#puncher = new Puncher({ ...settings, random: this.#network.random }, this.#now);
    this.#tickPuncher();
  }

  get #own(): string[] {
    return [`${this.#host.host}:${this.localPort}`];
  }

  get #now(): number {
    return this.#network.clock.now();
  }

  #tickAsker(): void {
    const asker = this.#asker!;
    if (this.side) return;
    for (const { to, bytes } of asker.tick(this.#now)) this.#host.send(this.localPort, to, bytes);
    if (asker.isDone(this.#now)) this.#judge(asker);
    else this.#network.clock.after(asker.wakeAt - this.#now, () => this.#tickAsker());
  }

  #judge(asker: EchoAsker): void {
    const seen = asker.answers.map((answer) => answer.seen);
    const candidates = candidatesOf(this.localPort, [this.#host.host], seen);
    this.side = { candidates, mapping: judgeMapping(asker.answers, this.#own, ECHO_PORTS.length) };
  }

  #tickPuncher(): void {
    if (this.endedAt !== undefined) return;
    this.#do(this.#puncher!.tick(this.#now));
    const waitMs = this.#puncher!.wakeAt - this.#now;
    if (Number.isFinite(waitMs)) this.#network.clock.after(waitMs, () => this.#tickPuncher());
  }

  #received(socket: number, { from, bytes }: SimPacket): void {
    if (!this.#sealer) {
      this.#asker?.received(bytes, this.#now);
      if (this.#asker && !this.side) this.#tickAsker();
      return;
    }
    const packet = this.#sealer.open(bytes);
    if (packet && this.endedAt === undefined) this.#do(this.#puncher!.received(socket, from, packet, this.#now));
    this.#tickPuncher();
  }

  #do(effects: readonly PunchEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "send") {
        this.#host.send(this.#ports[effect.socket]!, effect.to, this.#sealer!.seal(effect.packet));
      } else if (effect.kind === "open") {
        this.#ports[effect.socket] = this.#host.open((packet) => this.#received(effect.socket, packet));
        this.#do(this.#puncher!.opened(effect.socket, this.#now));
      } else if (effect.kind === "done") {
        this.#end({ localPort: this.#ports[effect.socket]!, remote: effect.remote });
      } else this.#end(undefined, this.report);
    }
  }

  #end(hole: Hole | undefined, failure?: string): void {
    this.hole = hole;
    this.failure = failure;
    this.endedAt = this.#now;
    for (const port of this.#ports) this.#host.close(port);
  }
}
