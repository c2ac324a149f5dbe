// A scheduler, its hosts and their slots in one process, over memory links: the agents are played by the test, tasks end
// when it says so, and what comes from other hosts takes the time it says.
import { itemSource } from "../../core/api/items.ts";
import { Run, type RunOptions, type Sink } from "../../core/api/run.ts";
import { type HostInfo, Scheduler, type SlotDown, type SlotInfo } from "../../core/api/scheduler.ts";
import type { Claim } from "../../core/api/seats.ts";
import type { Definition } from "../../core/api/task-wire.ts";
import { ManualClock } from "../../core/clock.ts";
import { Node } from "../../core/node/node.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import type { Address, Message } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import type { RecallChunks, Recalled } from "../../core/worker/control.ts";
import { BegunTurns, RECALL_BOARD_WORDS, Recalls } from "../../core/worker/recall-board.ts";
import type { StatusPage } from "../../core/worker/status-page.ts";
import { TaskRunner } from "../../core/worker/task-runner.ts";
import { MemoryTransport, memoryPair } from "../../transports/memory/memory-transport.ts";
import { DelayedLink } from "./delayed-link.ts";

/** The node of the process that calls, and of the host it runs on. */
export const HERE = 2;
export const CALLER: Address = { node: HERE, slot: 1 };

/** A task that waits to be ended. */
export interface OpenTask {
  slot: FakeSlot;
  item: unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A result as it arrived at the caller. */
export interface SeenResult {
  from: Address;
  chunk: number;
  payload: Uint8Array;
}

/** What a host's agent was told. */
export interface Order {
  host: string;
  type: number;
  body: Record<string, unknown>;
}

type Running = SlotDown["running"][number];

/** Keeps what a status page would show. */
class FakePage {
  readonly board = new Uint32Array(RECALL_BOARD_WORDS);
  readonly begun = new BegunTurns(this.board);
  readonly running = new Map<number, Running & { begun: boolean }>();

  beginChunk(depth: number, _owner: Address, run: number, chunk: number): void {
    this.running.set(depth, { run, chunk, place: 0, begun: false });
  }

  beginItem(depth: number, place: number): void {
    Object.assign(this.running.get(depth)!, { place, begun: true });
  }

  endChunk(depth: number): void {
    this.running.delete(depth);
  }
}

export class FakeSlot {
  readonly info: SlotInfo;
  readonly host: FakeHost;
  readonly node: Node;
  readonly page = new FakePage();
  /** The caller's end of the link to it; slots of other hosts have none. */
  link: Link | undefined;
  isDead = false;

  constructor(info: SlotInfo, host: FakeHost, pool: FakePool) {
    this.info = info;
    this.host = host;
    this.node = new Node({ node: host.info.node, slot: info.slot }, new Codec());
    const call = (item: unknown) => {
      if (pool.work) return pool.work(this, item);
      return new Promise((resolve, reject) => {
        if (!this.isDead) pool.open.push({ slot: this, item, resolve, reject });
      });
    };
    const source = { reviveTask: () => ({ call, activate: () => {} }) };
    new TaskRunner(this.node, source, this.page as unknown as StatusPage, () => []);
  }

  /** What it worked on. */
  get running(): Running[] {
    return [...this.page.running.values()]
      .filter(({ begun }) => begun)
      .map(({ run, chunk, place }) => ({ run, chunk, place }));
  }
}

export class FakeHost {
  readonly info: HostInfo;
  /** Its agent. */
  readonly node: Node;
  /** Living slots by seat. */
  readonly slots = new Map<number, FakeSlot>();
  /** Milliseconds to or from the caller. */
  delayMs = 0;
  #nextSlot = 2;

  constructor(info: HostInfo) {
    this.info = info;
    this.node = new Node({ node: info.node, slot: 0 }, new Codec());
    this.node.onProblem = (error) => {
      throw error;
    };
  }

  get isHere(): boolean {
    return this.info.node === HERE;
  }

  takeNumber(): number {
    return this.#nextSlot++;
  }
}

export function hostInfo(node: number, name: string, slots: number, tags: string[] = []): HostInfo {
  return { node, name, slots, tags, host: `${name}.lan`, cores: slots, arch: "x64", memoryBytes: 1e9 };
}

export interface FakePoolOptions {
  clock?: ManualClock;
  /** The hosts there are at first. Default: the own one with three slots. */
  hosts?: HostInfo[];
  /** Refuses or delays the opening of hosts. */
  openHost?: (node: number) => Promise<void>;
}

export class FakePool {
  readonly clock: ManualClock;
  /** What the user was told. */
  readonly notices: string[] = [];
  readonly transport = new MemoryTransport();
  readonly node = new Node(CALLER, new Codec());
  readonly scheduler: Scheduler;
  readonly hosts = new Map<number, FakeHost>();
  /** Tasks that run, in the order they began. */
  open: OpenTask[] = [];
  /** Runs items instead of `open`. */
  work: ((slot: FakeSlot, item: unknown) => unknown) | undefined;
  readonly results: SeenResult[] = [];
  readonly orders: Order[] = [];
  /** Hosts the scheduler asked to open, in that order. */
  readonly opened: number[] = [];
  /** Slots begin as soon as a seat is acquired. */
  autoStart = true;
  /** The function of all calls; otherwise each call has another. */
  functionId: string | undefined;

  constructor({ clock = new ManualClock(), hosts = [hostInfo(HERE, "here", 3)], openHost }: FakePoolOptions = {}) {
    this.clock = clock;
    const { node } = this;
    const handle = node.handle.bind(node);
    node.handle = (type, handler) =>
      handle(type, (message: Message) => {
        if (type === MessageType.result) {
          const from = { node: message.fromNode, slot: message.fromSlot };
          this.results.push({ from, chunk: message.correlation, payload: new Uint8Array(message.payload) });
        }
        handler(message);
      });
    this.scheduler = new Scheduler({
      node,
      job: HERE,
      hosts,
      openHost: async (host) => {
        this.opened.push(host);
        await openHost?.(host);
      },
      notice: (text) => void this.notices.push(text),
      dial: async (address) => {
        const link = await this.transport.dial(address);
        const slot = this.slots.find(({ info }) => info.address === address);
        if (slot) slot.link = link;
        return link;
      },
      clock,
    });
    node.onPeerLost = (peer) => this.scheduler.peerLost(peer);
    node.onDrained = (peer) => this.scheduler.peerDrained(peer);
    node.onProblem = (error) => {
      throw error;
    };
    this.hosts.set(HERE, this.#makeHost(hosts.find((info) => info.node === HERE) ?? hostInfo(HERE, "head", 0)));
    for (const info of hosts) if (info.node !== HERE) this.#connect(info);
  }

  /** The agent of the own host. */
  get agent(): Node {
    return this.here.node;
  }

  get here(): FakeHost {
    return this.hosts.get(HERE)!;
  }

  /** Living slots of all hosts. */
  get slots(): FakeSlot[] {
    return [...this.hosts.values()].flatMap((host) => [...host.slots.values()]);
  }

  /** Slots the scheduler asked to end. */
  get killed(): number[] {
    return this.orders.filter(({ type }) => type === MessageType.killSlot).map(({ body }) => body.slot as number);
  }

  hostOf(name: string): FakeHost {
    return [...this.hosts.values()].find(({ info }) => info.name === name)!;
  }

  /** Joins the caller and its own node. */
  async begin(): Promise<this> {
    const listener = await this.transport.listen("agent", (link) => this.agent.accept(link));
    this.node.join(await this.transport.dial(listener.address), { node: HERE, slot: 0 }, true);
    await turn();
    return this;
  }

  /** A host joins the mesh. */
  async join(info: HostInfo): Promise<FakeHost> {
    const host = this.#connect(info);
    this.listHosts();
    await turn();
    return host;
  }

  /** Tells the scheduler which hosts there are. */
  listHosts(infos = [...this.hosts.values()].map(({ info }) => info).filter(({ slots }) => slots > 0)): void {
    this.scheduler.hostsChanged(infos);
  }

  /** A host is declared lost; it may go on by itself, and what it sends still come. */
  lose(host: FakeHost, reason = "it did not answer for 10 s"): void {
    this.hosts.delete(host.info.node);
    this.scheduler.hostLost(host.info.node, reason);
  }

  #connect(info: HostInfo): FakeHost {
    const host = this.#makeHost(info);
    this.hosts.set(info.node, host);
    const [near, far] = memoryPair(info.name);
    const delayMs = () => host.delayMs;
    this.agent.addNode({ node: info.node, role: "worker", link: new DelayedLink(near, this.clock, delayMs) });
    host.node.addNode({ node: HERE, role: "head", link: new DelayedLink(far, this.clock, delayMs) });
    return host;
  }

  #makeHost(info: HostInfo): FakeHost {
    const host = new FakeHost(info);
    const take = (type: number, act: (body: never) => unknown = () => {}) =>
      host.node.handleRequest(type, (body) => {
        this.orders.push({ host: info.name, type, body });
        return act(body);
      });
    take(MessageType.acquireSlots, async ({ seats }: { seats: number[] }) => {
      for (const seat of seats) {
        const slot = host.slots.get(seat);
        if (slot) host.node.notify(CALLER, MessageType.slotUp, slot.info);
        else if (this.autoStart) await this.startSlot(seat, host);
      }
    });
    take(MessageType.recall, ({ slot, waiting }: RecallChunks): Recalled => {
      const board = [...host.slots.values()].find(({ info }) => info.slot === slot)?.page.board;
      return { free: board ? new Recalls(board).recall(CALLER, waiting) : [] };
    });
    for (const type of [MessageType.releaseSlots, MessageType.killSlot, MessageType.watchTimeouts]) take(type);
    return host;
  }

  async startSlot(seat: number, host = this.here): Promise<FakeSlot> {
    const number = host.takeNumber();
    const info: SlotInfo = { slot: number, seat, host: host.info.name };
    if (host.isHere) info.address = `slot-${number}`;
    const slot = new FakeSlot(info, host, this);
    host.slots.set(seat, slot);
    if (host.isHere) await this.transport.listen(info.address!, (link) => slot.node.accept(link));
    else {
      const [near, far] = memoryPair(`${host.info.name}/${number}`);
      host.node.accept(far);
      slot.node.join(near, { node: host.info.node, slot: 0 }, true);
    }
    host.node.notify(CALLER, MessageType.slotUp, info);
    return slot;
  }

  /** Its process is gone: it computes nothing more; what it sent may still be on its way. */
  die(slot: FakeSlot): void {
    slot.isDead = true;
    this.open = this.open.filter((task) => task.slot !== slot);
    if (slot.host.slots.get(slot.info.seat) === slot) slot.host.slots.delete(slot.info.seat);
  }

  /** The link of a dead slot ends, after what lies in it. */
  cutLink(slot: FakeSlot): void {
    slot.link?.resume();
    slot.node.close();
  }

  /** The agent tells of a death. */
  tellDown(slot: FakeSlot, running: Running[], more: Partial<SlotDown> = {}): void {
    const { slot: number, seat } = slot.info;
    const down: SlotDown = { slot: number, seat, cause: "was killed", running, final: false, ...more };
    slot.host.node.notify(CALLER, MessageType.slotDown, down);
  }

  /** Begins a run over `items` on the seats of `claim`. */
  map(items: unknown[], sink: Sink, claim: Claim, options: Partial<RunOptions> = {}, settled = false): Run {
    const id = this.scheduler.nextRunId();
    const fn = { id: this.functionId ?? `f${id}`, locals: [], env: {} };
    const definition: Definition = { run: id, fn, args: [], spread: false, settled, depth: 0, timeoutMs: 0 };
    const run = new Run({
      id,
      label: "pool.map",
      caller: new Error("pool.map"),
      source: itemSource(items, () => this.scheduler.pump()),
      sink,
      estimate: this.scheduler.estimateOf(fn.id),
      definition: this.node.codec.encode(definition),
      seats: claim.seats,
      chunkSize: undefined,
      retries: 3,
      retryFailures: false,
      ...options,
    });
    this.scheduler.start(run, claim, () => {});
    return run;
  }

  /** Ends the oldest open task (or that at `at`) with what `value` makes of its item. */
  finishOne(value: (item: unknown) => unknown, at = 0): OpenTask | undefined {
    const [task] = this.open.splice(at, 1);
    if (!task) return undefined;
    try {
      task.resolve(value(task.item));
    } catch (error) {
      task.reject(error);
    }
    return task;
  }
}

/** Lets what is under way between memory links happen. */
export async function turn(times = 1): Promise<void> {
  for (let i = 0; i < times; i++) await new Promise((next) => setImmediate(next));
}

/** Keeps what a run reports, each item at most once. */
export class KeepingSink implements Sink {
  readonly byIndex = new Map<number, unknown>();
  readonly failures = new Map<number, unknown>();
  readonly ends: unknown[][] = [];
  readonly #settled: boolean;

  constructor(settled = false) {
    this.#settled = settled;
  }

  values(first: number, values: ArrayLike<unknown>): void {
    for (let i = 0; i < values.length; i++) {
      this.#once(first + i);
      this.byIndex.set(first + i, values[i]);
    }
  }

  failure(index: number, error: unknown): boolean {
    this.#once(index);
    this.failures.set(index, error);
    return this.#settled;
  }

  finished(...error: [unknown?]): void {
    this.ends.push(error);
  }

  #once(index: number): void {
    if (this.byIndex.has(index) || this.failures.has(index)) throw new Error(`item ${index} was reported twice`);
  }
}
