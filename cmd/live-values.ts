// What a shell may offer that only the mesh knows: numbers of jobs, names of nodes. Somebody waits at a prompt: what is not
// there in an instant, or goes wrong, is not offered.
import type { JobRecord, NodeStatus } from "../core/coordinator/answers.ts";
import type { MeshClient } from "../core/coordinator/client.ts";
import { isName } from "../core/identity/names.ts";
import { knownMeshes } from "../core/member/known.ts";
import { askJobs, askStatus } from "./operate/asking.ts";
import { connect, type Surroundings } from "./surroundings.ts";
import { printable } from "./table.ts";

export interface LiveValue {
  value: string;
  description: string;
}

const LIMIT_MS = 300;
const JOBS_SHOWN = 20;

type Source = (client: MeshClient) => Promise<LiveValue[]>;

const SOURCES: Record<string, Source> = {
  kill: async (client) => {
    const { jobs, nodes } = await askStatus(client);
    return [...ofJobs(jobs), ...ofNodes(nodes)];
  },
  attach: async (client) => ofJobs((await askStatus(client)).jobs),
  logs: async (client) => {
    const [jobs, { nodes }] = await Promise.all([askJobs(client, JOBS_SHOWN), askStatus(client)]);
    return [...ofJobs(jobs), ...ofNodes(nodes.filter(isWorker))];
  },
  exec: async (client) => ofNodes((await askStatus(client)).nodes.filter(isWorker)),
  doctor: async (client) => ofNodes((await askStatus(client)).nodes),
  status: async (client) => ofNodes((await askStatus(client)).nodes),
  revoke: async (client) => ofNodes((await askStatus(client)).nodes.filter(({ role }) => role !== "coordinator")),
};
const isWorker = ({ role }: NodeStatus) => role === "worker";
const hosts: Source = async (client) => ofNodes((await askStatus(client)).nodes);

/** What the last of `words`, those behind `mesh`, may become; nothing when the mesh is not asked for that. */
export async function liveValues(words: readonly string[], around: Surroundings): Promise<LiveValue[]> {
  const source = sourceFor(words);
  if (!source) return [];
  let values: LiveValue[] = [];
  const asking = async () => {
    await using client = await connect(around, { mesh: meshIn(words) });
    values = await source(client);
  };
  const late = Promise.withResolvers<void>();
  const timer = around.clock.after(LIMIT_MS, () => late.resolve());
  await Promise.race([asking().catch(() => {}), late.promise]);
  timer.cancel();
  return values;
}

/** The meshes that this machine knows. */
export function meshNames(): LiveValue[] {
  try {
    return knownMeshes().map((value) => ({ value, description: "" }));
  } catch {
    return []; // a state folder that is not ours to read
  }
}

function sourceFor(words: readonly string[]): Source | undefined {
  const [command = "", ...rest] = words;
  const [before, partial = ""] = [rest.at(-2), rest.at(-1)];
  if (command === "logs" && (before === "--host" || partial.startsWith("--host="))) return hosts;
  if (rest.length === 0 || partial.startsWith("-")) return undefined;
  if (command === "doctor" && !rest.includes("--path")) return undefined; // hosts, which need not be up
  return Object.hasOwn(SOURCES, command) ? SOURCES[command] : undefined;
}

function meshIn(words: readonly string[]): string | undefined {
  const at = words.indexOf("--mesh");
  const behind = at < 0 ? undefined : words[at + 1];
  return behind ?? words.find((word) => word.startsWith("--mesh="))?.slice("--mesh=".length);
}

function ofJobs(jobs: readonly JobRecord[]): LiveValue[] {
  return jobs.map(({ job, name, state }) => ({ value: String(job), description: `${printable(name)}, ${state}` }));
}

function ofNodes(nodes: readonly NodeStatus[]): LiveValue[] {
  return nodes
    .filter(({ name }) => isName(name))
    .map(({ name, role, host }) => ({ value: name, description: `${role} on ${printable(host)}` }));
}
