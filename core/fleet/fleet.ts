// Brings workers up on many hosts at once, and down again. One host that fails stops none of the others and is not lost
// among them: every host has an outcome. Knows no terminal, no provider by name and no transport.
import { buildOf, type NodeStatus } from "../coordinator/answers.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Plan, Provider, ProviderContext } from "../provider.ts";
import { type FleetHost, roleOf } from "./hosts.ts";
import type { FleetRecord } from "./record.ts";

/** What became of one host; of "failed", why. */
export interface HostOutcome {
  host: FleetHost;
  outcome: "started" | "replaced" | "unchanged" | "stopped" | "absent" | "failed";
  /** Bytes sent to it. */
  sentBytes: number;
  /** Folders removed there. */
  removed: string[];
  error?: MeshError;
}

export interface FleetOptions {
  hosts: readonly FleetHost[];
  /** The provider of that name. */
  provider(name: string): Provider;
  context: Omit<ProviderContext, "progress">;
  record: FleetRecord;
  /** How many hosts are worked on at a time. */
  parallel: number;
  progress(host: FleetHost, text: string): void;
  done(outcome: HostOutcome): void;
}

/** What is known of the mesh's nodes, by name; empty when it is not up. */
export type NodesByName = ReadonlyMap<string, NodeStatus>;

/** Starts a worker, or what else it is to have, on each host where none of this build with these settings runs. Never rejects. */
export function bringUp(options: FleetOptions, nodes: NodesByName): Promise<HostOutcome[]> {
  const { record, provider, context } = options;
  return forEachHost(options, async (host, progress) => {
    if (isAsWanted(host, nodes.get(host.name), options)) return { outcome: "unchanged" };
    const { outcome, sentBytes } = await provider(host.provider).start(host, { ...context, progress });
    record.set(host);
    return { outcome, sentBytes };
  });
}

/** Whether the mesh says that the worker runs, is of this build, and was started from here with these settings. */
function isAsWanted(host: FleetHost, node: NodeStatus | undefined, { record, context }: FleetOptions): boolean {
  if (node?.role !== roleOf(host) || node.state !== "up") return false;
  return buildOf(node) === context.build && record.isSame(host);
}

/**
 * Ends the workers, by `kill` where the mesh reaches them, else by their provider; `purge` removes all that mesh keeps on
 * the hosts. Never rejects.
 */
export function bringDown(
  options: FleetOptions,
  nodes: NodesByName,
  { purge, graceMs, kill }: { purge: boolean; graceMs: number; kill(name: string): Promise<void> },
): Promise<HostOutcome[]> {
  const { record, provider, context } = options;
  return forEachHost(options, async (host, progress) => {
    const node = nodes.get(host.name);
    const isUp = node?.role === roleOf(host) && node.state !== "down";
    const isKilled = isUp && (await wasKilled(kill(host.name)));
    const wanted = { purge, graceMs };
    const stopped =
      isKilled && !purge ? undefined : await provider(host.provider).stop(host, wanted, { ...context, progress });
    record.delete(host.name);
    return { outcome: isKilled ? "stopped" : stopped!.outcome, removed: stopped?.removed ?? [] };
  });
}

/** False when the mesh cannot tell what became of the worker; it may be reached in another way. */
async function wasKilled(killing: Promise<void>): Promise<boolean> {
  try {
    await killing;
    return true;
  } catch (error) {
    if (isMeshError(error, "UNREACHABLE") || isMeshError(error, "TIMEOUT")) return false;
    throw error;
  }
}

/** What bringUp would do. Rejects for none: a host that cannot be looked at has the error in its place. */
export async function planUp(options: FleetOptions, nodes: NodesByName): Promise<Map<FleetHost, Plan | MeshError>> {
  const planned = async (host: FleetHost): Promise<[FleetHost, Plan | MeshError]> => {
    const plan = await planFor(host, options, nodes).catch((error) => meshErrorOf(error, host));
    return [host, plan];
  };
  return new Map(await inParallel(options.hosts, options.parallel, planned));
}

async function planFor(host: FleetHost, options: FleetOptions, nodes: NodesByName): Promise<Plan> {
  if (isAsWanted(host, nodes.get(host.name), options)) return { action: "none", steps: [] };
  const context = { ...options.context, progress: (text: string) => options.progress(host, text) };
  return await options.provider(host.provider).plan(host, context);
}

type Done = Pick<HostOutcome, "outcome"> & Partial<HostOutcome>;

async function forEachHost(
  options: FleetOptions,
  act: (host: FleetHost, progress: (text: string) => void) => Promise<Done>,
): Promise<HostOutcome[]> {
  const inOneGo = async (hosts: readonly FleetHost[]) => {
    const outcomes: HostOutcome[] = [];
    for (const host of hosts) {
      const outcome = await outcomeOf(options, host, act);
      options.done(outcome);
      outcomes.push(outcome);
    }
    return outcomes;
  };
  const outcomes = (await inParallel(byLogin(options.hosts), options.parallel, inOneGo)).flat();
  return outcomes.sort((a, b) => options.hosts.indexOf(a.host) - options.hosts.indexOf(b.host));
}

/** Hosts of one login, such as a worker and a rendezvous of one machine, which go one after the other: the binary is sent once. */
function byLogin(hosts: readonly FleetHost[]): FleetHost[][] {
  return [...Map.groupBy(hosts, ({ provider, target }) => `${provider} ${target}`).values()];
}

async function outcomeOf(
  { context, progress }: FleetOptions,
  host: FleetHost,
  act: (host: FleetHost, progress: (text: string) => void) => Promise<Done>,
): Promise<HostOutcome> {
  const none = { host, sentBytes: 0, removed: [] };
  try {
    if (context.signal.aborted) throw new MeshError("CANCELLED", `${host.name}: not begun`);
    return { ...none, ...(await act(host, (text) => progress(host, text))) };
  } catch (error) {
    return { ...none, outcome: "failed", error: meshErrorOf(error, host) };
  }
}

/** A bug in a provider, be it a user's, is told as that host's failure too. */
export function meshErrorOf(error: unknown, host: FleetHost): MeshError {
  if (isMeshError(error)) return error;
  const words = error instanceof Error ? error.message : String(error);
  return new MeshError("PROTOCOL", `${host.name}: the provider ${host.provider} failed: ${words}`, { cause: error });
}

/** Runs `act` for each item, for at most `limit` of them at a time; the results in the order of the items. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  act: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  const waiting = items.entries();
  const lane = async () => {
    for (const [at, item] of waiting) results[at] = await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return results;
}
