// Relays by TCP, where routers let no UDP through: both nodes of a pair connect to one port, say their tokens, and two such
// connections become one stream. The nodes speak TLS with each other through it, and the relay sees its ciphertext.
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import type { PortRange } from "../config/port-range.ts";
import type { OpenRelay } from "./relays.ts";
import { type RefusedConnections, TcpDoor, TOKEN_BYTES } from "./tcp-door.ts";
import { listenTcp } from "./tcp-port.ts";
import { type TcpCounts, TcpRelay } from "./tcp-relay.ts";

export interface TcpRelayMetrics extends TcpCounts {
  refused: RefusedConnections;
}

export interface TcpRelayOptions {
  clock: Clock;
  host: string | undefined;
  ports: PortRange | undefined;
  /** What one pair may send in a second, both ways together. Default: no limit. */
  bytesPerSecond?: number | undefined;
}

/** What a token is for. */
interface Place {
  relay: TcpRelay;
  side: 0 | 1;
}

export class TcpRelays {
  readonly #options: TcpRelayOptions;
  readonly #door: TcpDoor;
  readonly #counts: TcpCounts = { pairs: 0, streams: 0, spliced: 0, bytes: 0 };
  readonly #places = new Map<string, Place>();
  #listener: ReturnType<typeof listenTcp> | undefined;

  constructor(options: TcpRelayOptions) {
    this.#options = options;
    this.#door = new TcpDoor(options.clock, (token, socket) => this.#admit(token, socket));
  }

  get metrics(): TcpRelayMetrics {
    for (const { relay } of this.#places.values()) relay.count();
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
    const { clock, bytesPerSecond } = this.#options;
    const relay = new TcpRelay({ pair, port, tokens, clock, bytesPerSecond, counts: this.#counts, ended, events });
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

function keyOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.length).toString("latin1");
}
