// One relay by TCP: connections of both nodes of a pair become streams, two by two.
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import { splice } from "../tether/splice.ts";
import { ByteRate } from "./byte-rate.ts";
import { pacedStream } from "./paced.ts";
import { IDLE_MS, type Pair, type PairRelay, type RelayEvents } from "./relays.ts";
import { TOKEN_BYTES } from "./tcp-door.ts";
import { WaitingConnection } from "./tcp-waiting.ts";

/** Connections of one side that wait for one of the other. */
const WAITING = 8;
/** Streams of one pair at once: a session's two lanes, and those that replace them. */
const STREAMS = 8;

/** What relays by TCP did. */
export interface TcpCounts {
  pairs: number;
  /** Now, and since the beginning. */
  streams: number;
  spliced: number;
  bytes: number;
}

interface TcpRelayParts {
  pair: Pair;
  port: number;
  /** In the order of the pair. */
  tokens: readonly [Uint8Array, Uint8Array];
  clock: Clock;
  counts: TcpCounts;
  /** What the pair may send in a second, both ways together. Default: no limit. */
  bytesPerSecond: number | undefined;
  /** Called once, however it ends. */
  ended(): void;
  events: RelayEvents;
}

export class TcpRelay implements PairRelay {
  readonly #parts: TcpRelayParts;
  readonly #waiting: [Set<WaitingConnection>, Set<WaitingConnection>] = [new Set(), new Set()];
  readonly #streams = new Set<Stream>();
  #timer: Timer | undefined;
  readonly #rate: ByteRate | undefined;
  #usedAt: number;
  #bytes = 0;
  #isClosed = false;

  constructor(parts: TcpRelayParts) {
    this.#parts = parts;
    const { clock, bytesPerSecond } = parts;
    this.#rate = bytesPerSecond === undefined ? undefined : new ByteRate(bytesPerSecond);
    this.#usedAt = clock.now();
    this.#watch(IDLE_MS);
  }

  placeOf(node: number): { port: number; token: Uint8Array } {
    const { pair, port, tokens } = this.#parts;
    return { port, token: tokens[pair.indexOf(node)]! };
  }

  get bytes(): number {
    this.count();
    return this.#bytes;
  }

  /** Adds what came since the last time. */
  count(): void {
    for (const stream of this.#streams) this.#count(stream);
  }

  renew(): void {
    this.#usedAt = this.#parts.clock.now();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { socket } of this.#waiting.flatMap((side) => [...side])) socket.destroy();
    for (const stream of this.#streams) stream.end();
    this.#parts.ended();
  }

  /** A connection of that side: it gets one of the other, or waits for it. False when there are too many. */
  take(side: 0 | 1, socket: Socket): boolean {
    this.renew();
    const first = [...this.#waiting[1 - side]!].find(({ socket: other }) => !other.destroyed);
    if (!first) this.#wait(side, socket);
    else if (this.#streams.size >= STREAMS) return false;
    else {
      this.#waiting[1 - side]!.delete(first);
      void this.#join(first, socket);
    }
    return true;
  }

  #wait(side: 0 | 1, socket: Socket): void {
    const { clock, events } = this.#parts;
    const waiting = this.#waiting[side];
    const [oldest] = waiting;
    if (oldest && waiting.size >= WAITING) {
      waiting.delete(oldest);
      oldest.take().socket.destroy();
    }
    waiting.add(new WaitingConnection(socket, clock, IDLE_MS, (gone) => void waiting.delete(gone)));
    if (side === 0) events.missing();
  }

  async #join(first: WaitingConnection, second: Socket): Promise<void> {
    const { counts, clock } = this.#parts;
    const { socket, early } = first.take();
    const rate = this.#rate;
    for (const bytes of early) {
      second.write(bytes);
      rate?.spend(bytes.length, clock.now());
    }
    const stream = new Stream(socket, second, clock.now(), rate && (() => pacedStream(rate, clock)));
    this.#streams.add(stream);
    counts.streams++;
    counts.spliced++;
    await stream.over;
    this.#streams.delete(stream);
    counts.streams--;
    this.#count(stream);
    this.renew();
  }

  #watch(afterMs: number): void {
    const { clock } = this.#parts;
    this.#timer = clock.after(afterMs, () => {
      for (const stream of this.#streams) this.#check(stream);
      const left = this.#usedAt + IDLE_MS - clock.now();
      if (left > 0) return this.#watch(left);
      this.close();
      this.#parts.events.over();
    });
  }

  #check(stream: Stream): void {
    this.#count(stream);
    if (this.#parts.clock.now() - stream.usedAt >= IDLE_MS) stream.end();
    else this.renew();
  }

  #count(stream: Stream): void {
    const bytes = stream.newBytes();
    this.#bytes += bytes;
    this.#parts.counts.bytes += bytes;
    if (bytes > 0) stream.usedAt = this.#parts.clock.now();
  }
}

/** Two connections that are one. */
class Stream {
  readonly over: Promise<void>;
  /** When something came last, as far as it was looked at. */
  usedAt: number;
  readonly #ends: readonly [Socket, Socket];
  #counted = 2 * TOKEN_BYTES;

  constructor(a: Socket, b: Socket, now: number, through: (() => Duplex) | undefined) {
    this.#ends = [a, b];
    this.usedAt = now;
    this.over = splice(a, b, through);
  }

  /** Bytes that came since the last call, from both ends. */
  newBytes(): number {
    const [a, b] = this.#ends;
    const all = a.bytesRead + b.bytesRead;
    const added = all - this.#counted;
    this.#counted = all;
    return added;
  }

  end(): void {
    for (const socket of this.#ends) socket.destroy();
  }
}
