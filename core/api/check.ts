// Checks of what users pass to the API: each throws USAGE and says what was expected and what came.
import { MeshError } from "../errors.ts";
import { jobContext } from "./context.ts";
import { checkChoice, choiceAmong, type HostChoice } from "./host-choice.ts";
import type { Items } from "./items.ts";

export function checkItems(label: string, items: Items<unknown> | undefined): void {
  const known = items as Partial<AsyncIterable<unknown> & Iterable<unknown>> | undefined | null;
  if (typeof items === "string" || (!known?.[Symbol.iterator] && !known?.[Symbol.asyncIterator])) {
    throw new MeshError("USAGE", `${label} takes a list or (async) iterable of items second, not ${describe(items)}`);
  }
}

export function checkKeys(label: string, options: object, known: string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new MeshError("USAGE", `${label}: options are an object, not ${describe(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new MeshError("USAGE", `${label} has no option ${key}; it has ${known.join(", ")}`);
  }
}

export function checkWhole(what: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new MeshError("USAGE", `${what} is a whole number of ${least} to ${most}, not ${describe(value)}`);
}

export function checkSignal(label: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new MeshError("USAGE", `${label}: signal is an AbortSignal, not ${describe(signal)}`);
}

/** Options that name hosts, as a choice. Throws USAGE for hosts that are not there, and when none is chosen. */
export function checkHosts(label: string, options: { hosts?: Names; tags?: Names }): HostChoice {
  const hosts = options.hosts === undefined ? undefined : checkNames(`${label}: hosts`, options.hosts);
  const tags = options.tags === undefined ? undefined : checkNames(`${label}: tags`, options.tags);
  const choice: HostChoice = { ...(hosts && { hosts }), ...(tags && { tags }) };
  const there = jobContext().scheduler.hosts;
  if (hosts || tags) checkChoice(label, choiceAmong(choice, there), there);
  return choice;
}

type Names = string | readonly string[];

/** A name or a list of names, as a list. */
function checkNames(what: string, value: Names): readonly string[] {
  const names = typeof value === "string" ? [value] : value;
  if (Array.isArray(names) && names.every((name) => typeof name === "string" && name !== "")) return names;
  const odd = Array.isArray(names) ? names.find((name) => typeof name !== "string" || name === "") : names;
  throw new MeshError("USAGE", `${what} is a name or a list of names, not ${describe(odd)}`);
}

export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name || "object"}`;
  return String(value);
}

/** The options of every call that waits. */
export function checkWait(label: string, { timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal }): void {
  checkWhole(`${label}: timeoutMs`, timeoutMs, 1, 0x7fffffff);
  checkSignal(label, signal);
}
