// Counts the links that are in their handshake, so that others cannot fill this process with links that say nothing, nor
// keep it from those who have something to say. Pure bookkeeping under a Clock.
import type { Clock } from "../clock.ts";

export interface AdmissionLimits {
  /** Links in their handshake at once, from one remote address. Default 100. */
  perAddress: number;
  /** The same from all. Default 1,000. */
  inAll: number;
}

export const DEFAULT_ADMISSION: AdmissionLimits = { perAddress: 100, inAll: 1_000 };

/**
 * A handshake older than this gives up its place when a new link needs it: so whoever says nothing cannot keep others
 * out for long, and a burst of honest links does not push itself out. Handshakes of honest peers take milliseconds.
 */
const YIELDS_AFTER_MS = 500;

interface Place {
  address: string;
  since: number;
  yield(): void;
}

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  /** In the order they came. */
  readonly #places = new Set<Place>();
  readonly #byAddress = new Map<string, Set<Place>>();

  constructor(limits: AdmissionLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /**
   * Counts a link of that label in, until the function it returns is called; undefined when there are too many. `yields` is
   * called when another one is to have its place: it must lead to that call.
   */
  enter(label: string, yields: () => void): (() => void) | undefined {
    const address = remoteOf(label);
    const { perAddress, inAll } = this.#limits;
    const hasRoom = () =>
      this.#makeRoom(this.#byAddress.get(address), perAddress) && this.#makeRoom(this.#places, inAll);
    if (!hasRoom()) return undefined;
    const place: Place = { address, since: this.#clock.now(), yield: yields };
    this.#places.add(place);
    const siblings = this.#byAddress.get(address);
    if (siblings) siblings.add(place);
    else this.#byAddress.set(address, new Set([place]));
    return () => this.#leave(place);
  }

  #makeRoom(among: Set<Place> | undefined, limit: number): boolean {
    if (!among || among.size < limit) return true;
    const [oldest] = among;
    if (!oldest || this.#clock.now() - oldest.since < YIELDS_AFTER_MS) return false;
    this.#leave(oldest);
    oldest.yield();
    return true;
  }

  #leave(place: Place): void {
    if (!this.#places.delete(place)) return;
    const siblings = this.#byAddress.get(place.address)!;
    siblings.delete(place);
    if (siblings.size === 0) this.#byAddress.delete(place.address);
  }
}

/** A label without the port, which is another one for each connection: "tcp://10.0.0.5:40312" is "tcp://10.0.0.5". */
function remoteOf(label: string): string {
  return label.replace(/:\d+$/, "");
}
