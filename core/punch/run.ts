// Runs a state machine that is woken by time and by what comes.
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";

export interface Machine<Result> {
  /** Does what is due; its result when it is over. */
  tick(now: number): Result | undefined;
  /** When to tick next, if nothing wakes it before. */
  wakeAt(): number;
}

/** Until the machine is over; `make` gets what wakes it. Rejects with what a tick throws, and CANCELLED when `signal` aborts. */
export function runUntil<Result>(
  clock: Clock,
  signal: AbortSignal | undefined,
  make: (wake: () => void) => Machine<Result>,
): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  let timer: Timer | undefined;
  let isOver = false;
  const end = (settle: () => void) => {
    isOver = true;
    timer?.cancel();
    signal?.removeEventListener("abort", cancel);
    settle();
  };
  const cancel = () => end(() => reject(new MeshError("CANCELLED", "the search for a way by UDP was given up")));
  const wake = () => {
    if (isOver) return;
    timer?.cancel();
    try {
      const result = machine.tick(clock.now());
      if (result !== undefined) return end(() => resolve(result));
      timer = clock.after(Math.max(0, machine.wakeAt() - clock.now()), wake);
    } catch (error) {
      end(() => reject(error));
    }
  };
  const machine = make(wake);
  signal?.addEventListener("abort", cancel);
  if (signal?.aborted) cancel();
  else wake();
  return promise;
}
