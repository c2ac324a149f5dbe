// Counts the links that are in their handshake, so that strangers cannot fill this process with links that say nothing.

export interface AdmissionLimits {
  /** Links in their handshake at once, from one remote address. Default 100. */
  perAddress: number;
  /** The same from all. Default 1,000. */
  inAll: number;
}

export const DEFAULT_ADMISSION: AdmissionLimits = { perAddress: 100, inAll: 1_000 };

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #byAddress = new Map<string, number>();
  #inAll = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Counts a link of that label in, until the function it returns is called; undefined when there are too many. */
  enter(label: string): (() => void) | undefined {
    const address = remoteOf(label);
    const count = this.#byAddress.get(address) ?? 0;
    if (count >= this.#limits.perAddress || this.#inAll >= this.#limits.inAll) return undefined;
    this.#byAddress.set(address, count + 1);
    this.#inAll++;
    return () => this.#leave(address);
  }

  #leave(address: string): void {
    this.#inAll--;
    const left = this.#byAddress.get(address)! - 1;
    if (left === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, left);
  }
}

/** A label without the port, which is another one for each connection: "tcp://10.0.0.5:40312" is "tcp://10.0.0.5". */
function remoteOf(label: string): string {
  return label.replace(/:\d+$/, "");
}
