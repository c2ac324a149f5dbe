// Waits that end: by their answer, their time or their signal.
import { MeshError } from "../errors.ts";

export interface Limit {
  ms: number;
  signal?: AbortSignal | undefined;
  /** For the error: "host1: checking the binary". */
  what: string;
}

/** Resolves as `promise` does. Rejects with TIMEOUT after `ms`, with CANCELLED when the signal is aborted. */
export async function limited<Value>(promise: Promise<Value>, { ms, signal, what }: Limit): Promise<Value> {
  promise.catch(() => {}); // it may fail after its time
  const { promise: over, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new MeshError("TIMEOUT", `${what} took more than ${ms / 1000} s`)), ms);
  const cancel = () => reject(cancelled(what, signal?.reason));
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    if (signal?.aborted) throw cancelled(what, signal.reason);
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

function cancelled(what: string, cause: unknown): MeshError {
  return new MeshError("CANCELLED", `${what} was cancelled`, { cause });
}
