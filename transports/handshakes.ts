// Strangers at the door: connections that were accepted and have not finished TLS. Each has a few seconds; there is room
// for so many from one address and so many in all. Pure bookkeeping under a Clock.
import type { Clock, Timer } from "../core/clock.ts";

export interface HandshakeLimits {
  /** Milliseconds from connecting to the end of TLS. Default 5,000. */
  timeoutMs: number;
  /** Unfinished handshakes from one address (IPv6: from one /64). Default 64. */
  perAddress: number;
  /** Unfinished handshakes in all. Default 1,024. */
  total: number;
}

export const HANDSHAKE_LIMITS: HandshakeLimits = { timeoutMs: 5_000, perAddress: 64, total: 1_024 };

/**
 * A handshake older than this gives up its place when a new one needs it: so whoever connects and says nothing cannot
 * keep the others out for long, and a burst of honest ones does not push itself out.
 */
const YIELDS_AFTER_MS = 500;

export type AbortReason = "timeout" | "full";

/** One unfinished handshake. */
export interface Handshake {
  readonly host: string;
  readonly since: number;
  /** Called when it has to end. */
  abort(reason: AbortReason): void;
}

export class Handshakes {
  readonly #limits: HandshakeLimits;
  readonly #clock: Clock;
  /** In the order they came: the first one's time is over first. */
  readonly #open = new Set<Handshake>();
  readonly #byHost = new Map<string, Set<Handshake>>();
  #timer: Timer | undefined;

  constructor(limits: HandshakeLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Undefined when there is no room: the connection is to be closed at once. */
  begin(host: string, abort: (reason: AbortReason) => void): Handshake | undefined {
    const ofHost = this.#byHost.get(host);
    if (ofHost && ofHost.size >= this.#limits.perAddress && !this.#makeRoom(ofHost)) return undefined;
    if (this.#open.size >= this.#limits.total && !this.#makeRoom(this.#open)) return undefined;
    const handshake: Handshake = { host, since: this.#clock.now(), abort };
    this.#open.add(handshake);
    const siblings = this.#byHost.get(host);
    if (siblings) siblings.add(handshake);
    else this.#byHost.set(host, new Set([handshake]));
    this.#watch();
    return handshake;
  }

  /** It is over, whichever way. False when it was before. */
  end(handshake: Handshake): boolean {
    if (!this.#open.delete(handshake)) return false;
    const siblings = this.#byHost.get(handshake.host);
    siblings?.delete(handshake);
    if (siblings?.size === 0) this.#byHost.delete(handshake.host);
    if (this.#open.size === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    return true;
  }

  /** Aborts all. */
  clear(): void {
    for (const handshake of this.#open) this.#abort(handshake, "full");
  }

  #makeRoom(among: Set<Handshake>): boolean {
    const [oldest] = among;
    if (!oldest || this.#clock.now() - oldest.since < YIELDS_AFTER_MS) return false;
    this.#abort(oldest, "full");
    return true;
  }

  #abort(handshake: Handshake, reason: AbortReason): void {
    this.end(handshake);
    handshake.abort(reason);
  }

  #watch(): void {
    const [oldest] = this.#open;
    if (this.#timer || !oldest) return;
    const leftMs = oldest.since + this.#limits.timeoutMs - this.#clock.now();
    this.#timer = this.#clock.after(Math.max(0, leftMs), () => {
      this.#timer = undefined;
      for (const handshake of this.#open) {
        if (this.#clock.now() - handshake.since < this.#limits.timeoutMs) break;
        this.#abort(handshake, "timeout");
      }
      this.#watch();
    });
  }
}
