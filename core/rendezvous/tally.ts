// What a rendezvous has done, told to its log now and then: while it does nothing it says nothing.
import type { Clock, Timer } from "../clock.ts";
import type { Log } from "../log.ts";
import type { RendezvousMetrics } from "./rendezvous.ts";

const EVERY_MS = 60_000;

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
    const { met, udpRelay, tcpRelay } = this.#metrics();
    const relayedBytes = udpRelay.bytes + tcpRelay.bytes;
    if (met + relayedBytes === this.#told) return;
    this.#told = met + relayedBytes;
    const dropped = Object.values(udpRelay.dropped).reduce((sum, count) => sum + count, 0);
    this.#log.info("rendezvous", { met, relayed: udpRelay.pairs + tcpRelay.pairs, relayedBytes, dropped });
  }
}
