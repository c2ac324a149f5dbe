// Which task an error came from: kept beside the error, and as a line in its stack.
import { isMeshError } from "../errors.ts";

export interface TaskPlace {
  host: string;
  /** Number of the slot on its host, from 1. */
  seat: number;
  /** Of a process: what it is called. */
  name?: string;
  /** The call: "pool.map". */
  label: string;
  /** Index of the item; undefined for a call without items. */
  item: number | undefined;
  /** How often it was tried, from 1. */
  attempt: number;
}

const places = new WeakMap<object, TaskPlace>();

// The source maps of the binary give mesh's own files paths relative to it; a job's files have absolute ones.
const OWN_FRAME = /^\s+at .*[( ](?:\.\.\/)+(?:core|cmd|transports)\/[^)]*\)?$|^\s+at .*\/\$bunfs\//;

// Bun's own printer passes over frames without a function's name (1.4.5): "at job.ts:3:20".
const BARE_FRAME = /^(\s+at )([^()]+:\d+:\d+)$/;

/** A stack without the frames of mesh itself. */
export function userStack(stack: string): string {
  return stack
    .split("\n")
    .filter((line) => !OWN_FRAME.test(line))
    .map((line) => line.replace(BARE_FRAME, "$1<anonymous> ($2)"))
    .join("\n");
}

/**
 * Remembers where an error came from, and makes its stack tell: the frames of the task, the task, and the frames of the
 * call it belongs to. Errors that are no objects are left alone.
 */
export function noteTask(error: unknown, place: TaskPlace, caller: Error): void {
  if (typeof error !== "object" || error === null) return;
  places.set(error, place);
  if (!(error instanceof Error)) return;
  const item = place.item === undefined ? "" : ` item ${place.item},`;
  const line = `    at ${place.label}${item} attempt ${place.attempt} (${place.host}/${place.name ?? place.seat})`;
  const callers = userStack(caller.stack ?? "")
    .split("\n")
    .slice(1);
  const seen = new Set<unknown>();
  for (let each: unknown = error; each instanceof Error && !seen.has(each); each = each.cause) {
    seen.add(each);
    const stack = userStack(each.stack ?? `${each.name}: ${each.message}`);
    setStack(each, each === error ? [stack, line, ...callers].join("\n") : stack);
  }
}

/** Gives an error of mesh the stack of the call it is about; what was thrown by users keeps its own. */
export function noteCaller(error: unknown, caller: Error): void {
  if (!isMeshError(error) || places.has(error)) return;
  const callers = userStack(caller.stack ?? "")
    .split("\n")
    .slice(1);
  setStack(error, [`${error.name}: ${error.message}`, ...callers].join("\n"));
}

/** Runs `call`; an error of mesh it throws shows where the user called, not where mesh noticed. */
export function asCalled<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (isMeshError(error)) noteCaller(error, error);
    throw error;
  }
}

function setStack(error: Error, value: string): void {
  Object.defineProperty(error, "stack", { value, writable: true, enumerable: false, configurable: true });
}

/** Tells which item of which call failed, where and at which attempt; undefined for other errors. */
export function taskOf(error: unknown): Readonly<TaskPlace> | undefined {
  return typeof error === "object" && error !== null ? places.get(error) : undefined;
}
