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
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Output, Progress } from "../worker/control.ts";
import { JobLog } from "./job-log.ts";

const ASK_LIMIT_MS = 10_000;
const END_LIMIT_MS = 2_000;
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

  constructor(options: MeshJobOptions) {
    this.#options = options;
    this.#log = new JobLog({ host: options.host, now: Date.now, send: (records) => this.#sendLog(records) });
  }

  /** Tells the coordinator that the job begins; resolves with its number. */
  async begin(job: BeginJob): Promise<number> {
    const { job: number, warning } = (await this.#ask(MessageType.beginJob, job, ASK_LIMIT_MS)) as JobBegun;
    this.#begun = { ...job, job: number };
    if (warning !== undefined) this.#options.notice(warning);
    return number;
  }

  /** The coordinator was away and is back: it hears that the job still runs. */
  async again(): Promise<void> {
    if (!this.#begun) return;
    try {
      await this.#ask(MessageType.beginJob, this.#begun, ASK_LIMIT_MS);
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
    this.#nodes.add(name);
  }

  progress(progress: Progress | null): void {
    this.#progress = progress;
    const now = performance.now();
    const coordinator = this.#options.coordinator();
    if (!coordinator || !this.#begun || (progress && now - this.#progressAt < PROGRESS_MS)) return;
    this.#progressAt = now;
    const body: JobProgress = { progress: this.#progress, nodes: [...this.#nodes] };
    this.#options.node.notify(coordinator, MessageType.jobProgress, body);
  }

  /** Ends a node of the mesh, for everybody; resolves when it is gone. */
  async killNode(name: string, graceMs: number): Promise<void> {
    const body: KillNode = { name, graceMs };
    await this.#ask(MessageType.killNode, body);
  }

  /** Sends what is left of the log, and how the job ended. Gives up when the coordinator is away. */
  async end(end: EndJob): Promise<void> {
    if (!this.#begun) return;
    this.#begun = undefined;
    await this.#log.end();
    await this.#ask(MessageType.endJob, { ...end, nodes: [...this.#nodes] }, END_LIMIT_MS).catch(() => {});
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
