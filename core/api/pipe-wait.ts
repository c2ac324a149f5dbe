// One call that waits: for its answer, its limit in time, or its signal, whichever is first.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { checkKeys, checkWhole, describe } from "./check.ts";
import type { WaitOptions } from "./node-view.ts";
import { noteCaller } from "./task-error.ts";

/** Throws USAGE for limits that are none. */
export function checkWait(label: string, options: WaitOptions): void {
  checkKeys(label, options, ["timeoutMs", "signal"]);
  checkWhole(`${label}: timeoutMs`, options.timeoutMs, 1, 0x7fffffff);
  if (options.signal === undefined || options.signal instanceof AbortSignal) return;
  throw new MeshError("USAGE", `${label}: signal is an AbortSignal, not ${describe(options.signal)}`);
}

export class Wait<T> {
  readonly promise: Promise<T>;
  /** Whether it has an answer or gave up. */
  settled = false;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #release: (() => void) | undefined;

  /** `gaveUp` hears when the limit or the signal ended it. Throws CANCELLED when the signal was aborted before. */
  constructor(what: string, { timeoutMs, signal }: WaitOptions, clock: Clock, gaveUp: (wait: Wait<T>) => void) {
    if (signal?.aborted) throw cancelled(what, signal);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    if (timeoutMs === undefined && !signal) return;
    const giveUp = (error: MeshError) => {
      this.reject(error);
      gaveUp(this);
    };
    const late = () => giveUp(new MeshError("TIMEOUT", `${what}: nothing within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : clock.after(timeoutMs, late);
    const abort = () => giveUp(cancelled(what, signal!));
    signal?.addEventListener("abort", abort, { once: true });
    this.#release = () => {
      timer?.cancel();
      signal?.removeEventListener("abort", abort);
    };
  }

  resolve(value: T): void {
    this.#settle();
    this.#resolve(value);
  }

  reject(error: unknown): void {
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.settled = true;
    this.#release?.();
  }
}

function cancelled(what: string, signal: AbortSignal): MeshError {
  return new MeshError("CANCELLED", `${what} was cancelled by its signal`, { cause: signal.reason });
}

/** An error on its way out of a call: one of mesh shows where the user called, here and now. */
export function asThrown(error: unknown): unknown {
  noteCaller(error, new Error("called"));
  return error;
}
