// Relays by TCP, where routers let no UDP through: both nodes of a pair connect to one port, say their tokens, and two such
// connections become one stream. The nodes speak TLS with each other through it, and the relay sees its ciphertext.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import { splice } from "../tether/splice.ts";
import type { OpenRelay, Pair, PairRelay, RelayEvents } from "./relays.ts";
import { type RefusedConnections, TcpDoor, TOKEN_BYTES } from "./tcp-door.ts";
import { listenTcp } from "./tcp-port.ts";
import { WaitingConnection } from "./tcp-waiting.ts";
import type { PortRange } from "./udp-port.ts";
import { IDLE_MS } from "./udp-relay.ts";

/** Connections of one side that wait for one of the other. */
const WAITING = 8;
/** Streams of one pair at once: a session's two lanes, and those that replace them. */
const STREAMS = 8;

export interface TcpRelayMetrics {
  pairs: number;
  /** Now, and since the beginning. */
  streams: number;
  spliced: number;
  bytes: number;
  refused: RefusedConnections;
}

export interface TcpRelayOptions {
  clock: Clock;
  host: string | undefined;
  ports: PortRange | undefined;
}

/** What a token is for. */
interface Place {
  relay: TcpRelay;
  side: 0 | 1;
}

type Counts = Pick<TcpRelayMetrics, "pairs" | "streams" | "spliced" | "bytes">;

export class TcpRelays {
  readonly #options: TcpRelayOptions;
  readonly #door: TcpDoor;
  readonly #counts: Counts = { pairs: 0, streams: 0, spliced: 0, bytes: 0 };
  readonly #places = new Map<string, Place>();
  #listener: ReturnType<typeof listenTcp> | undefined;

  constructor(options: TcpRelayOptions) {
    this.#options = options;
    this.#door = new TcpDoor(options.clock, (token, socket) => this.#admit(token, socket));
  }

  get metrics(): TcpRelayMetrics {
    return { ...this.#counts, refused: { ...this.#door.refused } };
  }

  /** Throws FULL or UNREACHABLE when there is no port to listen on. */
  readonly open: OpenRelay = async (pair, events) => {
    const { port } = await this.#listen();
    const tokens = [randomBytes(TOKEN_BYTES), randomBytes(TOKEN_BYTES)] as const;
    const ended = () => {
      for (const token of tokens) this.#places.delete(keyOf(token));
      this.#counts.pairs--;
    };
    const relay = new TcpRelay({ pair, port, tokens, clock: this.#options.clock, counts: this.#counts, ended, events });
    tokens.forEach((token, side) => void this.#places.set(keyOf(token), { relay, side: side as 0 | 1 }));
    this.#counts.pairs++;
    return relay;
  };

  async close(): Promise<void> {
    this.#door.close();
    for (const { relay } of this.#places.values()) relay.close();
    (await this.#listener?.catch(() => undefined))?.close();
  }

  #listen(): ReturnType<typeof listenTcp> {
    const { host, ports } = this.#options;
    this.#listener ??= listenTcp(host, ports, (socket) => this.#door.enter(socket)).catch((error) => {
      this.#listener = undefined; // the next one may have more luck
      throw error;
    });
    return this.#listener;
  }

  #admit(token: Uint8Array, socket: Socket): boolean {
    const place = this.#places.get(keyOf(token));
    return place?.relay.take(place.side, socket) ?? false;
  }
}

interface TcpRelayParts {
  pair: Pair;
  port: number;
  /** In the order of the pair. */
  tokens: readonly [Uint8Array, Uint8Array];
  clock: Clock;
  counts: Counts;
  /** Called once, however it ends. */
  ended(): void;
  events: RelayEvents;
}

class TcpRelay implements PairRelay {
  readonly #parts: TcpRelayParts;
  readonly #waiting: [Set<WaitingConnection>, Set<WaitingConnection>] = [new Set(), new Set()];
  readonly #streams = new Set<Stream>();
  #timer: Timer | undefined;
  #usedAt: number;
  #isClosed = false;

  constructor(parts: TcpRelayParts) {
    this.#parts = parts;
    this.#usedAt = parts.clock.now();
    this.#watch(IDLE_MS);
  }

  placeOf(node: number): { port: number; token: Uint8Array } {
    const { pair, port, tokens } = this.#parts;
    return { port, token: tokens[pair.indexOf(node)]! };
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
    const [first] = this.#waiting[1 - side]!;
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
    const { counts } = this.#parts;
    const { socket, early } = first.take();
    for (const bytes of early) second.write(bytes);
    const stream = new Stream(socket, second);
    this.#streams.add(stream);
    counts.streams++;
    counts.spliced++;
    await stream.over;
    this.#streams.delete(stream);
    counts.streams--;
    counts.bytes += stream.newBytes();
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
    const bytes = stream.newBytes();
    this.#parts.counts.bytes += bytes;
    if (bytes > 0) this.renew();
    else stream.end();
  }
}

/** Two connections that are one. */
class Stream {
  readonly over: Promise<void>;
  readonly #ends: [Socket, Socket];
  #counted = 2 * TOKEN_BYTES;

  constructor(...ends: [Socket, Socket]) {
    this.#ends = ends;
    this.over = splice(...ends);
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

function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString("latin1");
}
