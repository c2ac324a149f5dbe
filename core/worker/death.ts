// Why a process ended, as a value that travels and as a sentence for people. Pure.

/** Why a slot, an agent or a helper process is no longer there. */
export type Death =
  | { kind: "exit"; code: number }
  | { kind: "signal"; signal: string }
  | { kind: "out-of-memory"; usedBytes?: number; limitBytes?: number; by: "mesh" | "kernel" }
  | { kind: "timeout"; limitMs: number }
  | { kind: "killed"; reason: string }
  | { kind: "silent"; limitMs: number }
  | { kind: "protocol"; reason: string }
  | { kind: "host-lost" };

/** What a parent knows when a child has ended. */
export interface Ending {
  exitCode: number | null;
  signalCode: string | null;
  /** The reason of the order, when we ended the process ourselves. */
  ordered?: Death;
  /** The kernel's counter (process-tree.ts, kernelOomKills) from when the process started and from now. */
  kernelOomKills?: { before: number | undefined; after: number | undefined };
}

/** Finds the one cause among what is known: our own order first, then the kernel's, then the bare status. */
export function causeOf(ending: Ending): Death {
  const { exitCode, signalCode, ordered, kernelOomKills } = ending;
  if (ordered) return ordered;
  if (signalCode === "SIGKILL" && hasGrown(kernelOomKills)) return { kind: "out-of-memory", by: "kernel" };
  if (signalCode !== null) return { kind: "signal", signal: signalCode };
  if (exitCode !== null) return { kind: "exit", code: exitCode };
  return { kind: "killed", reason: "its exit status was lost" };
}

function hasGrown(counter: Ending["kernelOomKills"]): boolean {
  return counter?.before !== undefined && counter.after !== undefined && counter.after > counter.before;
}

/** The predicate of a sentence whose subject is the process: "slot 2 on here " + "exited with code 3". */
export function describeDeath(death: Death): string {
  switch (death.kind) {
    case "exit":
      return `exited with code ${death.code}`;
    case "signal":
      return `was ended by ${death.signal}${describeSignal(death.signal)}`;
    case "out-of-memory":
      return `ran out of memory: ${describeMemory(death)}`;
    case "timeout":
      return `was ended because it ran longer than its limit of ${formatDuration(death.limitMs)}`;
    case "killed":
      return `was killed: ${death.reason}`;
    case "silent":
      return `was ended because it had nothing to do and did not answer for ${formatDuration(death.limitMs)}`;
    case "protocol":
      return `was ended because it broke the protocol: ${death.reason}`;
    case "host-lost":
      return "is lost: its host no longer answers";
  }
}

const NATIVE_CRASHES = new Set(["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS"]);

function describeSignal(signal: string): string {
  if (NATIVE_CRASHES.has(signal)) return " (a crash in native code or the runtime)";
  if (signal === "SIGXCPU" || signal === "SIGXFSZ") return " (over a limit of the system, see ulimit -a)";
  return " (not sent by mesh)";
}

function describeMemory(death: Extract<Death, { kind: "out-of-memory" }>): string {
  if (death.by === "kernel") return "the kernel of its host had none left and ended it";
  const { usedBytes, limitBytes } = death;
  if (limitBytes === undefined) return "it passed its limit";
  const limit = `its limit of ${formatBytes(limitBytes, Math.round)}`;
  // Used is rounded up: "512 MiB of 512 MiB" would not tell why.
  return usedBytes === undefined ? `it passed ${limit}` : `used ${formatBytes(usedBytes, Math.ceil)} of ${limit}`;
}

const MIB = 1024 * 1024;

function formatBytes(bytes: number, round: (n: number) => number): string {
  if (bytes < 10_240 * MIB) return `${round(bytes / MIB)} MiB`;
  return `${round((bytes / MIB / 1024) * 10) / 10} GiB`;
}

function formatDuration(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${Math.round(ms / 100) / 10} s`;
}
