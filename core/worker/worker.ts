// A worker: a node whose host lends its slots to jobs of the mesh. Each job gets slots of its own, which end with it, or
// with the session to its head.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { JobOptions } from "./agent.ts";
import { Agent, notItsJob } from "./agent.ts";
import {
  type CloseJob,
  type JobCode,
  type NodesChanged,
  nodeAddress,
  type OpenJob,
  type Output,
  type UserGone,
} from "./control.ts";
import type { Guard } from "./guard.ts";
import { HostServices } from "./host-services.ts";
import { LostHosts } from "./lost-hosts.ts";

export interface WorkerOptions {
  node: Node;
  /** The run folder of this process. */
  folder: string;
  slotCommand: readonly string[];
  /** The node's name. */
  name: string;
  /** Limit of each slot's memory on this host; a job may ask for less. */
  slotMemoryBytes: number | undefined;
  /** What slots should know of the mesh when they start. */
  view: JobOptions["view"];
  log: Log;
  /** Where files that jobs send are kept, and the largest that is taken. */
  files: { root: string; limitBytes?: number | undefined };
  /** Cleans up when this process is killed. */
  guard?: Guard | undefined;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #agent: Agent;
  readonly #services: HostServices;
  readonly #emptied = Promise.withResolvers<void>();
  readonly #lost = new LostHosts(() => this.nodesChanged({ ...this.#options.view(), lost: [] }));
  #isRetiring = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { node, folder, slotCommand, name, guard, log } = options;
    this.#agent = new Agent({ node, folder, slotCommand, hostName: () => name });
    const { nursery } = this.#agent;
    if (guard) nursery.keep(guard.pid);
    this.#services = new HostServices({ node, nursery, folder, log, files: options.files });
    node.handleRequest(MessageType.openJob, (job: OpenJob, from) => this.#open(job, from));
    node.handleRequest(MessageType.closeJob, ({ job }: CloseJob, from) => {
      if (from.node !== job) throw notItsJob(job);
      return this.#close(job, "the job is over");
    });
    node.handle(MessageType.userGone, ({ payload, fromNode }) => {
      const gone = node.codec.decode(payload) as UserGone;
      if (node.roleOf(fromNode) === "head" && gone.job !== fromNode) throw notItsJob(gone.job);
      if (gone.user.slot !== 0) this.#services.askerLost(gone.user);
      this.#agent.userGone(gone);
    });
  }

  /** How many slots work for jobs now. */
  get slotsUsed(): number {
    return this.#agent.slotsUsed;
  }

  /** A slot's process has dialed the node. */
  slotConnected(address: Address): void {
    this.#agent.slotConnected(address);
  }

  /** A link or session has ended: of a slot, or of the head of a job, which then ends here. */
  peerLost(peer: Address, error?: Error): void {
    this.#services.askerLost(peer);
    if (peer.node === this.#options.node.address.node) {
      this.#agent.slotDisconnected(peer);
      return;
    }
    this.#tellIfEmptied();
    if (this.#agent.has(peer.node)) {
      void this.#close(peer.node, `the head of its job is gone${error ? `: ${error.message}` : ""}`);
    } else this.#hostLost(peer.node, error?.message ?? "its node has ended");
  }

  /** Who is in the mesh has changed. */
  nodesChanged(change: NodesChanged): void {
    this.#agent.nodesChanged({ ...change, hosts: this.#lost.without(change.hosts) });
  }

  /** Tasks here may have been using it, and the mesh may see it all the same. */
  #hostLost(node: number, reason: string): void {
    const view = this.#options.view();
    if (!view.hosts.some((host) => host.node === node)) return;
    this.#lost.add(node);
    this.nodesChanged({ ...view, lost: [{ node, reason }] });
  }

  /** Takes no new jobs; resolves when those it has are over, and so is what users do here. */
  retire(): Promise<void> {
    this.#isRetiring = true;
    this.#tellIfEmptied();
    return this.#emptied.promise;
  }

  /** Ends all jobs here; returns when nothing of them is left. */
  async closeAll(reason: string): Promise<void> {
    this.#lost.close();
    await Promise.all([...this.#agent.jobs.map((job) => this.#close(job, reason)), this.#services.close()]);
    await this.#agent.closeAll(reason);
    await this.#options.guard?.dismiss();
  }

  #open(open: OpenJob, from: Address): void {
    const { node, log, slotMemoryBytes } = this.#options;
    const { job, number } = open;
    if (from.node !== job || from.slot !== 0) throw notItsJob(job);
    if (this.#agent.has(job)) return;
    if (this.#isRetiring)
      throw new MeshError("RETIRING", `${this.#options.name} is being replaced: it takes no new jobs`);
    const head = nodeAddress(job);
    const slots = this.#agent.open(job, {
      output: (seat, stream, bytes) => {
        const output: Output = { seat, host: this.#options.name, stream, bytes };
        return node.request(head, MessageType.output, output);
      },
      notice: (text) => void node.notify(head, MessageType.notice, { text }),
      gone: (user, reason) => this.#userGone({ job, user, reason }),
      view: () => {
        const { hosts, nodes } = this.#options.view();
        return { hosts: this.#lost.without(hosts), nodes };
      },
    });
    const limit = leastOf(open.slotMemoryBytes, slotMemoryBytes);
    const { bundle: _, slotMemoryBytes: __, ...rest } = open;
    const code: JobCode = {
      ...rest,
      worker: this.#layDown(open),
      ...(limit !== undefined && { slotMemoryBytes: limit }),
    };
    slots.start(code);
    log.info("job opened", { job: number, head: job, script: open.script });
  }

  /** Writes the job's code where its slots find it. */
  #layDown({ job, bundle }: OpenJob): string {
    const folder = this.#folderOf(job);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const path = join(folder, "worker.js");
      writeFileSync(path, bundle, { mode: 0o600 });
      return path;
    } catch (cause) {
      void this.#close(job, "its code could not be written");
      const message = `${this.#options.name} cannot write the job's code to ${folder}: ${(cause as Error).message}; make room there, or set XDG_RUNTIME_DIR of its worker to another folder`;
      throw new MeshError("UNREACHABLE", message, { cause });
    }
  }

  async #close(job: number, reason: string): Promise<void> {
    if (!this.#agent.has(job)) return;
    await this.#agent.close(job, reason);
    rmSync(this.#folderOf(job), { recursive: true, force: true });
    this.#options.log.info("job closed", { head: job, reason });
    this.#tellIfEmptied();
  }

  #tellIfEmptied(): void {
    if (this.#isRetiring && this.#agent.jobs.length === 0 && !this.#services.isUsed) this.#emptied.resolve();
  }

  #folderOf(job: number): string {
    return join(this.#options.folder, `job-${job}`);
  }

  /** The slots of the job here hear at once; those elsewhere by way of its head. */
  #userGone(gone: UserGone): void {
    this.#agent.userGone(gone);
    this.#options.node.notify(nodeAddress(gone.job), MessageType.userGone, gone);
  }
}

function leastOf(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
