// A job as the mesh knows it: its number, its log and how it goes on, told to the coordinator by the job's head. The
// coordinator may be away: then the job goes on, and is told of again when it is back.
import type { JobBegun } from "../coordinator/answers.ts";
import type {
  BeginJob,
  EndJob,
  JobLog as JobLogBody,
  JobProgress,
  KillNode,
  LogRecord,
} from "../coordinator/bodies.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Output, Progress } from "../worker/control.ts";
import { JobLog } from "./job-log.ts";

const ASK_LIMIT_MS = 10_000;
const END_LIMIT_MS = 2_000;
/** What a user waits for the last of the log to be taken. */
const LOG_END_LIMIT_MS = 5_000;
/** A detached job that is about to begin waits so long for a coordinator that is away. */
const BEGIN_KEPT_MS = 60_000;
/** The end of a job is kept so long for a coordinator that is away: of a detached one, which nobody else would hear of, … */
const END_KEPT_MS = 3_600_000;
/** … and of one whose user waits for the prompt. */
const ATTACHED_END_KEPT_MS = 3_000;
/** The coordinator is told how a job goes on at this pace. */
const PROGRESS_MS = 1_000;

export interface MeshJobOptions {
  node: Node;
  /** Name of the head's node. */
  host: string;
  /** The coordinator, while it can be asked. */
  coordinator(): Address | undefined;
  /** Something the user should know. */
  notice(text: string): void;
  /** The coordinator no longer counts this job among those that run: the job must end. */
  disowned(reason: string): void;
}

export class MeshJob {
  readonly #options: MeshJobOptions;
  readonly #log: JobLog;
  readonly #nodes = new Set<string>();
  #begun: BeginJob | undefined;
  #progress: Progress | null = null;
  #progressAt = Number.NEGATIVE_INFINITY;
  /** Called when the coordinator is back. */
  #isBack: () => void = () => {};

  constructor(options: MeshJobOptions) {
    this.#options = options;
    this.#log = new JobLog({ host: options.host, now: Date.now, send: (records) => this.#sendLog(records) });
  }

  /** Tells the coordinator that the job begins; resolves with its number. A detached job waits for one that is away. */
  async begin(job: BeginJob): Promise<number> {
    const { job: number, warning } = await this.#tellBegin(job);
    this.#begun = { ...job, job: number };
    if (warning !== undefined) this.#options.notice(warning);
    return number;
  }

  async #tellBegin(job: BeginJob): Promise<JobBegun> {
    const lastTry = performance.now() + (job.detached ? BEGIN_KEPT_MS : 0);
    for (;;) {
      try {
        return (await this.#ask(MessageType.beginJob, job, ASK_LIMIT_MS)) as JobBegun;
      } catch (error) {
        if (!isMeshError(error, "LINK_CLOSED") || performance.now() >= lastTry) throw error;
        await this.#coordinatorBack(lastTry);
      }
    }
  }

  /** The coordinator was away and is back: it hears that the job still runs. */
  async again(): Promise<void> {
    this.#isBack();
    if (!this.#begun) return;
    try {
      await this.#ask(MessageType.beginJob, this.#begun, ASK_LIMIT_MS);
      this.#tellProgress();
    } catch (error) {
      if (this.#options.coordinator()) this.#options.disowned((error as Error).message);
    }
  }

  /** Takes what the job prints; more may follow when that resolves. */
  log(output: Output): Promise<void> {
    if (output.seat > 0) this.#nodes.add(output.host);
    return this.#log.add(output);
  }

  /** Notes that slots of that node are used. */
  uses(name: string): void {
    if (this.#nodes.has(name)) return;
    this.#nodes.add(name);
    this.#tellProgress();
  }

  progress(progress: Progress | null): void {
    this.#progress = progress;
    if (!progress || performance.now() - this.#progressAt >= PROGRESS_MS) this.#tellProgress();
  }

  /** Ends a node of the mesh, for everybody; resolves when it is gone. */
  async killNode(name: string, graceMs: number): Promise<void> {
    const body: KillNode = { name, graceMs };
    await this.#ask(MessageType.killNode, body);
  }

  /**
   * Sends what is left of the log, and how the job ended. A coordinator that is away is waited for, by a detached job at most
   * an hour, by others 3 s, with `isHurried` not at all.
   */
  async end(end: EndJob, { isHurried = false } = {}): Promise<void> {
    if (!this.#begun) return;
    const { detached } = this.#begun;
    this.#begun = undefined;
    const keptMs = detached ? END_KEPT_MS : ATTACHED_END_KEPT_MS;
    const lastTry = performance.now() + (isHurried ? 0 : keptMs);
    for (;;) {
      await Promise.race([this.#log.end(), ...(detached && !isHurried ? [] : [Bun.sleep(LOG_END_LIMIT_MS)])]);
      if ((await this.#tellEnd(end)) || performance.now() >= lastTry) return;
      await this.#coordinatorBack(lastTry);
    }
  }

  async #tellEnd(end: EndJob): Promise<boolean> {
    try {
      await this.#ask(MessageType.endJob, { ...end, nodes: [...this.#nodes] }, END_LIMIT_MS);
      return true;
    } catch (error) {
      return !isMeshError(error, "LINK_CLOSED") && !isMeshError(error, "TIMEOUT"); // another try would not help
    }
  }

  /** Resolves when the coordinator can be asked, or at `until` of performance.now(). */
  async #coordinatorBack(until: number): Promise<void> {
    if (this.#options.coordinator()) {
      await Bun.sleep(END_LIMIT_MS);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#isBack = resolve;
    const timer = setTimeout(resolve, until - performance.now());
    await promise;
    clearTimeout(timer);
  }

  #tellProgress(): void {
    const coordinator = this.#options.coordinator();
    if (!coordinator || !this.#begun) return;
    this.#progressAt = performance.now();
    const body: JobProgress = { progress: this.#progress, nodes: [...this.#nodes] };
    this.#options.node.notify(coordinator, MessageType.jobProgress, body);
  }

  async #sendLog(records: LogRecord[]): Promise<void> {
    const body: JobLogBody = { records };
    await this.#ask(MessageType.jobLog, body);
  }

  async #ask(type: number, body: unknown, timeoutMs?: number): Promise<unknown> {
    const { node, coordinator } = this.#options;
    const to = coordinator();
    if (!to) throw new MeshError("LINK_CLOSED", "the coordinator cannot be reached");
    return await node.request(to, type, body, timeoutMs === undefined ? {} : { timeoutMs });
  }
}
