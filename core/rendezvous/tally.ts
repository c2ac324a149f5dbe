// What a rendezvous has done: for `mesh status`, and told to its log now and then, where it says nothing while it does nothing.
import type { Clock, Timer } from "../clock.ts";
import type { RendezvousReport } from "../coordinator/bodies.ts";
import type { Log } from "../log.ts";
import type { RendezvousMetrics } from "./rendezvous.ts";

const EVERY_MS = 60_000;

/** What the mesh is told of it. */
export function reportOf({ met, refused, pairs, udpRelay, tcpRelay }: RendezvousMetrics): RendezvousReport {
  return {
    introduced: met,
    relays: udpRelay.pairs + tcpRelay.pairs,
    bytes: udpRelay.bytes + tcpRelay.bytes,
    packets: udpRelay.packets,
    dropped: Object.values(udpRelay.dropped).reduce((sum, count) => sum + count, 0),
    overQuota: udpRelay.dropped.overQuota,
    refused,
    pairs: pairs.map(({ nodes: [first, second], bytes }) => ({ nodes: [first, second], bytes })),
  };
}

export class Tally {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #metrics: () => RendezvousMetrics;
  #told = 0;
  #timer: Timer | undefined;

  constructor(log: Log, clock: Clock, metrics: () => RendezvousMetrics) {
    this.#log = log;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#tellLater();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #tellLater(): void {
    this.#timer = this.#clock.after(EVERY_MS, () => {
      this.#tell();
      this.#tellLater();
    });
  }

  /** `relayed` are pairs at the moment; all others count from the beginning. */
  #tell(): void {
    const { introduced: met, relays: relayed, bytes: relayedBytes, dropped } = reportOf(this.#metrics());
    if (met + relayedBytes === this.#told) return;
    this.#told = met + relayedBytes;
    this.#log.info("rendezvous", { met, relayed, relayedBytes, dropped });
  }
}
