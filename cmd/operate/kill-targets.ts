// What the words behind `mesh kill` mean: jobs by number, nodes and jobs by name.
import type { JobRecord, NodeStatus, Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import type { Role } from "../../core/identity/names.ts";
import { nearest } from "../../core/nearest.ts";
import { askJobs } from "./asking.ts";
import { jobWords } from "./job-words.ts";

export type TargetKind = "job" | "node" | "any";

export type Target =
  | { kind: "job"; job: number; name: string }
  | { kind: "node"; name: string; role: Role; state: NodeStatus["state"] }
  /** A job that is over already. */
  | { kind: "over"; record: JobRecord };

/** Each of the targets once. Throws USAGE for a word that stands for nothing or for two things, before anything is done. */
export async function findTargets(
  texts: readonly string[],
  kind: TargetKind,
  status: Status,
  client: MeshClient,
): Promise<Target[]> {
  let asked: Promise<JobRecord[]> | undefined;
  const history = () => {
    asked ??= askJobs(client);
    return asked;
  };
  const targets = new Map<string, Target>();
  for (const text of texts) {
    const target = await findTarget(text, kind, status, history);
    targets.set(target.kind === "node" ? `node ${target.name}` : `job ${jobOf(target)}`, target);
  }
  return [...targets.values()];
}

async function findTarget(
  text: string,
  kind: TargetKind,
  status: Status,
  history: () => Promise<JobRecord[]>,
): Promise<Target> {
  if (kind !== "node" && /^\d+$/.test(text)) return byNumber(Number(text), status, await lazily(text, status, history));
  const node = kind === "job" ? undefined : status.nodes.find(({ name }) => name === text);
  const job = kind === "node" ? undefined : newest(status.jobs.filter(({ name }) => name === text));
  if (node && job) {
    throw new MeshError(
      "USAGE",
      `${JSON.stringify(text)} is a node (a ${node.role} on ${node.host}) and a running job (${job.job}): ` +
        `\`mesh kill ${job.job}\` ends the job, \`mesh kill --node ${text}\` the node`,
    );
  }
  if (node) return { kind: "node", name: node.name, role: node.role, state: node.state };
  if (job) return { kind: "job", job: job.job, name: job.name };
  const past = kind === "node" ? undefined : newest((await history()).filter(({ name }) => name === text));
  if (past) return { kind: "over", record: past };
  throw unknown(text, kind, status);
}

/** The history is asked for only when the job does not run. */
async function lazily(text: string, { jobs }: Status, history: () => Promise<JobRecord[]>): Promise<JobRecord[]> {
  return jobs.some(({ job }) => job === Number(text)) ? [] : await history();
}

function byNumber(number: number, { jobs }: Status, history: readonly JobRecord[]): Target {
  const running = jobs.find(({ job }) => job === number);
  if (running) return { kind: "job", job: number, name: running.name };
  const record = history.find(({ job }) => job === number);
  if (record) return { kind: "over", record };
  const last = history[0] ? `: the last one is ${jobWords(history[0])}` : ": none has run yet";
  throw new MeshError("USAGE", `there is no job ${number} in this mesh${last}; \`mesh jobs\` lists them`);
}

function unknown(text: string, kind: TargetKind, { nodes, jobs }: Status): MeshError {
  const names = [
    ...(kind === "job" ? [] : nodes.map(({ name }) => name)),
    ...(kind === "node" ? [] : jobs.map(({ name }) => name)),
  ];
  const what = { job: "running job", node: "node", any: "node or running job" }[kind];
  const near = nearest(text, names);
  const advice = near === undefined ? "`mesh status` lists what there is" : `did you mean ${JSON.stringify(near)}?`;
  return new MeshError("USAGE", `no ${what} is named ${JSON.stringify(text)}: ${advice}`);
}

function newest(jobs: readonly JobRecord[]): JobRecord | undefined {
  return jobs.reduce<JobRecord | undefined>((best, next) => (best && best.job > next.job ? best : next), undefined);
}

function jobOf(target: Exclude<Target, { kind: "node" }>): number {
  return target.kind === "over" ? target.record.job : target.job;
}
