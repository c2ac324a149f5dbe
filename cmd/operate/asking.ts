// The questions that several commands put to the coordinator. Asking for longer than the limit is TIMEOUT.
import type { JobRecord, Status } from "../../core/coordinator/answers.ts";
import type * as bodies from "../../core/coordinator/bodies.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
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
