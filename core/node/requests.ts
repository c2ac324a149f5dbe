// Questions this process has asked and that have no answer yet.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Address } from "../wire/message.ts";

export interface RequestOptions {
  /** Gives up after so many milliseconds with TIMEOUT. Default: no limit but the link's life. */
  timeoutMs?: number;
  /** Gives up with CANCELLED when aborted. */
  signal?: AbortSignal;
  /** Whether the process waits for the answer before it ends by itself. Default true. */
  keepsProcess?: boolean;
}

interface Pending {
  to: Address;
  what: string;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

export function cancelled(what: string, signal: AbortSignal | undefined): MeshError {
  return new MeshError("CANCELLED", `${what} was cancelled`, { cause: signal?.reason });
}

export class Requests {
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #nextCorrelation = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks by `send`, which gets the correlation; settles with the answer, or as `options` say. */
  async ask(
    to: Address,
    what: string,
    { timeoutMs, signal }: RequestOptions,
    send: (correlation: number) => void,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const correlation = this.#nextCorrelation;
    this.#nextCorrelation = correlation === 0xffffffff ? 1 : correlation + 1;
    this.#pending.set(correlation, { to, what, resolve, reject });
    const late = () => reject(new MeshError("TIMEOUT", `no answer to ${what} within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : this.#clock.after(timeoutMs, late);
    const abort = () => reject(cancelled(what, signal));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      send(correlation);
      return await promise;
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", abort);
      this.#pending.delete(correlation);
    }
  }

  /** Takes the question with this correlation off the list; undefined when nobody waits for its answer. */
  take(correlation: number): { resolve(value: unknown): void; reject(error: unknown): void } | undefined {
    const pending = this.#pending.get(correlation);
    this.#pending.delete(correlation);
    return pending;
  }

  /** Fails all questions to processes that `isLost` names, with LINK_CLOSED. */
  fail(isLost: (to: Address) => boolean, cause?: Error): void {
    for (const { to, what, reject } of this.#pending.values()) {
      if (!isLost(to)) continue;
      const message = `process ${to.node}/${to.slot} is gone while it was asked for ${what}`;
      reject(new MeshError("LINK_CLOSED", cause ? `${message}: ${cause.message}` : message, cause && { cause }));
    }
  }
}
