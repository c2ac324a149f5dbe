// Ends jobs and nodes, and answers when they have really ended, or with what is still there.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { MessageType } from "../wire/message-types.ts";
import type { JobRecord, KilledJob } from "./answers.ts";
import type { KillJob, KillNode } from "./bodies.ts";
import type { Asker, CoordinatorNode } from "./door.ts";
import type { Jobs } from "./jobs.ts";
import type { Membership } from "./membership.ts";
import type { Peers } from "./peers.ts";

/** Between the request to end and the end by force. */
const GRACE_MS = 5_000;
/** After the end by force, how long its end may take to be seen. */
const SEEN_WITHIN_MS = 10_000;

export interface KillsOptions {
  node: CoordinatorNode;
  clock: Clock;
  jobs: Jobs;
  membership: Membership;
  peers: Peers;
  /** Ends the coordinator itself; missing when it cannot be asked to. */
  stop?: () => void;
}

export class Kills {
  readonly #options: KillsOptions;

  constructor(options: KillsOptions) {
    this.#options = options;
  }

  /** Throws USAGE for an unknown job, TIMEOUT naming what is still there. */
  async killJobs(body: KillJob): Promise<{ jobs: KilledJob[] }> {
    const { jobs } = this.#options;
    const targets = "all" in body ? jobs.running() : [jobs.find(body.job)];
    return { jobs: await allOf(targets.map((job) => this.#killJob(job, body.graceMs ?? GRACE_MS))) };
  }

  /** As killJobs, for nodes. With `all` neither the asker nor the coordinator is meant. */
  async killNodes(body: KillNode, asker?: Asker): Promise<{ nodes: string[] }> {
    const graceMs = body.graceMs ?? GRACE_MS;
    if (!("all" in body) && body.name === this.#ownName) return this.#stopSelf();
    const targets = "all" in body ? this.#allBut(asker) : this.#named(body.name);
    await allOf(targets.map(({ node, name }) => this.#killNode(node, name, graceMs)));
    return { nodes: [...new Set(targets.map(({ name }) => name))] };
  }

  /** The head of a job that is to be ended has come back. */
  stopNow({ head }: JobRecord): void {
    this.#stopJob(head.node, true);
  }

  async #killJob({ job, name, head }: JobRecord, graceMs: number): Promise<KilledJob> {
    const { jobs, peers } = this.#options;
    jobs.killing(job);
    this.#stopJob(head.node, false);
    const over = jobs.whenOver(job);
    await this.#escalate(
      over,
      graceMs,
      () => this.#stopJob(jobs.find(job).head.node, true),
      () => {
        const there = peers.has(head.node)
          ? `its head, ${head.name}, still answers`
          : `its head, ${head.name}, is away`;
        return `job ${job} (${name}) has not ended: ${there}`;
      },
    );
    const { state, exitCode, cause } = await over;
    return { job, name, state, exitCode, cause };
  }

  #stopJob(head: number, now: boolean): void {
    if (!this.#options.peers.has(head)) return;
    this.#options.node.notify({ node: head, slot: 0 }, MessageType.stopJob, { signal: "SIGTERM", now });
  }

  async #killNode(node: number, name: string, graceMs: number): Promise<void> {
    const { jobs, peers } = this.#options;
    const gone = peers.whenGone(node);
    const job = jobs.ofHead(node);
    if (job) await this.#killJob(job, graceMs); // a head ends with its job
    this.#options.node.notify({ node, slot: 0 }, MessageType.shutdown, { graceMs });
    await this.#escalate(
      gone,
      graceMs,
      () => {},
      () => `${name} has not ended: its session is still there`,
    );
    const lost = await gone;
    if (lost) throw outOfReach(name, lost);
  }

  /** Waits for the end: first for the grace, then, after `force`, for it to be seen. */
  async #escalate(over: Promise<unknown>, graceMs: number, force: () => void, complaint: () => string): Promise<void> {
    const { clock } = this.#options;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const totalMs = graceMs + SEEN_WITHIN_MS;
    const forceTimer = clock.after(graceMs, force);
    const lateTimer = clock.after(totalMs, () => {
      reject(new MeshError("TIMEOUT", `${complaint()}, ${totalMs / 1_000} s after it was asked to`));
    });
    try {
      await Promise.race([over, late]);
    } finally {
      forceTimer.cancel();
      lateTimer.cancel();
    }
  }

  get #ownName(): string | undefined {
    return this.#options.membership.get(this.#options.node.address.node)?.name;
  }

  #allBut(asker: Asker | undefined) {
    const own = this.#options.node.address.node;
    return [...this.#options.membership.nodes()].filter(({ node }) => node !== own && node !== asker?.node);
  }

  /** Also those that retire under that name. None when it is known to be down already. */
  #named(name: string) {
    const { membership } = this.#options;
    const there = membership.named(name);
    if (there.length > 0) return there;
    const down = [...membership.lost()].map((lost) => lost.name);
    if (down.includes(name)) return [];
    const names = [...membership.nodes()].map((info) => info.name);
    const guess = nearest(name, [...names, ...down]);
    throw new MeshError(
      "USAGE",
      `there is no node "${name}"${guess ? `; did you mean "${guess}"?` : ": mesh status lists them"}`,
    );
  }

  #stopSelf(): { nodes: string[] } {
    const { stop, clock } = this.#options;
    if (!stop) throw new MeshError("USAGE", "this coordinator is part of another process: end that one");
    clock.after(0, stop); // after the answer
    return { nodes: [this.#ownName!] };
  }
}

/** All results; when some fail, one error that tells of each. */
async function allOf<T>(promises: Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises);
  const errors = settled.filter((result) => result.status === "rejected").map(({ reason }) => reason as Error);
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) {
    throw new MeshError("TIMEOUT", errors.map(({ message }) => message).join("; "), { cause: errors[0] });
  }
  return settled.filter((result) => result.status === "fulfilled").map(({ value }) => value);
}

function outOfReach(name: string, cause: Error): MeshError {
  const message = `${name} was asked to end and was lost before it said that it does: it may run on where nobody sees it`;
  return new MeshError("UNREACHABLE", message, { cause });
}
