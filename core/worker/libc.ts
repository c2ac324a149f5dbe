// The few calls to the C library that process supervision needs and the runtime does not offer. The library is opened
// on first use, so that a process that never supervises pays nothing. On anything but Linux the calls that have no
// counterpart there do nothing and return false: strays are then found by their parent only (see process-tree.ts).

import { dlopen } from "bun:ffi";
import { writeFileSync } from "node:fs";

// linux/prctl.h; part of the kernel's ABI and the same on every architecture.
const PR_SET_PDEATHSIG = 1;
const PR_SET_CHILD_SUBREAPER = 36;
const SIGKILL = 9;
const WNOHANG = 1;
const LOCK_EX_NB = 2 | 4;

// The middle of the raising half of -1000..1000. The default of everything else is 0.
const SLOT_OOM_SCORE = 500;

const SYMBOLS = {
  // Variadic in C; on Linux x64 and arm64 variadic integers travel in the same registers as named ones.
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  getppid: { args: [], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
} as const;

type Libc = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let opened: Libc | false | undefined;

/** The C library, or false where none of the known names opens. Only Linux is asked: nothing else has prctl. */
function libc(): Libc | false {
  opened ??= process.platform === "linux" && open();
  return opened;
}

function open(): Libc | false {
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  // glibc first; musl answers to its own two names (and, by its loader, to the first one as well).
  for (const name of ["libc.so.6", `libc.musl-${arch}.so.1`, `/lib/ld-musl-${arch}.so.1`]) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch {
      // not this C library
    }
  }
  return false;
}

/**
 * Makes this process the one that orphans below it are given to, instead of init. Returns whether it did: false outside
 * Linux. Holds for the life of the process; its children do not inherit it.
 */
export function becomeSubreaper(): boolean {
  const c = libc();
  return c !== false && c.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) === 0;
}

/**
 * Asks the kernel to send SIGKILL to this process when its parent dies, and ends this process at once (status 1) when
 * the parent is no longer `parentPid`, because then the parent died before the kernel was asked. Returns whether the kernel
 * took the order: false outside Linux, where a process must notice the end of its parent by a closed socket.
 * The order is tied to the parent's thread that made this process: spawn from the main thread, never from a Worker.
 */
export function dieWithParent(parentPid: number): boolean {
  const c = libc();
  if (!c) return false;
  const taken = c.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) === 0;
  if (c.getppid() !== parentPid) process.exit(1);
  return taken;
}

/**
 * Locks an open file for this process, until it is closed, unless another has it. Returns whether this one may go on: true also where there are no
 * such locks, outside Linux.
 */
export function lockFile(fd: number): boolean {
  const c = libc();
  return c === false || c.flock(fd, LOCK_EX_NB) === 0;
}

/** How a child stands: still there, its status taken (now or before: there is no such child any more). */
export type Reaped = "running" | "reaped" | "no-child";

const statusBuffer = new Int32Array(1);

/**
 * Takes the exit status of the one child `pid`, without waiting. Only for processes that were adopted: taking the
 * status of a child of `Bun.spawn` would leave its `exited` unsettled. Outside Linux "no-child".
 * @throws Error on anything but one positive pid: 0 and -1 mean "any child" and would steal Bun's own.
 */
export function reap(pid: number): Reaped {
  if (!Number.isInteger(pid) || pid <= 0) throw new Error(`reap takes one process id, not ${pid}`);
  const c = libc();
  if (!c) return "no-child";
  const result = c.waitpid(pid, statusBuffer, WNOHANG);
  if (result === 0) return "running";
  return result === pid ? "reaped" : "no-child";
}

/**
 * Sends `signal` to process `pid`, or to process group -`pid` when negative. 0 only asks whether it is
 * there. Returns false when there is nothing to send it to, or when it is not ours to signal.
 * @throws Error on 0, 1 and -1, which mean our own group, init and everybody.
 */
export function killProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  if (!Number.isInteger(pid) || Math.abs(pid) <= 1) throw new Error(`refused to send ${signal} to ${pid}`);
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/**
 * Makes the kernel prefer this process (and what it starts) when memory runs out, so that slots go before the head and
 * the agent. Returns whether it was written; never throws.
 */
export function preferForOom(): boolean {
  if (process.platform !== "linux") return false;
  try {
    writeFileSync("/proc/self/oom_score_adj", String(SLOT_OOM_SCORE));
    return true;
  } catch {
    return false;
  }
}
