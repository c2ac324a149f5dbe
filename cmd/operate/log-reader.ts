// The log of a job as it comes from the coordinator, batch by batch, each asked for when the one before is dealt with.
import type { JobState, LogLines, LogsBegun } from "../../core/coordinator/answers.ts";
import type { Logs } from "../../core/coordinator/bodies.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import type { Node } from "../../core/node/node.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { ANSWER_LIMIT_MS } from "./asking.ts";

/** What of a job's log is wanted. */
export type LogRequest = Omit<Logs, "reader">;

/** How the job stood at the end of its log. */
export interface LogEnd {
  job: number;
  state: JobState;
  exitCode: number | null;
}

// A client has one: it serves one command.
const READER = 1;

/**
 * Hands each batch to `take`, and waits for it before the next; resolves at the log's end. Rejects with what `take` throws,
 * with STORAGE when the log cannot be read on, LINK_CLOSED when the coordinator goes, CANCELLED when aborted; or with
 * what the coordinator refuses: no such job.
 */
export async function readLog(
  client: MeshClient,
  request: LogRequest,
  take: (lines: LogLines) => Promise<void>,
  signal: AbortSignal,
): Promise<LogEnd> {
  const { node, coordinator } = client;
  const end = Promise.withResolvers<LogLines>();
  end.promise.catch(() => {}); // it may fail before anybody waits for it
  node.handleRequest(MessageType.logLines, async (lines: LogLines) => {
    if (lines.reader !== READER) return;
    await take(lines).then(() => lines.end && end.resolve(lines), end.reject);
  });
  const abort = () => end.reject(new MeshError("CANCELLED", "reading the log was cancelled", { cause: signal.reason }));
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  const stopWatching = onceLost(node, coordinator.node, (error) => end.reject(error));
  node.hold(); // no question is under way while lines are waited for
  try {
    const options = { timeoutMs: ANSWER_LIMIT_MS, signal };
    const begun = await client.ask<LogsBegun>(MessageType.logs, { ...request, reader: READER }, options);
    const { state = begun.state, exitCode = null, error } = await end.promise;
    if (error === undefined) return { job: begun.job, state, exitCode };
    throw new MeshError("STORAGE", `the log of job ${begun.job} ends here, it cannot be read on: ${error}`);
  } catch (error) {
    node.notify(coordinator, MessageType.stopLogs, { reader: READER });
    throw error;
  } finally {
    node.release();
    stopWatching();
    signal.removeEventListener("abort", abort);
  }
}

/** Calls back when the last link to that node ended; returns how to stop that. */
function onceLost(node: Node, wanted: number, lost: (error: MeshError) => void): () => void {
  const before = node.onPeerLost;
  node.onPeerLost = (peer, cause) => {
    before(peer, cause);
    if (peer.node !== wanted) return;
    const message = "the coordinator went away; the job goes on, and so does its log: try again";
    lost(new MeshError("LINK_CLOSED", message, cause && { cause }));
  };
  return () => {
    node.onPeerLost = before;
  };
}
