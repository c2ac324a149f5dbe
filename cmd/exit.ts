// The only place that turns an error into an exit status, and into words on standard error.
import { inspect, styleText } from "node:util";
import { isMeshError, type MeshErrorCode } from "../core/errors.ts";
import { BuildError, formatDiagnostics } from "../core/job/diagnostics.ts";

/** The exit statuses of mesh, as `mesh help exit-codes` prints them. Append only: scripts compare against them. */
export const EXIT = {
  ok: 0,
  jobFailed: 1,
  usage: 2,
  partly: 3,
  authentication: 4,
  unreachable: 5,
  timeout: 124,
  interrupted: 130,
  terminated: 143,
} as const;

const STATUS_OF_CODE: Record<MeshErrorCode, number> = {
  USAGE: EXIT.usage,
  CONFIG: EXIT.usage,
  SCRIPT: EXIT.usage,
  CANNOT_TRAVEL: EXIT.jobFailed,
  TASK_FAILED: EXIT.jobFailed,
  SLOT_LOST: EXIT.jobFailed,
  TIMEOUT: EXIT.timeout,
  CANCELLED: EXIT.interrupted,
  PROTOCOL: EXIT.jobFailed,
  FRAME_TOO_LARGE: EXIT.jobFailed,
  LINK_CLOSED: EXIT.unreachable,
  AUTHENTICATION: EXIT.authentication,
  UNREACHABLE: EXIT.unreachable,
  OUTPUT: EXIT.jobFailed,
  STORAGE: EXIT.jobFailed,
  CLOSED: EXIT.jobFailed,
  FULL: EXIT.jobFailed,
  RETIRING: EXIT.unreachable,
};

/**
 * Tells the exit status of a process that ends because of `error`. A cancellation whose cause names the signal
 * SIGTERM gives 143, any other 130; what is no MeshError is a bug of mesh and gives 1.
 */
export function exitStatusOf(error: unknown): number {
  if (!isMeshError(error)) return EXIT.jobFailed;
  if (error instanceof BuildError) return EXIT.usage; // nothing ran, whatever its code
  if (error.code === "CANCELLED" && causes(error).some(namesSigterm)) return EXIT.terminated;
  return STATUS_OF_CODE[error.code] ?? EXIT.jobFailed;
}

/** Prints what went wrong and the chain of its causes to standard error, in the words of `describeError`. */
export function printError(error: unknown): void {
  process.stderr.write(`${describeError(error, { debug: process.env.MESH_DEBUG === "1" })}\n`);
}

/**
 * Puts an error into lines for people: the message, then each cause. Stacks are shown for a MeshError with `debug`
 * only, and always for anything else, which is a bug of mesh and says so.
 */
export function describeError(error: unknown, options: { debug?: boolean } = {}): string {
  const label = styleText("red", "error:", { stream: process.stderr });
  if (!isMeshError(error)) return `${label} this is a bug in mesh, please report it\n${inspect(error)}`;
  if (error instanceof BuildError) return `${label} ${formatDiagnostics(error)}`;
  if (options.debug) return `${label} ${inspect(error)}`;
  const [first, ...rest] = causes(error).map(wordsOf);
  const lines = rest.filter((words) => !first?.includes(words)).map((words) => `  because: ${indent(words)}`);
  return [`${label} ${first}`, ...lines].join("\n");
}

/** The error and what caused it, outermost first; a chain that bites its tail ends there. */
function causes(error: unknown): unknown[] {
  const seen: unknown[] = [];
  for (let next = error; next !== undefined && next !== null && !seen.includes(next); ) {
    seen.push(next);
    next = (next as { cause?: unknown }).cause;
  }
  return seen;
}

function wordsOf(error: unknown): string {
  if (isMeshError(error)) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

function indent(words: string): string {
  return words.replaceAll("\n", "\n    ");
}

function namesSigterm(cause: unknown): boolean {
  return cause === "SIGTERM" || (cause as { signal?: unknown })?.signal === "SIGTERM";
}
