// The jobs that run, as their heads tell of them, and what becomes of them when a head does not come back. What runs is
// kept here; the history is in JobStore, and its disk may be full without any job noticing.
import type { Clock, Timer } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { JobBegun, JobRecord } from "./answers.ts";
import type { BeginJob, EndJob, JobProgress } from "./bodies.ts";
import type { Peer } from "./door.ts";
import { History } from "./history.ts";
import type { JobStore } from "./job-store.ts";

export interface JobsOptions {
  store: JobStore;
  clock: Clock;
  /** ms since 1970. */
  wallMs(): number;
  /** How long a job outlives the session of its head. */
  leaseMs: number;
  /** How long heads have to come back after a restart of the coordinator, and to come after they were started. */
  returnMs: number;
  /** The history keeps so many. */
  keep: number;
  ended(record: JobRecord): void;
  /** The history forgot these. */
  forgotten(jobs: number[]): void;
  /** The head of a job that is to be ended has come. */
  claimedToEnd(record: JobRecord): void;
}

interface Running {
  record: JobRecord;
  /** Runs while its head is not there. */
  timer?: Timer;
  /** Somebody asked for its end. */
  killing: boolean;
  over: PromiseWithResolvers<JobRecord>;
}

/** Numbers that heads bring along may be so far above the last one known. */
const NUMBERS_AHEAD = 10_000;
/** So many heads of jobs that are over are known yet, so that what they say late finds its job. */
const PAST_HEADS = 1_000;

export class Jobs {
  readonly #options: JobsOptions;
  readonly #history: History;
  readonly #running = new Map<number, Running>();
  /** Job of each head that has come. */
  readonly #byHead = new Map<number, Running>();
  /** Heads whose jobs are over. */
  readonly #past = new Map<number, JobRecord>();
  #last: number;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#history = new History(options);
    this.#last = options.store.lastNumber();
    for (const record of options.store.running()) {
      const job = this.#track(record);
      if (record.head.node !== 0) this.#byHead.set(record.head.node, job);
      this.#expect(job, options.returnMs, "its head did not come back after the coordinator's restart");
    }
  }

  running(): JobRecord[] {
    return [...this.#running.values()].map(({ record }) => record).sort((a, b) => a.job - b.job);
  }

  /** The job that this head runs. */
  ofHead(node: number): JobRecord | undefined {
    return this.#byHead.get(node)?.record;
  }

  /** Newest first. Throws STORAGE when the history cannot be read. */
  list(limit: number): JobRecord[] {
    const known = new Map(this.#history.list(limit).map((record) => [record.job, record]));
    for (const record of this.running()) known.set(record.job, record);
    return [...known.values()].sort((a, b) => b.job - a.job).slice(0, limit);
  }

  /** The job of that number, or the last of that name, one that runs first. Throws USAGE with the nearest name. */
  find(ref: number | string): JobRecord {
    const running = this.running();
    const record =
      typeof ref === "number"
        ? (this.#running.get(ref)?.record ?? this.#history.get(ref))
        : (running.findLast(({ name }) => name === ref) ?? this.#history.byName(ref));
    if (record) return record;
    if (typeof ref === "number") {
      const last = this.#last === 0 ? "none has run yet" : `the last one is ${this.#last}`;
      throw new MeshError("USAGE", `there is no job ${ref}: ${last}; mesh jobs lists them`);
    }
    const guess = nearest(ref, [...running.map(({ name }) => name), ...this.#history.names()]);
    throw new MeshError(
      "USAGE",
      `there is no job "${ref}"${guess ? `; did you mean "${guess}"?` : ": mesh jobs lists them"}`,
    );
  }

  /** Resolves with the job as it ended; at once when it is over. */
  async whenOver(job: number): Promise<JobRecord> {
    return this.#running.get(job)?.over.promise ?? this.find(job);
  }

  isRunning(job: number): boolean {
    return this.#running.has(job);
  }

  /** A head begins its job, or says after a restart that it still runs. */
  begin(head: Peer, body: BeginJob): JobBegun {
    const job =
      this.#claimed(head, body.job) ?? this.#new(recordOf(body, { node: head.node, name: head.name }), body.job);
    job.timer?.cancel();
    job.record.head = { node: head.node, name: head.name };
    this.#byHead.set(head.node, job);
    const warning = this.#history.save(job.record);
    if (job.killing) this.#options.claimedToEnd(job.record);
    return { job: job.record.job, ...(warning !== undefined && { warning }) };
  }

  /** Makes the record of a job whose head is not there yet. Throws STORAGE when it cannot be written. */
  prepare(body: BeginJob, headName: (job: number) => string): JobRecord {
    const job = this.#new(recordOf(body, { node: 0, name: "" }));
    job.record.head.name = headName(job.record.job);
    try {
      this.#options.store.save(job.record);
    } catch (error) {
      this.#running.delete(job.record.job); // nobody knows its number
      throw error;
    }
    return job.record;
  }

  /** The head of a prepared job was started; `node` is known when the starter knows it. */
  started(number: number, node?: number): void {
    const job = this.#running.get(number);
    if (!job || this.#byHead.has(job.record.head.node)) return;
    if (node !== undefined) job.record.head = { ...job.record.head, node };
    this.#expect(job, this.#options.returnMs, "its head was started and did not come");
  }

  progress(head: Peer, { progress, nodes }: JobProgress): void {
    const job = this.#byHead.get(head.node);
    if (!job) return;
    job.record.progress = progress;
    if (nodes) job.record.nodes = nodes;
  }

  /**
   * A head says how its job ended. The first word counts, unless it was that the job is lost: its head knows better.
   * Throws PROTOCOL when it has no job.
   */
  end(head: Peer, body: EndJob): { job: number } {
    const job = this.#byHead.get(head.node);
    const past = this.#past.get(head.node);
    if (job) this.#finish(job, endOf(body, job.killing), body);
    else if (past?.state === "lost") this.#correct(past, endOf(body, false), body);
    else if (!past) throw new MeshError("PROTOCOL", `${head.name} ends a job and has begun none`);
    return { job: (job?.record ?? past!).job };
  }

  /** The coordinator gives it up. */
  fail(number: number, cause: string): void {
    const job = this.#running.get(number);
    if (job) this.#finish(job, "failed", { cause });
  }

  headUp(node: number): void {
    const job = this.#byHead.get(node);
    if (job?.timer) delete cancelled(job).timer;
  }

  headDown(node: number, error?: Error): void {
    const job = this.#byHead.get(node);
    if (!job) return;
    const { head } = job.record;
    const cause = `its head, ${head.name}, went away${error ? `: ${error.message}` : " without a word of the job"}`;
    if (job.killing) this.#finish(job, "killed", { cause: "it was killed" });
    else this.#expect(job, this.#options.leaseMs, cause);
  }

  /** Marks a job as one that is to end. */
  killing(number: number): void {
    const job = this.#running.get(number);
    if (job) job.killing = true;
  }

  close(): void {
    for (const { timer } of this.#running.values()) timer?.cancel();
    this.#history.close();
  }

  /** The job a head may call its own. */
  #claimed(head: Peer, number: number | undefined): Running | undefined {
    const own = this.#byHead.get(head.node);
    if (own) return own;
    if (number === undefined) return undefined;
    const job = this.#running.get(number) ?? this.#revived(head, number);
    const { node, name } = job?.record.head ?? { node: 0, name: "" };
    return name === head.name && (node === 0 || node === head.node) ? job : undefined;
  }

  /** A job that was given up too early. */
  #revived(head: Peer, number: number): Running | undefined {
    const past = this.#past.get(head.node) ?? this.#history.get(number);
    const isIt = past?.job === number && past.state === "lost" && past.head.node === head.node;
    if (!isIt || past.head.name !== head.name) return undefined;
    this.#past.delete(head.node);
    return this.#track({ ...past, state: "running", cause: null, endedAt: null });
  }

  #new(record: JobRecord, wanted?: number): Running {
    const isFree = wanted !== undefined && wanted <= this.#last + NUMBERS_AHEAD && !this.#isKnown(wanted);
    const job = isFree ? wanted : this.#last + 1;
    this.#last = Math.max(this.#last, job);
    // Both ends of a job by one clock, where that can be.
    const now = this.#options.wallMs();
    return this.#track({ ...record, job, startedAt: isFree ? Math.min(record.startedAt, now) : now });
  }

  #isKnown(job: number): boolean {
    try {
      return this.#running.has(job) || this.#history.get(job) !== undefined;
    } catch (error) {
      if (isMeshError(error, "STORAGE")) return true;
      throw error;
    }
  }

  #track(record: JobRecord): Running {
    const job: Running = { record, killing: false, over: Promise.withResolvers<JobRecord>() };
    this.#running.set(record.job, job);
    return job;
  }

  #expect(job: Running, withinMs: number, cause: string): void {
    cancelled(job).timer = this.#options.clock.after(withinMs, () => this.#finish(job, "lost", { cause }));
  }

  #finish(job: Running, state: JobRecord["state"], end: Partial<EndJob>): void {
    const { record } = cancelled(job);
    this.#running.delete(record.job);
    if (record.head.node !== 0) {
      this.#byHead.delete(record.head.node);
      this.#remember(record);
    }
    this.#correct(record, state, end);
    job.over.resolve(record);
    this.#options.ended(record);
    const forgotten = this.#history.prune();
    if (forgotten.length > 0) this.#options.forgotten(forgotten);
  }

  #correct(record: JobRecord, state: JobRecord["state"], { exitCode, cause, nodes }: Partial<EndJob>): void {
    record.state = state;
    record.exitCode = exitCode ?? null;
    record.cause = cause ?? null;
    record.endedAt = this.#options.wallMs();
    if (nodes) record.nodes = nodes;
    this.#history.save(record);
  }

  #remember(record: JobRecord): void {
    this.#past.set(record.head.node, record);
    if (this.#past.size <= PAST_HEADS) return;
    for (const node of this.#past.keys()) {
      this.#past.delete(node);
      return;
    }
  }
}

function cancelled(job: Running): Running {
  job.timer?.cancel();
  return job;
}

function endOf({ exitCode, killed }: EndJob, killing: boolean): JobRecord["state"] {
  if (killed || (killing && exitCode !== 0)) return "killed";
  return exitCode === 0 ? "done" : "failed";
}

function recordOf(body: BeginJob, head: JobRecord["head"]): JobRecord {
  const { name, script, user, host, startedAt, detached } = body;
  const begun = { job: 0, name, script, user, host, startedAt, detached, head };
  return { ...begun, state: "running", exitCode: null, cause: null, endedAt: null, progress: null, nodes: [] };
}
