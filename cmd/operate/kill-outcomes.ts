// Ending jobs and nodes, and what became of each.
import type { KilledJob, Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { ask } from "./asking.ts";
import { endWords, jobWords } from "./job-words.ts";
import type { Target } from "./kill-targets.ts";

/** What became of one job or node; `error` is there when it is not known to be dead. */
export interface Outcome {
  what: string;
  words: string;
  job?: KilledJob;
  node?: string;
  error?: Error;
}

type NodeTarget = Extract<Target, { kind: "node" }>;

/** So much longer than the grace period the coordinator may take: it waits for the end to be seen, and says if it is not. */
const KILL_EXTRA_MS = 30_000;

/** Ends one target; never rejects. */
export async function endTarget(client: MeshClient, target: Target, graceMs: number): Promise<Outcome> {
  if (target.kind === "node") return endNode(client, target, graceMs);
  if (target.kind === "job") return endJob(client, target, graceMs);
  const { job, name, state, exitCode, cause } = target.record;
  const words = `was over already: ${endWords(target.record)}`;
  return { what: jobWords(target.record), words, job: { job, name, state, exitCode, cause } };
}

/** Ends all jobs, those too that begin meanwhile, then all workers; never rejects. */
export async function endAll(client: MeshClient, { jobs, nodes }: Status, graceMs: number): Promise<Outcome[]> {
  // One by one, so that one that does not end hides none that did.
  const ofJobs = await Promise.all(jobs.map((job) => endJob(client, job, graceMs)));
  const ofLateJobs = ofJobs.every(({ error }) => error === undefined) ? await endLateJobs(client, graceMs) : [];
  // By name: an order to end a node ends those too that retire under its name.
  const workers = new Map(nodes.filter(({ role }) => role === "worker").map((node) => [node.name, node]));
  const ofNodes = await Promise.all([...workers.values()].map((node) => endNode(client, node, graceMs)));
  return [...ofJobs, ...ofLateJobs, ...ofNodes];
}

function endJob(client: MeshClient, { job, name }: { job: number; name: string }, graceMs: number): Promise<Outcome> {
  const what = jobWords({ job, name });
  return attempt({ what }, async () => {
    const [killed] = await killJobs(client, { job, graceMs });
    if (!killed) throw new MeshError("PROTOCOL", "the coordinator does not say how it ended");
    return outcomeOf(killed);
  });
}

async function endLateJobs(client: MeshClient, graceMs: number): Promise<Outcome[]> {
  try {
    return (await killJobs(client, { all: true, graceMs })).map(outcomeOf);
  } catch (error) {
    return [failure({ what: "jobs that began meanwhile" }, error)];
  }
}

function endNode(
  client: MeshClient,
  { name, role, state }: Omit<NodeTarget, "kind">,
  graceMs: number,
): Promise<Outcome> {
  const outcome = { what: `node ${name}`, node: name };
  return attempt(outcome, async () => {
    if (state === "down") return { ...outcome, words: "was down already" };
    const body = { name, graceMs };
    try {
      await ask(client, { type: "killNode", body, timeoutMs: graceMs + KILL_EXTRA_MS });
    } catch (error) {
      // Who should answer is who ends.
      if (role !== "coordinator" || !isMeshError(error, "LINK_CLOSED")) throw error;
    }
    return { ...outcome, words: "ended" };
  });
}

async function killJobs(client: MeshClient, body: { graceMs: number } & ({ job: number } | { all: true })) {
  const timeoutMs = body.graceMs + KILL_EXTRA_MS;
  return (await ask<{ jobs: KilledJob[] }>(client, { type: "killJob", body, timeoutMs })).jobs;
}

function outcomeOf(job: KilledJob): Outcome {
  return { what: jobWords(job), words: endWords(job), job };
}

async function attempt(subject: Pick<Outcome, "what" | "node">, act: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await act();
  } catch (error) {
    return failure(subject, error);
  }
}

function failure(subject: Pick<Outcome, "what" | "node">, cause: unknown): Outcome {
  if (!isMeshError(cause)) throw cause; // a bug
  const words = `could not be ended: ${cause.message}`;
  return { ...subject, words, error: new MeshError(cause.code, `${subject.what} ${words}`, { cause }) };
}
