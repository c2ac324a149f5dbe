// The head of a job: the node its script belongs to. It starts the script's slot, and those for tasks when there is no
// mesh; lets workers of the mesh serve the job; takes what the job prints; and says when it is over. It runs no user
// code, so its loop is always free.
import { readFileSync } from "node:fs";
import type { AddHost } from "../api/add-host.ts";
import type { Fork, ShutdownNode } from "../api/fork.ts";
import type { MembershipChange } from "../coordinator/membership-view.ts";
import { MeshError } from "../errors.ts";
import { type JobView, nodesChanged, type Ties } from "../member/job-view.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import { Agent } from "../worker/agent.ts";
import {
  type JobCode,
  type JobEnded,
  LOCAL_HOST,
  type NodesChanged,
  type Notice,
  nodeAddress,
  type OpenHost,
  type OpenJob,
  type Output,
  type Progress,
  type StartJob,
  type StopJob,
  type UserGone,
} from "../worker/control.ts";
import { type Death, describeDeath } from "../worker/death.ts";
import type { Guard } from "../worker/guard.ts";
import type { JobSlots } from "../worker/job-slots.ts";
import { LostHosts } from "../worker/lost-hosts.ts";
import type { SlotProcess } from "../worker/slot-process.ts";
import { thisMachine } from "../worker/this-machine.ts";
import { Forks } from "./forks.ts";
import { JobHosts } from "./job-hosts.ts";
import type { MeshJob } from "./mesh-job.ts";

/** What the script, and after it the slots, get to end by themselves. */
const SCRIPT_GRACE_MS = 1_500;
const SLOT_GRACE_MS = 300;
/** Who is in the mesh is told by the coordinator within moments. */
const VIEW_LIMIT_MS = 2_000;

/** The mesh a job runs in. */
export interface HeadMesh {
  /** The name of the head's node. */
  name: string;
  /** The mesh as a job sees it, now, that uses the nodes that `isUsed` names. */
  view(isUsed: Ties["isUsed"]): JobView;
  /** The job as the coordinator knows it. */
  job: MeshJob;
  /** The number the job was given when it was submitted; it has no terminal then. */
  detached: number | undefined;
}

export interface HeadOptions {
  node: Node;
  /** The run folder; sockets and pages of slots lie in it. */
  folder: string;
  slotCommand: readonly string[];
  forkCommand: readonly string[];
  /** Brings a worker up on another host; resolves with its node's name. Throws what went wrong there. */
  addHost(host: string): Promise<string>;
  /** Makes a mesh for a job that runs without one and wants another host; the processes of that mesh are to be kept. */
  makeMesh?(keep: (pid: number) => void): Promise<HeadMesh>;
  /** Resolves once it is known whether there is a mesh. */
  mesh: Promise<HeadMesh | undefined>;
  /** Who runs the job, for the mesh. */
  owner: { user: string; host: string };
  /** Takes what the job prints; it may print more when that resolves. */
  output(output: Output): Promise<unknown>;
  /** Tells the user something. */
  notice(text: string): void;
  /** Shows how a long call goes on; null when it is over. */
  progress(state: Progress | null): void;
  /** The script is over, and everything it started with it. */
  ended(ended: JobEnded): void;
  /** Cleans up when this process is killed, where nobody else does. */
  guard?: Guard | undefined;
}

export class Head {
  readonly #options: HeadOptions;
  readonly #agent: Agent;
  readonly #slots: JobSlots;
  readonly #driver: SlotProcess;
  readonly #hosts: JobHosts;
  readonly #forks: Forks;
  #mesh: HeadMesh | undefined;
  /** There was no mesh when the script began. */
  #beganAlone = false;
  /** Made because the script wanted a host. */
  #lateMesh: Promise<void> | undefined;
  #job: StartJob | undefined;
  #number = 1;
  /** Whether tasks run on this machine too: there is no mesh, or nobody in it has slots. */
  #usesOwnSlots = true;
  readonly #lost = new LostHosts(() => this.#changed([]));
  /** Somebody stopped the job, or nobody is there for it any more. */
  #killedBecause: string | undefined;
  #nextChange = Promise.withResolvers<false>();
  /** This process itself is to end. */
  #isEnding = false;

  /** Starts the script's slot at once: it gets ready while its code is still prepared. */
  constructor(options: HeadOptions) {
    this.#options = options;
    const { node, folder, slotCommand, forkCommand, guard } = options;
    this.#agent = new Agent({ node, folder, slotCommand, hostName: () => this.#hostName });
    if (guard) this.#agent.nursery.keep(guard.pid);
    this.#hosts = new JobHosts(node, () => this.#openJob());
    this.#forks = new Forks({
      folder,
      head: node.address.node,
      command: forkCommand,
      nursery: this.#agent.nursery,
      changed: (lost) => this.#changed(lost),
    });
    this.#slots = this.#agent.open(this.#key, {
      output: (seat, stream, bytes) => this.#output({ seat, host: this.#hostName, stream, bytes }),
      notice: options.notice,
      gone: (user, reason) => this.#userGone({ job: this.#key, user, reason }, this.#key),
      view: () => this.#view(),
    });
    this.#handleMessages();
    this.#driver = this.#slots.prepare(0)!;
    void this.#driver.died.then((death) => this.#driverDied(death));
  }

  /** A process of this machine has dialed the node: a slot, or a forked node. */
  connected(address: Address): void {
    if (address.node === this.#key) this.#agent.slotConnected(address);
    else this.#forks.connected(address.node);
  }

  /** A link or session has ended: of a slot, or of another node. */
  peerLost(peer: Address, error?: Error): void {
    if (peer.node === this.#key) {
      this.#agent.slotDisconnected(peer);
      return;
    }
    const reason = error?.message ?? "its node has ended";
    if (this.#hosts.lost(peer.node)) this.#options.notice(`${reason}; the job goes on without it`);
    this.#lost.add(peer.node);
    this.#changed([{ node: peer.node, reason }]);
  }

  /** This process stood still: workers that are lost over it are there, and may be used again at once. */
  stoodStill(): void {
    this.#lost.forgive();
  }

  /** Who is in the mesh has changed. A node with a session is not lost before that is. */
  meshChanged(changes: readonly MembershipChange[]): void {
    for (const { node } of changes) if (node.state === "up") this.#lost.delete(node.node);
    const gone = changes.filter(({ kind, node: { node } }) => kind !== "offline" || !this.#hasSession(node));
    this.#tell(nodesChanged(gone, this.#view()));
  }

  /** Ends the script, because the mesh or its user gave the job up. */
  async stop({ signal, now }: StopJob, because: string): Promise<void> {
    this.#killedBecause ??= because;
    this.#slots.stopFilling();
    if (now) return await this.#slots.endAll("the job was stopped");
    this.#driver.signal(signal);
    await Promise.race([this.#driver.died, Bun.sleep(SCRIPT_GRACE_MS)]);
    await this.#driver.end({ kind: "killed", reason: `it did not end within ${SCRIPT_GRACE_MS} ms of ${signal}` });
  }

  /** Ends everything at once and returns when nothing is left here; workers are told. */
  async endAll(reason: string): Promise<void> {
    this.#killedBecause ??= reason;
    this.#isEnding = true;
    await Promise.all([this.#agent.closeAll(reason), this.#hosts.close(this.#key), this.#forks.endAll()]);
    await this.#mesh?.job.end({ exitCode: -1, cause: reason, killed: true }, { isHurried: true });
  }

  #changed(lost: NodesChanged["lost"]): void {
    this.#tell({ ...this.#view(), lost });
  }

  /** Slots hear who is in the mesh now: those here, and those of forked nodes, which hear of it from nobody else. */
  #tell(change: NodesChanged): void {
    this.#nextChange.resolve(false);
    this.#nextChange = Promise.withResolvers();
    this.#agent.nodesChanged(change);
    for (const node of this.#forks.numbers)
      this.#options.node.notify(nodeAddress(node), MessageType.nodesChanged, change);
  }

  get #key(): number {
    return this.#options.node.address.node;
  }

  get #hostName(): string {
    return this.#beganAlone ? LOCAL_HOST : (this.#mesh?.name ?? LOCAL_HOST);
  }

  #hasSession(node: number): boolean {
    return this.#options.node.hasPeer({ node, slot: 0 });
  }

  #handleMessages(): void {
    const { node, notice } = this.#options;
    const { codec } = node;
    node.handleRequest(MessageType.startJob, (job: StartJob) => this.start(job));
    node.handleRequest(MessageType.stopJob, (stop: StopJob, from) =>
      this.stop(stop, from.node === this.#key ? `stopped by ${stop.signal}` : "killed by a command"),
    );
    node.handleRequest(MessageType.fork, (order: Fork) => this.#forks.start(order));
    node.handleRequest(MessageType.shutdownNode, (order: ShutdownNode) => this.#shutdown(order));
    node.handleRequest(MessageType.addHost, ({ host }: AddHost) => this.#addHost(host));
    node.handleRequest(MessageType.openHost, ({ node: number }: OpenHost) => this.#openHost(number));
    node.handleRequest(MessageType.output, (output: Output) => this.#output(output));
    node.handle(MessageType.notice, ({ payload }) => notice((codec.decode(payload) as Notice).text));
    node.handle(MessageType.progress, ({ payload }) => this.#progress(codec.decode(payload) as Progress | null));
    node.handle(MessageType.userGone, ({ payload, fromNode }) =>
      this.#userGone(codec.decode(payload) as UserGone, fromNode),
    );
  }

  /** The job's code is there: begins it, in the mesh when there is one. */
  async start(job: StartJob): Promise<void> {
    this.#job = job;
    this.#mesh = await this.#options.mesh;
    this.#beganAlone = this.#mesh === undefined;
    if (this.#mesh) await this.#beginInMesh(this.#mesh, job);
    const { hosts } = this.#view();
    this.#slots.start({ ...this.#code(job), driver: job.driver });
    if (job.eager && this.#usesOwnSlots) for (let seat = 1; seat <= hosts[0]!.slots; seat++) this.#slots.prepare(seat);
  }

  async #beginInMesh(mesh: HeadMesh, job: StartJob): Promise<void> {
    this.#usesOwnSlots = this.#viewOf(mesh).hosts.length === 0;
    if (this.#usesOwnSlots) {
      this.#options.notice("the mesh has no workers: this job runs on this machine until one comes (mesh worker)");
    }
    await this.#tellBegin(mesh, job);
  }

  async #tellBegin(mesh: HeadMesh, { script }: StartJob): Promise<void> {
    this.#number = await mesh.job.begin({
      name: script.slice(script.lastIndexOf("/") + 1),
      script,
      ...this.#options.owner,
      startedAt: Date.now(),
      detached: mesh.detached !== undefined,
      ...(mesh.detached !== undefined && { job: mesh.detached }),
    });
  }

  async #addHost(host: string): Promise<string> {
    if (!this.#mesh) {
      this.#lateMesh ??= this.#joinLate();
      await this.#lateMesh.finally(() => {
        this.#lateMesh = undefined;
      });
    }
    return await this.#options.addHost(host);
  }

  /** The slots of this machine go on as they are, beside those of the hosts to come. */
  async #joinLate(): Promise<void> {
    const mesh = await this.#options.makeMesh!((pid) => this.#agent.nursery.keep(pid));
    await this.#tellBegin(mesh, this.#job!);
    this.#mesh = mesh;
    this.#changed([]);
  }

  async #shutdown({ name, graceMs }: ShutdownNode): Promise<void> {
    if (this.#forks.has(name)) return await this.#forks.end(name, graceMs);
    if (this.#mesh) return await this.#shutdownInMesh(this.#mesh, name, graceMs);
    const known = this.#view().nodes.map((node) => node.name);
    throw new MeshError("USAGE", `there is no node ${name} to shut down; there are ${known.join(", ")}`);
  }

  /** Returns when the job's own view says it too: whoever looks for that name finds the next one. */
  async #shutdownInMesh(mesh: HeadMesh, name: string, graceMs: number): Promise<void> {
    const upNamed = () => this.#view().nodes.find((node) => node.name === name && node.status === "up");
    const before = upNamed();
    await mesh.job.killNode(name, graceMs);
    const late = Bun.sleep(VIEW_LIMIT_MS).then(() => true);
    while (before && upNamed()?.node === before.node) {
      if (await Promise.race([this.#nextChange.promise, late])) return;
    }
  }

  #code({ worker, script, args, slotMemoryBytes, showsProgress }: StartJob): JobCode {
    const limit = slotMemoryBytes === undefined ? {} : { slotMemoryBytes };
    // In a mesh `mesh status` shows it too.
    const shown = showsProgress || this.#mesh !== undefined;
    return { job: this.#key, number: this.#number, worker, script, args, showsProgress: shown, ...limit };
  }

  async #openHost(number: number): Promise<void> {
    await this.#hosts.open(number);
    const host = this.#mesh && this.#viewOf(this.#mesh).hosts.find(({ node }) => node === number);
    if (host) this.#mesh?.job.uses(host.name);
  }

  #openJob(): OpenJob {
    const { worker: path, ...code } = this.#code(this.#job!);
    return { ...code, bundle: readFileSync(path) };
  }

  async #output(output: Output): Promise<void> {
    const logged = this.#mesh?.job.log(output);
    await Promise.all([this.#options.output(output), logged]);
  }

  #progress(state: Progress | null): void {
    this.#options.progress(state);
    this.#mesh?.job.progress(state);
  }

  #userGone(gone: UserGone, from: number): void {
    this.#agent.userGone(gone);
    this.#hosts.userGone(gone, from);
  }

  #view(): JobView {
    const slots = this.#job?.slots ?? 1;
    const own = thisMachine({ node: this.#key, name: this.#hostName, slots });
    const forks = this.#forks.view;
    const mesh = this.#mesh ? this.#viewOf(this.#mesh) : { hosts: [], nodes: [own.info] };
    if (this.#mesh && this.#beganAlone) mesh.nodes = [own.info, ...mesh.nodes.filter(({ node }) => node !== this.#key)];
    const hosts = this.#lost.without([...mesh.hosts, ...forks.hosts]);
    return { hosts: this.#usesOwnSlots ? [...hosts, own.host] : hosts, nodes: [...mesh.nodes, ...forks.nodes] };
  }

  #viewOf(mesh: HeadMesh): JobView {
    return mesh.view((node) => this.#hosts.uses(node));
  }

  /** The script is over: so is all it started. Tells so when that is true. */
  async #driverDied(death: Death): Promise<void> {
    const { exitCode, signalCode } = this.#driver;
    const drained = this.#slots.drained();
    this.#slots.forget(this.#driver);
    await Promise.all([this.#slots.endAll("the job is over", SLOT_GRACE_MS), this.#hosts.close(this.#key)]);
    await this.#forks.endAll();
    await this.#agent.nursery.sweep();
    await drained;
    const ended: JobEnded = {
      exitCode: exitCode ?? 128 + signalNumber(signalCode),
      ...(death.kind !== "exit" && { cause: describeDeath(death) }),
    };
    const because = this.#killedBecause;
    const end = { ...ended, ...(because !== undefined && { cause: because, killed: true }) };
    await this.#mesh?.job.end(end, { isHurried: this.#isEnding });
    this.#options.ended({ ...ended, ...(because !== undefined && { cause: `was ended: ${because}` }) });
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
  return (signal && numbers[signal]) || 0;
}
