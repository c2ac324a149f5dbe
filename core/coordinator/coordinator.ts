// The coordinator of a mesh: who is in it, which jobs run and ran, what they printed, and who may join. A library: it is
// given a node, told of the node's sessions, and needs no terminal. It knows no transport, no configuration, no job's code.
//
// Who asks is known from the session (`peerUp`), never from what a message says. Membership is soft: after a restart nodes
// register again. Jobs, their logs, tokens and revocations are in the state folder.
import { join } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { LogFields } from "../log.ts";
import { checkBody } from "../wire/body-checks.ts";
import { MessageType } from "../wire/message-types.ts";
import { Announcer } from "./announcer.ts";
import type { JobRecord, PathInfo, Registered, Revoked, Status } from "./answers.ts";
import * as bodies from "./bodies.ts";
import { type Asker, type CoordinatorNode, Door, type Peer } from "./door.ts";
import { FolderLock } from "./folder-lock.ts";
import { introducer, type Visitors } from "./introductions.ts";
import { JobLogs, type JobLogsOptions } from "./job-logs.ts";
import { JobStore } from "./job-store.ts";
import { Jobs } from "./jobs.ts";
import { Kills } from "./kills.ts";
import { LogStreams } from "./log-streams.ts";
import { Membership } from "./membership.ts";
import { type ExplainPath, explainPath, type PathReport, pathReport } from "./path-report.ts";
import { type PeerState, Peers } from "./peers.ts";
import { statusOf } from "./status.ts";
import { type StartDetached, Submissions } from "./submissions.ts";
import { type IdentityServices, Trust } from "./trust.ts";

export interface CoordinatorOptions {
  /** Its node; the coordinator adds its handlers. */
  node: CoordinatorNode;
  name: string;
  mesh: { id: string; name: string };
  /** The mesh's state folder. */
  folder: string;
  /** The folder's lock, when it was taken before, for what else is in the folder; the coordinator releases it. */
  lock?: FolderLock;
  version: string;
  build: string;
  /** This machine. */
  machine: Pick<bodies.Register, "host" | "cores" | "arch" | "memoryBytes">;
  identity: IdentityServices;
  startDetached: StartDetached;
  /** Ends the sessions of nodes whose certificates are not trusted any more. */
  dropRevoked(): void;
  /** How a node is reached now, if known. */
  pathTo?(node: number): PathInfo | undefined;
  /** What its node did as a rendezvous, if it is one. */
  rendezvous?(): bodies.RendezvousReport | undefined;
  /** How this node itself reaches another one, at length; see path-report.ts. */
  explainPath(body: ExplainPath): Promise<PathReport>;
  /** Ends this process, when somebody kills the coordinator by name. */
  stop?(): void;
  /** Gets a record of what somebody was given power for. */
  audit?(event: string, fields: LogFields): void;
  /** Gets what went wrong while nobody waited for an answer. */
  onProblem?(error: unknown): void;
  clock?: Clock;
  /** ms since 1970. */
  wallMs?(): number;
  /** How long a job outlives the session of its head. Default 10 s. */
  leaseMs?: number;
  logs?: Omit<JobLogsOptions, "folder">;
}

/** How long nodes have to come back after a restart, and heads to come after they were started. */
const RETURN_MS = 15_000;
const LEASE_MS = 10_000;
/** The history keeps so many jobs. */
const KEPT_JOBS = 1_000;
const TRIM_EVERY_MS = 60_000;
/** How long a node may look for ways to another, and at the routers before it. */
const EXPLAIN_LIMIT_MS = 12_000;

/** Holds the state folder from its construction until `close`. */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #clock: Clock;
  readonly #wallMs: () => number;
  readonly #since: number;
  readonly #lock: FolderLock;
  readonly #peers = new Peers();
  readonly #visitors: Visitors = new Map();
  readonly #membership = new Membership();
  readonly #reports = new Map<number, bodies.Report>();
  readonly #announcer: Announcer;
  readonly #jobs: Jobs;
  readonly #logs: JobLogs;
  readonly #streams: LogStreams;
  readonly #submissions: Submissions;
  readonly #trust: Trust;
  readonly #kills: Kills;
  readonly #settling: { cancel(): void };
  #addresses: string[] = [];
  #lastTrim = Number.NEGATIVE_INFINITY;
  #closed: Promise<void> | undefined;

  /**
   * Throws USAGE when another coordinator has the folder, STORAGE when the history is damaged or of a newer mesh,
   * AUTHENTICATION when others can get at the folder.
   */
  constructor(options: CoordinatorOptions) {
    const { node, folder, clock = systemClock, wallMs = Date.now } = options;
    this.#options = options;
    this.#clock = clock;
    this.#wallMs = wallMs;
    this.#since = wallMs();
    this.#lock = options.lock ?? new FolderLock(folder);
    this.#announcer = new Announcer(node, clock, this.#membership);
    try {
      this.#jobs = this.#openJobs();
      this.#logs = new JobLogs({ folder: join(folder, "logs"), ...options.logs });
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    this.#streams = new LogStreams(node, this.#jobs, this.#logs);
    this.#submissions = this.#openSubmissions();
    this.#trust = this.#openTrust();
    this.#kills = this.#openKills();
    this.#joinSelf();
    this.#listen(new Door(node, "coordinator", this.#peers, (error) => this.#problem(error)));
    this.#settling = clock.after(RETURN_MS, () => {
      this.#membership.settle();
      this.#announcer.changed();
    });
  }

  /** It listens at these addresses: tells those who look into the folder, and the mesh. */
  listening(addresses: string[]): void {
    this.#addresses = addresses;
    const { node, version } = this.#options;
    this.#lock.publish({ pid: process.pid, node: node.address.node, addresses, since: this.#since, version });
    this.#joinSelf();
  }

  /** A session begins, with a node whose certificate says this. Before its first message is handled. */
  peerUp(peer: Peer): void {
    this.#peers.set(peer.node, peer);
    this.#jobs.headUp(peer.node);
  }

  /** What is known of a session that goes on. A node that is between two links cannot keep others from its name. */
  peerState(node: number, state: PeerState): void {
    this.#peers.setState(node, state);
    this.#membership.setState(node, state === "up" ? "up" : "suspect");
    this.#announcer.changed();
  }

  /** A session has ended; without `error` the other side ended it on purpose. */
  peerDown({ node, role }: Pick<Peer, "node" | "role">, error?: Error): void {
    if (!this.#peers.end(node, error)) return;
    this.#visitors.delete(node);
    this.#membership.leave(node, error !== undefined && (role === "worker" || role === "rendezvous"));
    this.#reports.delete(node);
    this.#announcer.remove(node);
    this.#announcer.changed();
    this.#jobs.headDown(node, error);
    this.#streams.peerGone(node);
  }

  /** The way to a node, which was full, can take more: from the node's `onDrained`. */
  peerDrained(node: number): void {
    this.#announcer.drained(node);
  }

  /**
   * Whether a node of that name has a live session: a stranger that wants to join under it is to be refused.
   */
  isNameTaken(name: string): boolean {
    const info = this.#membership.byName(name);
    return info !== undefined && this.#isLive(info.node);
  }

  get status(): Status {
    const { mesh, name, node, version } = this.#options;
    return statusOf({
      mesh,
      coordinator: { name, node: node.address.node, addresses: this.#addresses, since: this.#since, version },
      membership: this.#membership,
      reports: this.#reports,
      jobs: this.#jobs.running(),
      visitors: [...this.#visitors.values()],
      pathTo: (other) => this.#options.pathTo?.(other),
      rendezvous: this.#options.rendezvous?.(),
    });
  }

  /** Ends all other nodes, heads with their jobs. Throws TIMEOUT naming what is still there. */
  async endAll(): Promise<void> {
    await this.#kills.killNodes({ all: true });
  }

  /** Lets go of the folder. Jobs and nodes go on without it. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#settling.cancel();
    this.#announcer.close();
    this.#streams.close();
    await this.#logs.close();
    this.#jobs.close();
    this.#lock.release();
  }

  #openJobs(): Jobs {
    const { folder, leaseMs = LEASE_MS } = this.#options;
    return new Jobs({
      store: new JobStore(join(folder, "jobs.sqlite")),
      clock: this.#clock,
      wallMs: this.#wallMs,
      leaseMs,
      returnMs: RETURN_MS,
      keep: KEPT_JOBS,
      ended: (record) => this.#jobEnded(record),
      forgotten: (jobs) => {
        for (const job of jobs) this.#inBackground(this.#logs.remove(job));
      },
      claimedToEnd: (record) => this.#kills.stopNow(record),
    });
  }

  #openSubmissions(): Submissions {
    const { folder, startDetached: start } = this.#options;
    return new Submissions({ folder: join(folder, "jobs"), jobs: this.#jobs, wallMs: this.#wallMs, start });
  }

  #openTrust(): Trust {
    const { identity, name, mesh } = this.#options;
    return new Trust({
      identity,
      ownName: name,
      mesh,
      addresses: () => this.#addresses,
      wallMs: this.#wallMs,
      audit: (event, fields) => this.#options.audit?.(event, fields),
      push: (revoked) => this.#pushTrust(revoked),
      dropRevoked: () => this.#options.dropRevoked(),
    });
  }

  #openKills(): Kills {
    const { node, stop } = this.#options;
    const parts = { node, clock: this.#clock, jobs: this.#jobs, membership: this.#membership, peers: this.#peers };
    return new Kills({ ...parts, ...(stop && { stop: () => stop.call(this.#options) }) });
  }

  #listen(door: Door): void {
    door.on(MessageType.register, bodies.register, (body, asker) => this.#register(body, asker));
    door.on(MessageType.membership, bodies.askMembership, (_, { node }) => this.#announcer.add(node));
    door.on(MessageType.report, bodies.report, (body, asker) => this.#report(body, asker));
    door.on(
      MessageType.introduce,
      bodies.introduce,
      introducer(this.#options.node, this.#membership, this.#peers, this.#visitors),
    );
    door.on(MessageType.certify, bodies.certify, (body, asker) => this.#trust.certify(body, asker));
    door.on(MessageType.beginJob, bodies.beginJob, (body, asker) => this.#jobs.begin(asker, body));
    door.on(MessageType.jobProgress, bodies.jobProgress, (body, asker) => this.#jobs.progress(asker, body));
    door.on(MessageType.endJob, bodies.endJob, (body, asker) => this.#jobs.end(asker, body));
    door.on(MessageType.jobLog, bodies.jobLog, (body, asker) => this.#log(body, asker));
    door.on(MessageType.submitJob, bodies.submitJob, (body) => this.#submissions.submit(body));
    door.on(MessageType.status, bodies.status, () => this.status);
    door.on(MessageType.jobs, bodies.jobs, ({ limit }) => ({ jobs: this.#jobs.list(limit ?? 100) }));
    door.on(MessageType.logs, bodies.logs, (body, asker) => this.#streams.start(body, asker));
    door.on(MessageType.stopLogs, bodies.stopLogs, (body, asker) => this.#streams.stop(body, asker));
    door.on(MessageType.killJob, bodies.killJob, (body) => this.#kills.killJobs(body));
    door.on(MessageType.killNode, bodies.killNode, (body, asker) => this.#kills.killNodes(body, asker));
    door.on(MessageType.issueToken, bodies.issueToken, (body) => this.#trust.issueToken(body));
    door.on(MessageType.revoke, bodies.revoke, (body) => this.#trust.revoke(body));
    door.on(MessageType.admit, bodies.admit, (body, asker) => this.#trust.admit(body, asker));
    door.on(MessageType.rotateCa, bodies.rotateCa, (body) => this.#trust.rotate(body));
    door.on(MessageType.explainPath, explainPath, (body) => this.#explainPath(body));
  }

  /** Has the node that is asked say it: the coordinator has a session with each, its user may reach none of them. */
  async #explainPath({ from, node: about }: ExplainPath): Promise<PathReport> {
    const { node } = this.#options;
    const own = node.address.node;
    const unknown = [from, about].find((each) => each !== undefined && !this.#membership.get(each));
    if (unknown !== undefined) throw new MeshError("UNREACHABLE", `node ${unknown} is not in the mesh any more`);
    const question: ExplainPath = about === undefined ? {} : { node: about };
    if (from === undefined || from === own) return await this.#options.explainPath(question);
    const options = { timeoutMs: EXPLAIN_LIMIT_MS };
    const answer = await node.request({ node: from, slot: 0 }, MessageType.explainPath, question, options);
    return checkBody(pathReport, "the answer to explainPath", answer);
  }

  #register(body: bodies.Register, { node, name, role }: Asker): Registered {
    const before = this.#membership.byName(name);
    this.#membership.join({ ...body, node, name, role, state: "up" }, (other) => this.#isLive(other));
    if (before && !this.#membership.get(before.node)) {
      this.#reports.delete(before.node);
      this.#announcer.remove(before.node);
    }
    this.#announcer.add(node);
    this.#send(node, MessageType.revoked, this.#trust.current());
    return { mesh: this.#options.mesh, coordinator: this.#options.name };
  }

  #report(report: bodies.Report, { node }: Asker): void {
    if (this.#membership.get(node)) this.#reports.set(node, report);
    else this.#send(node, MessageType.register, {}); // it lost its place: it is to register again, or hear why not
  }

  async #log({ records }: bodies.JobLog, asker: Asker): Promise<void> {
    const job = this.#jobs.ofHead(asker.node);
    if (job) await this.#logs.append(job.job, records);
  }

  #joinSelf(): void {
    const { node, name, version, build, machine } = this.#options;
    const info = { ...machine, slots: 0, tags: [], version, build, addresses: this.#addresses, since: this.#since };
    this.#membership.join({ ...info, node: node.address.node, name, role: "coordinator", state: "up" }, () => true);
    this.#announcer.changed();
  }

  #isLive(node: number): boolean {
    return node === this.#options.node.address.node || this.#peers.isLive(node);
  }

  #pushTrust(revoked: Revoked): void {
    const bytes = this.#options.node.codec.encode(revoked);
    for (const node of this.#peers.keys()) {
      this.#options.node.send({ node, slot: 0 }, MessageType.revoked, 0, 0, bytes);
    }
  }

  #send(node: number, type: number, body: unknown): void {
    this.#options.node.notify({ node, slot: 0 }, type, body);
  }

  #jobEnded({ job, detached }: JobRecord): void {
    this.#inBackground(this.#logs.finish(job));
    if (detached) this.#inBackground(this.#submissions.remove(job));
    if (this.#clock.now() - this.#lastTrim < TRIM_EVERY_MS) return;
    this.#lastTrim = this.#clock.now();
    this.#inBackground(this.#logs.trim());
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error) => this.#problem(error));
  }

  #problem(error: unknown): void {
    this.#options.onProblem?.(error);
  }
}
