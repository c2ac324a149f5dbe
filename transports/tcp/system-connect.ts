// Connecting by the system itself. Bun's own connect tells every failure as ECONNREFUSED, also a missing route or a host that
// is switched off (seen with 1.4.5), and cannot be cancelled: it stays, and keeps the process, until the kernel gives up
// after two minutes. Sessions take a refusal as proof that the peer is gone, so it has to be one.
import type { TcpAddress } from "./address.ts";
import { beginConnect, closeDescriptor, isConnected } from "./libc.ts";

/** Milliseconds between looks at a connection under way: soon for a near peer, seldom for a far one. */
const LOOKS_MS = [0, 1, 1, 2, 2, 4, 4, 8];
const LAST_LOOK_MS = 10;

/** A connection under way to an IP address. */
export class SystemConnection {
  /** Its descriptor, which is then the caller's; or an Error with the system's `code`. Never settles once cancelled. */
  readonly descriptor: Promise<number>;
  readonly #result = Promise.withResolvers<number>();
  #fd: number | undefined;
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Where canConnectBySystem is true. */
  constructor(target: TcpAddress) {
    this.descriptor = this.#result.promise;
    try {
      this.#fd = beginConnect(target);
      this.#look();
    } catch (error) {
      this.#result.reject(error);
    }
  }

  cancel(): void {
    clearTimeout(this.#timer);
    if (this.#fd !== undefined) closeDescriptor(this.#fd);
    this.#fd = undefined;
  }

  /** Asks the kernel how it goes: Bun watches only connections that are made. */
  #look(): void {
    const fd = this.#fd!;
    try {
      if (!isConnected(fd)) {
        this.#timer = setTimeout(() => this.#look(), LOOKS_MS[this.#looks++] ?? LAST_LOOK_MS);
        return;
      }
      this.#fd = undefined;
      this.#result.resolve(fd);
    } catch (error) {
      this.cancel();
      this.#result.reject(error);
    }
  }
}
