// What no single value of mesh.toml shows: names that must exist, ranges that must fit each other, times in order.
// Looks at the file as parsed, so that these problems are told together with those of the shape.
import { isMeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { RENDEZVOUS_NAME } from "./names.ts";
import { parsePortRange, relayRoomOf } from "./port-range.ts";
import type { Problem } from "./problems.ts";
import { expandRanges, hasRange, RANGE_LIMIT } from "./ranges.ts";
import { BUILTIN_PROVIDERS } from "./schema.ts";
import { BUILTIN_TRANSPORTS } from "./transports.ts";
import { parseDuration } from "./units.ts";

type Table = Record<string, unknown>;

// "local" is this machine; the other would vanish, being no ordinary key of an object.
const RESERVED_NAMES = ["local", "__proto__"];
const HOST_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/;

/** Finds the problems that lie between the values of a file. Values of a wrong type are left to the schema. */
export function crossCheck(file: unknown): Problem[] {
  const top = tableOf(file);
  const problems: Problem[] = [];
  const names = checkHosts(tableOf(top.hosts), problems);
  checkHostOf("coordinator", tableOf(top.coordinator), names, problems);
  checkRendezvous(tableOf(top.rendezvous), names, problems);
  checkRelayPairs(top, problems);
  checkPluginNames(top, problems);
  checkSchemes(top, problems);
  checkTimes(tableOf(top.mesh), problems);
  return problems;
}

/** Checks names, ranges and providers of the hosts; returns all names they stand for. */
function checkHosts(hosts: Table, problems: Problem[]): Set<string> {
  const owner = new Map<string, string>();
  for (const [pattern, value] of Object.entries(hosts)) {
    const path = ["hosts", pattern];
    const names = expand(pattern, path, "key", problems);
    const wrong = names?.find((name) => !HOST_NAME.test(name) || RESERVED_NAMES.includes(name));
    if (wrong !== undefined) problems.push({ path, at: "key", message: nameProblem(wrong) });
    for (const name of names ?? []) {
      const other = owner.get(name);
      if (other !== undefined) {
        problems.push({
          path,
          at: "key",
          message: `stands for ${name}, which [hosts.${quoteKey(other)}] names already`,
        });
        break;
      }
      owner.set(name, pattern);
    }
    if (owner.size > RANGE_LIMIT) {
      problems.push({ path, at: "key", message: `brings the hosts to more than ${RANGE_LIMIT}` });
      break;
    }
    checkSsh(tableOf(value), names, path, problems);
  }
  return new Set(owner.keys());
}

function nameProblem(name: string): string {
  if (name === "local") return 'a host cannot be named "local", the word for this machine: use another name';
  if (name === "__proto__") return "a host cannot have this name: use another";
  return `${JSON.stringify(name)} cannot be a host's name: letters, digits, ".", "_" and "-", at most 63`;
}

function checkSsh(host: Table, names: string[] | undefined, path: string[], problems: Problem[]): void {
  if (typeof host.ssh !== "string") return;
  const at = [...path, "ssh"];
  if (host.provider === "local") {
    problems.push({ path: at, at: "key", message: 'does not go with provider = "local": remove one of them' });
    return;
  }
  const targets = expand(host.ssh, at, "value", problems);
  if (!targets || !names || targets.length === names.length) return;
  const message = hasRange(host.ssh)
    ? `stands for ${targets.length} logins, its hosts' name for ${names.length}`
    : `is one login for ${names.length} hosts: give it the same range, as in "${path[1]}.lan"`;
  problems.push({ path: at, at: "value", message });
}

function checkHostOf(what: string, { host }: Table, names: Set<string>, problems: Problem[]): void {
  if (typeof host !== "string" || host === "local" || names.has(host)) return;
  const message = `no host is named ${JSON.stringify(host)}${didYouMean(host, ["local", ...names])}`;
  problems.push({ path: [what, "host"], at: "value", message });
}

function checkRendezvous(rendezvous: Table, names: Set<string>, problems: Problem[]): void {
  checkHostOf("rendezvous", rendezvous, names, problems);
  const tell = (key: string, message: string) => problems.push({ path: ["rendezvous", key], at: "key", message });
  const where = ["host", "ssh"].filter((key) => key in rendezvous);
  if (where.length === 2) tell("ssh", "does not go with host, which has its own: remove one of them");
  if (where.length > 0) {
    if (names.has(RENDEZVOUS_NAME)) tell(where[0]!, "its node is named rendezvous, as a host is: rename that");
    return;
  }
  for (const key of ["listen", "advertise"].filter((key) => key in rendezvous)) {
    tell(key, "needs host or ssh, the machine where `mesh up` starts it");
  }
}

/** More pairs than there are ports for would be refused one day, without a word before. */
function checkRelayPairs(top: Table, problems: Problem[]): void {
  const { ports, relayPairs } = tableOf(top.rendezvous);
  const range = orUndefined(() => (typeof ports === "string" ? parsePortRange(ports) : undefined));
  if (!range || typeof relayPairs !== "number" || !transportsOf(top).includes("udp")) return;
  const room = relayRoomOf(range);
  if (relayPairs <= room) return;
  const message = `is more than ports has room for, which is ${room}: two for echoes, and two for each pair`;
  problems.push({ path: ["rendezvous", "relayPairs"], at: "value", message });
}

function transportsOf(top: Table): readonly unknown[] {
  const used = tableOf(top.mesh).transports ?? BUILTIN_TRANSPORTS;
  return Array.isArray(used) ? used : [];
}

/** Names of providers can be checked only while no plugin brings others. */
function checkPluginNames(top: Table, problems: Problem[]): void {
  const plugins = tableOf(top.plugins);
  const used = tableOf(top.mesh).transports;
  for (const [index, name] of (Array.isArray(used) ? used : []).entries()) {
    mustBeOne("transport", name, BUILTIN_TRANSPORTS, ["mesh", "transports", index], "value", problems);
  }
  for (const name of Object.keys(tableOf(top.transport))) {
    mustBeOne("transport", name, BUILTIN_TRANSPORTS, ["transport", name], "key", problems);
  }
  for (const name of BUILTIN_TRANSPORTS) {
    for (const key of Object.keys(tableOf(tableOf(top.transport)[name]))) {
      const message = `unknown key: the transport ${name} has no settings`;
      problems.push({ path: ["transport", name, key], at: "key", message });
    }
  }
  if (hasEntries(plugins.providers)) return;
  for (const [host, value] of Object.entries(tableOf(top.hosts))) {
    const { provider } = tableOf(value);
    mustBeOne("provider", provider, BUILTIN_PROVIDERS, ["hosts", host, "provider"], "value", problems);
  }
}

/** Addresses of a transport that may not be used would be left aside without a word. */
function checkSchemes(top: Table, problems: Problem[]): void {
  const used = transportsOf(top);
  if (used.length === 0) return;
  const hosts = Object.entries(tableOf(top.hosts)).map(([name, host]): [string[], Table] => [
    ["hosts", name],
    tableOf(host),
  ]);
  const all: [string[], Table][] = [
    [["coordinator"], tableOf(top.coordinator)],
    [["rendezvous"], tableOf(top.rendezvous)],
    ...hosts,
  ];
  for (const [path, table] of all) {
    for (const key of ["listen", "advertise"]) checkAddresses(table[key], [...path, key], used, problems);
  }
}

function checkAddresses(addresses: unknown, path: string[], used: readonly unknown[], problems: Problem[]): void {
  for (const [index, address] of (Array.isArray(addresses) ? addresses : []).entries()) {
    const [, scheme] = /^([a-z][a-z0-9]*):/.exec(String(address)) ?? [];
    if (scheme === undefined || used.includes(scheme)) continue;
    const isKnown = (BUILTIN_TRANSPORTS as readonly string[]).includes(scheme);
    const message = isKnown
      ? `${scheme} is not among the transports of [mesh]: add it there, or take this address away`
      : `no transport is named ${JSON.stringify(scheme)}${didYouMean(scheme, BUILTIN_TRANSPORTS)}`;
    problems.push({ path: [...path, index], at: "value", message });
  }
}

function mustBeOne(
  what: string,
  name: unknown,
  known: readonly string[],
  path: (string | number)[],
  at: Problem["at"],
  problems: Problem[],
): void {
  if (typeof name !== "string" || known.includes(name)) return;
  const advice =
    didYouMean(name, known) ||
    `: there ${known.length === 1 ? "is" : "are"} ${known.join(", ")}${what === "provider" ? "; others come with [plugins]" : ""}`;
  problems.push({ path, at, message: `no ${what} is named ${JSON.stringify(name)}${advice}` });
}

function checkTimes(mesh: Table, problems: Problem[]): void {
  const order = ["heartbeat", "suspectAfter", "downAfter"] as const;
  const defaults = ["1s", "3s", "10s"];
  const times = order.map((key, index) => readDuration(mesh[key] ?? defaults[index]));
  for (const [index, key] of order.entries()) {
    const before = times[index - 1];
    const own = times[index];
    if (before === undefined || own === undefined || own > before) continue;
    const at = key in mesh ? key : order[index - 1]!;
    const message = `${key} (${own} ms) must be longer than ${order[index - 1]} (${before} ms)`;
    problems.push({ path: ["mesh", at], at: "value", message });
  }
}

function readDuration(value: unknown): number | undefined {
  return orUndefined(() => (typeof value === "string" ? parseDuration(value) : undefined));
}

/** What is written wrongly is for the schema to say. */
function orUndefined<Value>(read: () => Value | undefined): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function expand(pattern: string, path: string[], at: Problem["at"], problems: Problem[]): string[] | undefined {
  try {
    return expandRanges(pattern);
  } catch (error) {
    if (!isMeshError(error)) throw error;
    problems.push({ path, at, message: error.message });
    return undefined;
  }
}

function didYouMean(name: string, known: Iterable<string>): string {
  const near = nearest(name, known);
  return near === undefined ? "" : `: did you mean ${JSON.stringify(near)}?`;
}

function quoteKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key);
}

function hasEntries(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

function tableOf(value: unknown): Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : {};
}
