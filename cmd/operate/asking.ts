// The questions that several commands put to the coordinator. Asking for longer than the limit is TIMEOUT.
import type { JobRecord, NodeStatus, Status } from "../../core/coordinator/answers.ts";
import type * as bodies from "../../core/coordinator/bodies.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import type { ExplainPath, PathReport } from "../../core/coordinator/path-report.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { RequestOptions } from "../../core/node/node.ts";
import { MessageType } from "../../core/wire/message-types.ts";

/** A coordinator that is well answers in milliseconds. */
export const ANSWER_LIMIT_MS = 10_000;
/** The most jobs one answer tells of. */
export const HISTORY_LIMIT = 1_000;

/** Who is in the mesh, and what runs. */
export function askStatus(client: MeshClient, options: RequestOptions = {}): Promise<Status> {
  return client.ask(MessageType.status, {}, { timeoutMs: ANSWER_LIMIT_MS, ...options });
}

/** The node that has that name. Throws USAGE with what may have been meant. */
export function nodeNamed(name: string, nodes: readonly NodeStatus[]): NodeStatus {
  const found = nodes.find((node) => node.name === name);
  if (found) return found;
  const guess = nearest(
    name,
    nodes.map((node) => node.name),
  );
  throw new MeshError("USAGE", `there is no node "${name}" in the mesh${guess ? `; did you mean "${guess}"?` : ""}`);
}

/** A node may look for ways to another, and at the routers before it, for 12 s. */
const EXPLAIN_LIMIT_MS = 15_000;

/** How a node reaches another one, as it says itself; why it does not, where it could not be asked. */
export function askPath(client: MeshClient, body: ExplainPath): Promise<PathReport | MeshError> {
  const asked = client.ask<PathReport>(MessageType.explainPath, body, { timeoutMs: EXPLAIN_LIMIT_MS });
  return asked.catch((error) => {
    if (isMeshError(error)) return error;
    throw error;
  });
}

/** How two nodes reach each other, as each says; by their names. */
export async function askPair(
  client: MeshClient,
  a: NodeStatus,
  b: NodeStatus,
): Promise<Map<string, PathReport | MeshError>> {
  const [own, other] = await Promise.all([
    askPath(client, { from: a.node, node: b.node }),
    askPath(client, { from: b.node, node: a.node }),
  ]);
  return new Map([
    [a.name, own],
    [b.name, other],
  ]);
}

/** The last `limit` jobs, newest first. */
export async function askJobs(client: MeshClient, limit = HISTORY_LIMIT): Promise<JobRecord[]> {
  const options = { timeoutMs: ANSWER_LIMIT_MS };
  const { jobs } = await client.ask<{ jobs: JobRecord[] }>(MessageType.jobs, { limit }, options);
  return jobs;
}

/** Asks for what a body of bodies.ts stands for. */
export function ask<Answer>(client: MeshClient, request: Question): Promise<Answer> {
  return client.ask(MessageType[request.type], request.body, { timeoutMs: request.timeoutMs ?? ANSWER_LIMIT_MS });
}

type Question = { timeoutMs?: number } & (
  | { type: "killJob"; body: bodies.KillJob }
  | { type: "killNode"; body: bodies.KillNode }
  | { type: "issueToken"; body: bodies.IssueToken }
  | { type: "admit"; body: bodies.Admit }
  | { type: "revoke"; body: bodies.Revoke }
  | { type: "rotateCa"; body: bodies.RotateCa }
);
