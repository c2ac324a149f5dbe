// A scheduler and its slots in one process, over memory links: the agent is played by the test, tasks end when it says so.
import { itemSource } from "../../core/api/items.ts";
import { Run, type RunOptions, type Sink } from "../../core/api/run.ts";
import { Scheduler, type SlotDown, type SlotInfo } from "../../core/api/scheduler.ts";
import type { Definition } from "../../core/api/task-wire.ts";
import { Node } from "../../core/node/node.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import type { Address, Message } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import type { StatusPage } from "../../core/worker/status-page.ts";
import { TaskRunner } from "../../core/worker/task-runner.ts";
import { MemoryTransport } from "../../transports/memory/memory-transport.ts";

export const AGENT: Address = { node: 2, slot: 0 };
export const CALLER: Address = { node: 2, slot: 1 };

/** A task that waits to be ended. */
export interface OpenTask {
  slot: FakeSlot;
  item: unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A result as it arrived at the caller. */
export interface SeenResult {
  slot: number;
  chunk: number;
  payload: Uint8Array;
}

type Running = SlotDown["running"][number];

/** Keeps what a status page would show. */
class FakePage {
  readonly running = new Map<number, Running & { begun: boolean }>();

  beginChunk(depth: number, _owner: number, run: number, chunk: number): void {
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
  readonly node: Node;
  readonly page = new FakePage();
  /** The caller's end of the link to it. */
  link: Link | undefined;
  isDead = false;

  constructor(info: SlotInfo, pool: FakePool) {
    this.info = info;
    this.node = new Node({ node: 2, slot: info.slot }, new Codec());
    const call = (item: unknown) =>
      new Promise((resolve, reject) => {
        if (!this.isDead) pool.open.push({ slot: this, item, resolve, reject });
      });
    const source = { reviveTask: () => ({ call, activate: () => {} }) };
    new TaskRunner(this.node, source, this.page as unknown as StatusPage);
  }

  /** What it worked on. */
  get running(): Running[] {
    return [...this.page.running.values()]
      .filter(({ begun }) => begun)
      .map(({ run, chunk, place }) => ({ run, chunk, place }));
  }
}

export class FakePool {
  /** What the user was told. */
  readonly notices: string[] = [];
  readonly transport = new MemoryTransport();
  readonly node = new Node(CALLER, new Codec());
  readonly agent = new Node(AGENT, new Codec());
  readonly scheduler: Scheduler;
  /** Living slots by seat. */
  readonly slots = new Map<number, FakeSlot>();
  /** Tasks that run, in the order they began. */
  open: OpenTask[] = [];
  readonly results: SeenResult[] = [];
  /** Slots the scheduler asked to end. */
  readonly killed: number[] = [];
  /** Slots begin as soon as a seat is acquired. */
  autoStart = true;
  #nextSlot = 2;

  constructor() {
    const { node, agent } = this;
    const handle = node.handle.bind(node);
    node.handle = (type, handler) =>
      handle(type, (message: Message) => {
        if (type === MessageType.result) {
          const payload = new Uint8Array(message.payload);
          this.results.push({ slot: message.fromSlot, chunk: message.correlation, payload });
        }
        handler(message);
      });
    this.scheduler = new Scheduler({
      node,
      agent: AGENT,
      defaultSlots: 3,
      ownSeat: undefined,
      notice: (text) => void this.notices.push(text),
      dial: async (address) => {
        const link = await this.transport.dial(address);
        const slot = [...this.slots.values()].find(({ info }) => info.address === address);
        if (slot) slot.link = link;
        return link;
      },
    });
    node.onPeerLost = (peer) => this.scheduler.peerLost(peer);
    node.onDrained = (peer) => this.scheduler.peerDrained(peer);
    node.onProblem = agent.onProblem = (error) => {
      throw error;
    };
    agent.handleRequest(MessageType.acquireSlots, async ({ seats }: { seats: number[] }) => {
      for (const seat of seats) if (this.autoStart && !this.slots.has(seat)) await this.startSlot(seat);
    });
    agent.handleRequest(MessageType.releaseSlots, () => {});
    agent.handleRequest(MessageType.killSlot, ({ slot }: { slot: number }) => void this.killed.push(slot));
  }

  /** Joins the caller and the agent. */
  async begin(): Promise<this> {
    const listener = await this.transport.listen("agent", (link) => this.agent.accept(link));
    this.node.join(await this.transport.dial(listener.address), AGENT, true);
    await turn();
    return this;
  }

  async startSlot(seat: number): Promise<FakeSlot> {
    const number = this.#nextSlot++;
    const info: SlotInfo = { slot: number, seat, host: "here", address: `slot-${number}` };
    const slot = new FakeSlot(info, this);
    this.slots.set(seat, slot);
    await this.transport.listen(info.address, (link) => slot.node.accept(link));
    this.agent.notify(CALLER, MessageType.slotUp, info);
    return slot;
  }

  /** Its process is gone: it computes nothing more; what it sent may still be on its way. */
  die(slot: FakeSlot): void {
    slot.isDead = true;
    this.open = this.open.filter((task) => task.slot !== slot);
    if (this.slots.get(slot.info.seat) === slot) this.slots.delete(slot.info.seat);
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
    this.agent.notify(CALLER, MessageType.slotDown, down);
  }

  /** Begins a run over `items` on `seats`. */
  map(items: unknown[], sink: Sink, seats: Set<number>, options: Partial<RunOptions> = {}, settled = false): Run {
    const id = this.scheduler.nextRunId();
    const fn = { id: `f${id}`, locals: [], env: {} };
    const definition: Definition = { run: id, fn, args: [], spread: false, settled, depth: 0, timeoutMs: 0 };
    const run = new Run({
      id,
      label: "pool.map",
      caller: new Error("pool.map"),
      source: itemSource(items, () => this.scheduler.pump()),
      sink,
      estimate: this.scheduler.estimateOf(fn.id),
      definition: this.node.codec.encode(definition),
      seats,
      chunkSize: undefined,
      retries: 3,
      retryFailures: false,
      ...options,
    });
    this.scheduler.start(run, () => {});
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
