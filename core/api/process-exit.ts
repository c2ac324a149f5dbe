// How a process ended, as a number and in words.
import type { SlotDown } from "./slots.ts";

/** How a process ended. */
export interface ProcessExit {
  /**
   * 0 when the function returned, 1 when it threw, what it gave to process.exit(), 128 + the number of the signal that
   * ended it, 255 when nobody can tell because its host is lost or it never began.
   */
  exitCode: number;
  /** "SIGTERM", …, when one ended it. */
  signal?: string;
  /** In words, when its function neither returned nor threw: "exited with code 3", "was killed: it was terminated", … */
  cause?: string;
  /** What the function threw. */
  error?: unknown;
}

export const EXIT_THREW = 1;
export const EXIT_UNKNOWN = 255;
const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

/** The end of a process that neither returned nor threw. */
export function exitOf({ exitCode, signal, cause }: SlotDown): ProcessExit {
  if (signal !== undefined) return { exitCode: 128 + (SIGNAL_NUMBERS[signal] ?? 0), signal, cause };
  return { exitCode: exitCode ?? EXIT_UNKNOWN, cause };
}
