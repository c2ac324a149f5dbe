// The agent of a node: the slots of all jobs that use it, and who may ask what of them. It runs no user code, so its
// loop is always free.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { KillSlot, NodesChanged, RecallChunks, Seats, UserGone } from "./control.ts";
import { JobSlots, type JobSlotsOptions } from "./job-slots.ts";
import { Nursery } from "./nursery.ts";

export interface AgentOptions {
  node: Node;
  /** The run folder of the node. */
  folder: string;
  slotCommand: readonly string[];
  /** The node's name, as people know it. */
  hostName(): string;
  /** As in JobSlotsOptions. */
  idleLimitMs?: number;
}

/** What differs between the jobs of an agent. */
export type JobOptions = Pick<JobSlotsOptions, "output" | "notice" | "gone" | "view">;

export class Agent {
  readonly nursery = new Nursery();
  readonly #options: AgentOptions;
  readonly #jobs = new Map<number, JobSlots>();

  constructor(options: AgentOptions) {
    this.#options = options;
    const { node } = options;
    node.handleRequest(MessageType.acquireSlots, (body: Seats, from) => this.#job(body.job, from).acquire(body, from));
    node.handleRequest(MessageType.releaseSlots, ({ job, seats }: Seats, from) =>
      this.#job(job, from).release(seats, from),
    );
    node.handleRequest(MessageType.killSlot, (order: KillSlot, from) => this.#job(order.job, from).kill(order, from));
    node.handleRequest(MessageType.recall, (body: RecallChunks, from) => this.#job(body.job, from).recall(body, from));
    node.handleRequest(MessageType.watchTimeouts, ({ job }: { job: number }, from) =>
      this.#job(job, from).watchTimeouts(),
    );
  }

  /** How many slots work for jobs now. */
  get slotsUsed(): number {
    return [...this.#jobs.values()].reduce((sum, job) => sum + job.taskSlots, 0);
  }

  /** The keys of the jobs that may use slots here. */
  get jobs(): number[] {
    return [...this.#jobs.keys()];
  }

  /** Lets a job use slots here. */
  open(job: number, options: JobOptions): JobSlots {
    const slots = new JobSlots({ ...this.#options, ...options, nursery: this.nursery });
    this.#jobs.set(job, slots);
    return slots;
  }

  has(job: number): boolean {
    return this.#jobs.has(job);
  }

  /** Ends a job's slots; returns when nothing of it is left. */
  async close(job: number, reason: string): Promise<void> {
    const slots = this.#jobs.get(job);
    if (!slots) return;
    await slots.endAll(reason);
    this.#jobs.delete(job);
    await this.nursery.sweep();
  }

  /** Ends everything at once and returns when nothing is left. */
  async closeAll(reason: string): Promise<void> {
    await Promise.all(this.jobs.map((job) => this.close(job, reason)));
    await this.nursery.sweep();
  }

  /** A slot's process has dialed the node. */
  slotConnected(address: Address): void {
    this.nursery.connected(address);
    for (const job of this.#jobs.values()) if (job.has(address.slot)) job.slotConnected(address);
  }

  /** A slot's link has ended. */
  slotDisconnected(address: Address): void {
    this.nursery.disconnected(address);
  }

  /** A process of a job is gone, somewhere: its seats here are free, and slots stop waiting for it. */
  userGone(gone: UserGone): void {
    const job = this.#jobs.get(gone.job);
    if (!job) return;
    job.userGone(gone.user);
    for (const slot of job.addresses) this.#options.node.notify(slot, MessageType.userGone, gone);
  }

  /** Tells all slots who is in the mesh now. */
  nodesChanged(change: NodesChanged): void {
    for (const job of this.#jobs.values()) {
      for (const slot of job.addresses) this.#options.node.notify(slot, MessageType.nodesChanged, change);
    }
  }

  /** A job that `from` may give orders for: a head for its own alone. */
  #job(key: number, from: Address): JobSlots {
    if (this.#options.node.roleOf(from.node) === "head" && from.node !== key) throw notItsJob(key);
    const job = this.#jobs.get(key);
    if (job) return job;
    throw new MeshError(
      "CANCELLED",
      `job ${key} has no slots on ${this.#options.hostName()}: it is over, or was never opened there`,
    );
  }
}

/** For who gives orders in a job that is not its own. */
export function notItsJob(job: number): MeshError {
  return new MeshError("AUTHENTICATION", `job ${job} is another head's: only its own head, and its slots, may do this`);
}
