// Sends logs to who asked for them, batch by batch: the next is read when the last was taken, so that a slow reader costs
// one batch of memory and nothing else.
import { isMeshError, MeshError } from "../errors.ts";
import { MessageType } from "../wire/message-types.ts";
import type { LogLines, LogsBegun } from "./answers.ts";
import type { Logs, StopLogs } from "./bodies.ts";
import type { Asker, CoordinatorNode } from "./door.ts";
import type { JobLogs } from "./job-logs.ts";
import type { Jobs } from "./jobs.ts";
import type { LogFilter, LogReader } from "./log-reader.ts";

/** One peer may read so many logs at a time. */
const STREAMS_PER_PEER = 32;

interface Stream {
  asker: Asker;
  body: Logs;
  job: number;
  reader: LogReader;
  stop: AbortController;
}

export class LogStreams {
  readonly #node: CoordinatorNode;
  readonly #jobs: Jobs;
  readonly #logs: JobLogs;
  /** By peer, then by the number the peer gave. */
  readonly #streams = new Map<number, Map<string, Stream>>();

  constructor(node: CoordinatorNode, jobs: Jobs, logs: JobLogs) {
    this.#node = node;
    this.#jobs = jobs;
    this.#logs = logs;
  }

  /** Begins to send; the lines follow the answer. Throws USAGE for an unknown job or too many streams. */
  start(body: Logs, asker: Asker): LogsBegun {
    const { job, state } = this.#jobs.find(body.job);
    const streams = this.#streams.get(asker.node) ?? new Map<string, Stream>();
    const key = keyOf(body, asker);
    if (streams.has(key)) throw new MeshError("USAGE", `reader ${body.reader} reads a log already`);
    if (streams.size >= STREAMS_PER_PEER) {
      throw new MeshError("USAGE", `${asker.name} reads ${streams.size} logs already, and no more are allowed`);
    }
    const reader = this.#logs.reader(job, filterOf(body));
    const stream = { asker, body, job, reader, stop: new AbortController() };
    this.#streams.set(asker.node, streams.set(key, stream));
    void this.#run(stream).finally(() => {
      streams.delete(key);
      if (streams.size === 0 && this.#streams.get(asker.node) === streams) this.#streams.delete(asker.node);
    });
    return { job, state };
  }

  stop(body: StopLogs, asker: Asker): void {
    this.#streams.get(asker.node)?.get(keyOf(body, asker))?.stop.abort();
  }

  /** A peer is gone, and nobody reads what it asked for. */
  peerGone(node: number): void {
    for (const { stop } of this.#streams.get(node)?.values() ?? []) stop.abort();
  }

  close(): void {
    for (const node of this.#streams.keys()) this.peerGone(node);
  }

  async #run(stream: Stream): Promise<void> {
    const { job, reader, stop, body } = stream;
    const bell = new Bell();
    const unwatch = this.#logs.watch(job, bell.ring);
    stop.signal.addEventListener("abort", bell.ring);
    this.#jobs.whenOver(job).then(bell.ring, bell.ring);
    try {
      if (body.tail !== undefined) await reader.seekTail(body.tail);
      await this.#sendAll(stream, bell);
      const { state, exitCode } = this.#jobs.find(job);
      await this.#send(stream, { records: [], end: true, state, exitCode });
    } catch (error) {
      // Who asked is gone or wants no more; else it is told.
      if (stop.signal.aborted || isMeshError(error, "LINK_CLOSED")) return;
      await this.#send(stream, { records: [], end: true, error: (error as Error).message }).catch(() => {});
    } finally {
      unwatch();
      await reader.close();
    }
  }

  async #sendAll(stream: Stream, bell: Bell): Promise<void> {
    const { reader, job, body, stop } = stream;
    while (!stop.signal.aborted) {
      bell.reset();
      const isOver = !this.#jobs.isRunning(job); // asked before reading: what was printed before is read then
      const { records, droppedBytes } = await reader.next();
      if (records.length > 0) await this.#send(stream, { records, ...(droppedBytes > 0 && { droppedBytes }) });
      else if (isOver || !body.follow) return;
      else await bell.rung;
    }
    throw stop.signal.reason;
  }

  async #send({ asker, body, stop }: Stream, lines: Omit<LogLines, "reader">): Promise<void> {
    const { signal } = stop;
    await this.#node.request(asker.from, MessageType.logLines, { reader: body.reader, ...lines }, { signal });
  }
}

/** Something has happened since the last reset. */
class Bell {
  #wait = Promise.withResolvers<void>();

  readonly ring = (): void => this.#wait.resolve();

  get rung(): Promise<void> {
    return this.#wait.promise;
  }

  reset(): void {
    this.#wait = Promise.withResolvers<void>();
  }
}

function keyOf({ reader }: { reader: number }, { from }: Asker): string {
  return `${from.slot}/${reader}`;
}

function filterOf({ host, slot, stream }: Logs): LogFilter {
  return { ...(host !== undefined && { host }), ...(slot !== undefined && { seat: slot }), ...(stream && { stream }) };
}
