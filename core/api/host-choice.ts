// Which hosts a call means: by name, by pattern ("gpu*"), by tags. Pure.
import { MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { LOCAL_HOST } from "../worker/control.ts";
import type { HostInfo } from "./hosts.ts";

/** What a host must be to be used; without anything all are. */
export interface HostChoice {
  /** Names or glob patterns, of which one must match. */
  hosts?: readonly string[];
  /** All of these must be among its tags. */
  tags?: readonly string[];
}

const LISTED = 20;

/** Whether a host is one of those chosen. */
export function isChosen({ hosts, tags }: HostChoice, host: HostInfo): boolean {
  if (hosts && !hosts.some((name) => matches(name, host.name))) return false;
  return tags === undefined || tags.every((tag) => host.tags.includes(tag));
}

/**
 * What is left of a choice where there is one machine and no mesh: the same script runs there, whatever hosts it names.
 * In a mesh the choice as it is.
 */
export function choiceAmong(choice: HostChoice, hosts: readonly HostInfo[]): HostChoice {
  return hosts.length === 1 && hosts[0]!.name === LOCAL_HOST ? {} : choice;
}

/** Throws USAGE when a name is unknown or nothing is chosen; `what` names the call. */
export function checkChoice(what: string, choice: HostChoice, hosts: readonly HostInfo[]): void {
  const names = hosts.map(({ name }) => name);
  for (const name of choice.hosts ?? []) {
    if (isPattern(name) || names.includes(name)) continue;
    const near = nearest(name, names);
    const hint = near === undefined ? "" : ` did you mean ${near}?`;
    throw new MeshError("USAGE", `${what}: there is no host ${name};${hint} ${whatThereIs(names)}`);
  }
  if (hosts.some((host) => isChosen(choice, host))) return;
  const described = hosts.map(({ name, tags }) => (tags.length > 0 ? `${name} (${tags.join(", ")})` : name));
  throw new MeshError("USAGE", `${what}: no host ${describeChoice(choice)}; ${whatThereIs(described)}`);
}

/** The predicate of a sentence about hosts: "is called gpu* and has the tags a and b". */
export function describeChoice({ hosts, tags }: HostChoice): string {
  const called = hosts && `is called ${hosts.join(" or ")}`;
  const tagged = tags && tags.length > 0 && `has the ${tags.length === 1 ? "tag" : "tags"} ${tags.join(" and ")}`;
  return [called, tagged].filter(Boolean).join(" and ") || "is there";
}

function whatThereIs(hosts: readonly string[]): string {
  if (hosts.length === 0) return "no host has joined this mesh: start one with `mesh worker --join`";
  const more = hosts.length > LISTED ? ` and ${hosts.length - LISTED} more` : "";
  return `hosts of this mesh: ${hosts.slice(0, LISTED).join(", ")}${more}`;
}

function isPattern(name: string): boolean {
  return /[*?[{]/.test(name);
}

function matches(pattern: string, name: string): boolean {
  return isPattern(pattern) ? new Bun.Glob(pattern).match(name) : pattern === name;
}
