// Connections to jump hosts, one for all hosts behind it; each lives as long as somebody goes through it.
import type { SshConnection } from "./ssh-connection.ts";

interface Shared {
  connection: Promise<SshConnection>;
  users: number;
  cancel: AbortController;
}

/** A use of a shared connection; `release` is safe to call twice. */
export interface Lease {
  connection: SshConnection;
  release(): void;
}

export class SharedJumps {
  readonly #shared = new Map<string, Shared>();

  /** `dial` is called when nobody has that connection yet, and told to give up when nobody wants it any more. */
  async lease(
    name: string,
    dial: (signal: AbortSignal) => Promise<SshConnection>,
    signal?: AbortSignal,
  ): Promise<Lease> {
    const shared = this.#shared.get(name) ?? this.#open(name, dial);
    shared.users++;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      this.#leave(name, shared);
    };
    signal?.addEventListener("abort", release, { once: true });
    try {
      const connection = await untilAborted(shared.connection, signal);
      return { connection, release };
    } catch (error) {
      release();
      throw error;
    } finally {
      signal?.removeEventListener("abort", release);
    }
  }

  #open(name: string, dial: (signal: AbortSignal) => Promise<SshConnection>): Shared {
    const cancel = new AbortController();
    const shared: Shared = { connection: dial(cancel.signal), users: 0, cancel };
    this.#shared.set(name, shared);
    const forget = () => {
      if (this.#shared.get(name) === shared) this.#shared.delete(name);
    };
    shared.connection.then((connection) => connection.closed.then(forget), forget);
    return shared;
  }

  #leave(name: string, shared: Shared): void {
    if (--shared.users > 0) return;
    if (this.#shared.get(name) === shared) this.#shared.delete(name);
    shared.cancel.abort();
    shared.connection.then(
      (connection) => connection[Symbol.asyncDispose](),
      () => {},
    );
  }
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  return await Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", onAbort));
}
