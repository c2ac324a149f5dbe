// Enforces a memory limit from outside: looks at a process tree at a fixed pace and says once when it is over.

import type { Clock, Timer } from "../clock.ts";
import { residentBytesOfTree } from "./process-tree.ts";

export interface MemoryWatchOptions {
  /** The root of the tree that shares the limit. */
  pid: number;
  /** What the tree may hold, in bytes; the watch fires on one byte more. */
  limitBytes: number;
  /** Milliseconds between two readings. Default 50. Between them a tree can pass its limit by what it touches in that time. */
  everyMs?: number;
  clock: Clock;
  /** How much the tree holds, in bytes; 0 once it is gone. Default `residentBytesOfTree`. */
  read?: (pid: number) => number;
  /** Called once, with the reading that was over the limit. Nothing is ended here: that is the caller's to do. */
  onExceeded: (usedBytes: number) => void;
}

/**
 * Watches until the limit is passed or the returned function is called, which is safe at any time, also from
 * `onExceeded`. The timer keeps this process alive: stop the watch when the tree has ended.
 */
export function watchMemory(options: MemoryWatchOptions): () => void {
  const { pid, limitBytes, everyMs = 50, clock, read = residentBytesOfTree, onExceeded } = options;
  let timer: Timer | undefined;
  let stopped = false;
  const look = () => {
    if (stopped) return;
    const usedBytes = read(pid);
    if (usedBytes <= limitBytes) {
      timer = clock.after(everyMs, look);
      return;
    }
    stopped = true;
    onExceeded(usedBytes);
  };
  timer = clock.after(everyMs, look);
  return () => {
    stopped = true;
    timer?.cancel();
  };
}
