// A UDP port that is to lead to one other node: real sockets for what echo-asker.ts and puncher.ts decide.
import { systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { hostOf } from "../ip-address.ts";
import { RateLimit } from "../rate-limit.ts";
import { kindOfPort, type PortKind } from "./echo-client.ts";
import type { EchoPlace, Hole, Meeting, OwnPlace, PunchPort, TryOptions } from "./hole.ts";
import { Sealer } from "./packet.ts";
import { type Method, prospectsOf, WORTH_MS } from "./prospects.ts";
import { type PunchEffect, Puncher } from "./puncher.ts";
import { RawPort } from "./raw-port.ts";
import { runUntil } from "./run.ts";

/** Plain probes have so long before many ports are tried, or three round trips to the rendezvous. */
const CROWD_AFTER_MS = 300;

/** Attempts with many ports that this process makes at once; others try plain probes alone. Each has some hundred open files, or packets in a second. */
const CROWDS_AT_ONCE = 4;
let crowds = 0;

/** Packets that this process sends to one host, and to all, in a second, to make holes: where to, others say, and may lie. Guessing ports takes 500. */
const sending = new RateLimit({ each: 2_500, all: 10_000 });

/** Opens a port and asks the places what it looks like from there; gives up asking after `limitMs`. */
export async function openPunchPort(places: readonly EchoPlace[], options: TryOptions): Promise<PunchPort> {
  const port = await RawPort.open();
  try {
    return new OpenedPort(port, await kindOfPort(port, places, options));
  } catch (error) {
    port.close();
    throw error;
  }
}

class OpenedPort implements PunchPort {
  readonly #port: RawPort;
  readonly #kind: PortKind;
  readonly #closing = new AbortController();

  constructor(port: RawPort, kind: PortKind) {
    this.#port = port;
    this.#kind = kind;
  }

  get place(): OwnPlace {
    const { candidates, mapping } = this.#kind;
    return { candidates, mapping };
  }

  async punch(meeting: Meeting, { signal, limitMs }: TryOptions): Promise<Hole> {
    const ends = [this.#closing.signal, ...(signal ? [signal] : [])];
    try {
      const prospects = prospectsOf(this.#kind, meeting);
      if ("why" in prospects) throw new MeshError("UNREACHABLE", `no way by UDP was tried: ${prospects.why}`);
      using attempt = new Attempt(this.#port, this.#kind, meeting, { method: prospects.method, limitMs });
      return await attempt.run(AbortSignal.any(ends));
    } finally {
      this.#port.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#port.close();
  }
}

/** The sockets of one attempt, closed with it. */
class Attempt implements Disposable {
  readonly #ports = new Map<number, RawPort>();
  readonly #sealer: Sealer;
  readonly #puncher: Puncher;
  readonly #limitMs: number;
  readonly #mappings: string;
  readonly #hasCrowd: boolean;
  #isOver = false;
  #wake: () => void = () => {};
  #end: Hole | MeshError | undefined;

  constructor(port: RawPort, own: PortKind, meeting: Meeting, wish: { method: Method; limitMs: number }) {
    const { dials, candidates, mapping } = meeting;
    const method = hasCrowd(wish.method) && crowds >= CROWDS_AT_ONCE ? "plain" : wish.method;
    this.#hasCrowd = hasCrowd(method);
    if (this.#hasCrowd) crowds++;
    this.#limitMs = Math.min(wish.limitMs, WORTH_MS[method]);
    this.#mappings = `${own.mapping} here, ${mapping} there`;
    this.#sealer = new Sealer(meeting);
    const crowdAfterMs = Math.max(CROWD_AFTER_MS, 3 * (own.roundTripMs ?? 0));
    const settings = { method, other: { candidates, mapping }, dials, limitMs: this.#limitMs, crowdAfterMs };
    this.#puncher = new Puncher({ ...settings, random: Math.random }, systemClock.now());
    this.#use(0, port);
  }

  async run(signal: AbortSignal): Promise<Hole> {
    return await runUntil<Hole>(systemClock, signal, (wake) => {
      this.#wake = wake;
      return { tick: (now) => this.#tick(now), wakeAt: () => this.#puncher.wakeAt };
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    if (this.#hasCrowd) crowds--;
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
  }

  #tick(now: number): Hole | undefined {
    this.#do(this.#puncher.tick(now));
    if (this.#end instanceof MeshError) throw this.#end;
    return this.#end;
  }

  #use(socket: number, port: RawPort): void {
    this.#ports.set(socket, port);
    port.received = (from, bytes) => {
      const packet = this.#sealer.open(bytes);
      if (!packet) return;
      this.#do(this.#puncher.received(socket, from, packet, systemClock.now()));
      this.#wake();
    };
  }

  #do(effects: readonly PunchEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "send") this.#send(effect);
      else if (effect.kind === "open") void this.#open(effect.socket);
      else if (effect.kind === "done") this.#end = this.#hole(effect.socket, effect.remote);
      else this.#end = this.#failure();
    }
  }

  #send({ socket, to, packet }: PunchEffect & { kind: "send" }): void {
    if (!sending.take(hostOf(to), systemClock.now())) return; // as if it were lost
    this.#ports.get(socket)?.send(to, this.#sealer.seal(packet));
  }

  async #open(socket: number): Promise<void> {
    // One that cannot be had is one chance less.
    const port = await RawPort.open().catch(() => undefined);
    if (!port) return;
    if (this.#isOver) return port.close();
    this.#use(socket, port);
    this.#do(this.#puncher.opened(socket, systemClock.now()));
  }

  #hole(socket: number, remote: string): Hole {
    return { localPort: this.#ports.get(socket)!.number, remote };
  }

  #failure(): MeshError {
    const words = `no way by UDP was found within ${this.#limitMs} ms: ${this.#puncher.report}`;
    return new MeshError("UNREACHABLE", `${words} (mapping of ports by routers: ${this.#mappings})`);
  }
}

function hasCrowd(method: Method): boolean {
  return method === "open-ports" || method === "guess-ports";
}
