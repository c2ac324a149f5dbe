// Relays by UDP: two ports for each pair of nodes. What comes in at the one goes out at the other as it is, so that the nodes
// speak QUIC with each other, end to end, and the relay sees its ciphertext.
import type { Clock, Timer } from "../clock.ts";
import { ByteRate } from "./byte-rate.ts";
import type { EchoGate } from "./echo-gate.ts";
import type { Members } from "./members.ts";
import { type DroppedPackets, RelaySide, type SideContext } from "./relay-side.ts";
import { IDLE_MS, type OpenRelay, type Pair, type PairRelay } from "./relays.ts";
import type { UdpPorts } from "./udp-port.ts";

export interface UdpRelayMetrics {
  pairs: number;
  /** What was forwarded since the beginning. */
  packets: number;
  bytes: number;
  dropped: DroppedPackets;
}

export interface UdpRelayOptions {
  clock: Clock;
  ports: UdpPorts;
  members: Members;
  gate: EchoGate;
  /** What one pair may send in a second, both ways together. Default: no limit. */
  bytesPerSecond?: number | undefined;
}

export class UdpRelays {
  readonly metrics: UdpRelayMetrics = {
    ...{ pairs: 0, packets: 0, bytes: 0 },
    dropped: { stranger: 0, contested: 0, early: 0, silent: 0, overQuota: 0, unsent: 0 },
  };
  readonly #options: UdpRelayOptions;

  constructor(options: UdpRelayOptions) {
    this.#options = options;
  }

  /** Throws FULL or UNREACHABLE when there are no two ports. */
  readonly open: OpenRelay = async (pair, { over }) =>
    await UdpRelay.open({ ...this.#options, pair, metrics: this.metrics, over });
}

interface UdpRelayParts extends UdpRelayOptions {
  pair: Pair;
  metrics: UdpRelayMetrics;
  over(): void;
}

class UdpRelay implements PairRelay {
  readonly #parts: UdpRelayParts;
  readonly #sides: RelaySide[] = [];
  #timer: Timer | undefined;
  #isClosed = false;
  #usedAt: number;
  #bytes = 0;
  readonly #rate: ByteRate | undefined;

  private constructor(parts: UdpRelayParts) {
    this.#parts = parts;
    const { bytesPerSecond } = parts;
    this.#rate = bytesPerSecond === undefined ? undefined : new ByteRate(bytesPerSecond);
    this.#usedAt = parts.clock.now();
  }

  static async open(parts: UdpRelayParts): Promise<UdpRelay> {
    const relay = new UdpRelay(parts);
    const open = async (side: 0 | 1) =>
      void relay.#sides.push(await RelaySide.open(parts.ports, relay.#contextOf(side)));
    await open(0);
    try {
      await open(1);
    } catch (error) {
      relay.#sides[0]!.close();
      throw error;
    }
    parts.metrics.pairs++;
    relay.#watch(IDLE_MS);
    return relay;
  }

  placeOf(node: number): { port: number } {
    return { port: this.#sides[this.#parts.pair.indexOf(node)]!.port };
  }

  get bytes(): number {
    return this.#bytes;
  }

  renew(): void {
    this.#usedAt = this.#parts.clock.now();
    for (const side of this.#sides) side.renew();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.metrics.pairs--;
    this.#timer?.cancel();
    for (const side of this.#sides) side.close();
  }

  #contextOf(index: 0 | 1): SideContext {
    const { members, gate, clock, metrics, pair } = this.#parts;
    const node = pair[index];
    return {
      dropped: metrics.dropped,
      now: () => clock.now(),
      isOwn: (host) => members.get(node)?.hosts.has(host) ?? false,
      echoOf: (bytes, port, host) => {
        const echo = gate.take(bytes, host, port, clock.now());
        return echo?.member.node === node ? echo : undefined;
      },
      forward: (bytes, now) => this.#forward(bytes, now, 1 - index),
    };
  }

  #forward(bytes: Uint8Array, now: number, to: number): void {
    this.#usedAt = now;
    const { metrics } = this.#parts;
    if (this.#rate && !this.#rate.take(bytes.length, now)) {
      metrics.dropped.overQuota++;
      return;
    }
    this.#bytes += bytes.length;
    metrics.packets++;
    metrics.bytes += bytes.length;
    this.#sides[to]?.deliver(bytes, now);
  }

  #watch(afterMs: number): void {
    const { clock } = this.#parts;
    this.#timer = clock.after(afterMs, () => {
      const left = this.#usedAt + IDLE_MS - clock.now();
      if (left > 0) return this.#watch(left);
      this.close();
      this.#parts.over();
    });
  }
}
