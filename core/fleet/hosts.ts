// Which hosts are meant: those of mesh.toml, those that earlier calls brought up, and whatever else ssh finds by that name.
import type { HostConfig, MeshConfig } from "../config/mod.ts";
import { RENDEZVOUS_NAME } from "../config/names.ts";
import { expandRanges } from "../config/ranges.ts";
import { MeshError } from "../errors.ts";
import { isName, NAME_WORDS } from "../identity/names.ts";
import { nearest } from "../nearest.ts";
import type { HostRole, ProvidedHost, WorkerSettings } from "../provider.ts";

/** A host, and the provider that starts its worker. */
export interface FleetHost extends ProvidedHost {
  provider: string;
}

/** What all workers of a mesh have in common. */
export type CommonSettings = Pick<WorkerSettings, "transports" | "heartbeatMs" | "suspectAfterMs" | "downAfterMs">;

/** A host of mesh.toml as its provider is to see it. */
export function hostOf(entry: HostConfig, common: CommonSettings): FleetHost {
  const { name, provider, ssh, slots, slotMemoryBytes, tags, listen, advertise } = entry;
  return {
    name,
    provider,
    target: ssh,
    worker: {
      ...(slots !== undefined && { slots }),
      ...(slotMemoryBytes !== undefined && { slotMemoryBytes }),
      ...(listen && { listen }),
      ...(advertise && { advertise }),
      tags,
      ...common,
    },
  };
}

/** What is started on a host. */
export function roleOf({ worker }: FleetHost): HostRole {
  return worker.role ?? "worker";
}

/** Where mesh.toml has `mesh up` start a rendezvous; undefined when the coordinator is the only one. */
export function rendezvousOf({ rendezvous, hosts }: MeshConfig, common: CommonSettings): FleetHost | undefined {
  const { host, ssh, listen, advertise, settings } = rendezvous;
  const entry = hosts.find(({ name }) => name === host);
  const target = ssh ?? entry?.ssh ?? host;
  if (target === undefined) return undefined;
  const own = { ...(listen && { listen }), ...(advertise && { advertise }), rendezvous: settings };
  return {
    name: RENDEZVOUS_NAME,
    provider: entry?.provider ?? (ssh === undefined ? "local" : "ssh"),
    target,
    worker: { role: "rendezvous", ...own, tags: [], ...common },
  };
}

/**
 * The hosts that `words` name: each a host among `known`, a range of them ("rack[01-16]"), or, if nothing is known of that
 * name, a destination for ssh ("alice@10.0.0.5"). Without words all that are known. Throws USAGE for what can be neither.
 */
export function chooseHosts(
  words: readonly string[],
  known: readonly FleetHost[],
  common: CommonSettings,
): FleetHost[] {
  if (words.length === 0) return [...known];
  const byName = new Map(known.map((host) => [host.name, host]));
  const chosen = new Map<string, FleetHost>();
  for (const word of words.flatMap((each) => expandRanges(each))) {
    const host = byName.get(word) ?? destination(word, common);
    const other = chosen.get(host.name);
    if (other && other.target !== host.target) {
      const message = `${other.target} and ${host.target} would both be named ${host.name}: name them in mesh.toml`;
      throw new MeshError("USAGE", message);
    }
    chosen.set(host.name, host);
  }
  return [...chosen.values()];
}

/** Those hosts, and the rendezvous of mesh.toml, if it has one: without it they may not find each other. */
export function andRendezvous(chosen: readonly FleetHost[], known: readonly FleetHost[]): FleetHost[] {
  const rendezvous = known.filter((host) => roleOf(host) === "rendezvous" && !chosen.includes(host));
  return [...rendezvous, ...chosen];
}

/** A host that nothing is known of but how ssh gets there. */
function destination(word: string, common: CommonSettings): FleetHost {
  const name = nameOf(word);
  if (word.startsWith("-") || /[\s\p{Cc}]/u.test(word) || !isName(name)) {
    throw new MeshError(
      "USAGE",
      `${JSON.stringify(word)} is no host: a name for ssh is meant; nodes' names have ${NAME_WORDS}`,
    );
  }
  return hostOf({ name, provider: "ssh", ssh: word, tags: [] }, common);
}

/** The node's name for a destination: without its user and port, as letters, digits, ".", "_" and "-". */
function nameOf(destination: string): string {
  const host = destination.replace(/^ssh:\/\//, "").replace(/^.*@/, "");
  return host
    .replace(/^\[(.*)\](:\d+)?$/, "$1")
    .replace(/^([^:]+):\d+$/, "$1")
    .replace(/[^A-Za-z0-9._-]/g, "-");
}

/** Advice on a destination that ssh could not find, when something like it is known. */
export function didYouMean(host: FleetHost, known: readonly FleetHost[]): string {
  const names = known.map(({ name }) => name);
  if (names.includes(host.name)) return "";
  const near = nearest(host.name, names);
  return near === undefined ? "" : `; mesh.toml names no such host: did you mean ${near}?`;
}
