// Notices that this process stood still: it was stopped, or its machine slept. Others have drawn their conclusions by then.
import { readFileSync } from "node:fs";
import { uptime } from "node:os";

/**
 * Calls `stood` with how long, in ms, each time this process did nothing for `limitMs` or longer. Time is that since the
 * start of the machine, sleep included: a wall clock that is set does not matter. Returns what ends the watch.
 */
export function watchStandstill(limitMs: number, stood: (ms: number) => void, now = sinceBootMs): () => void {
  const everyMs = Math.min(limitMs / 4, 1_000);
  let before = now();
  const timer = setInterval(() => {
    const at = now();
    const stoodMs = at - before - everyMs;
    before = at;
    if (stoodMs >= limitMs) stood(stoodMs);
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

function sinceBootMs(): number {
  try {
    return 1_000 * Number.parseFloat(readFileSync("/proc/uptime", "latin1")); // os.uptime knows whole seconds only
  } catch {
    return 1_000 * uptime();
  }
}
