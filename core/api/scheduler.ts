// Gives the items of runs to slots: how many at once, how far ahead, and to whom again when a slot dies.
// One per process that calls the pool API. Slots are reached directly; their agent starts and ends them.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Link } from "../transport.ts";
import type { Address, Message } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Chunk, Estimate, Place, Run } from "./run.ts";
import { SentTable } from "./sent-table.ts";
import { type Outcomes, readResult, Status, sendRun } from "./task-wire.ts";

/** A slot as its agent describes it. */
export interface SlotInfo {
  slot: number;
  /** Place it takes on its host, from 1; its replacement takes the same. */
  seat: number;
  host: string;
  /** Where it listens. */
  address: string;
}

/** What became of a slot, as its agent tells. */
export interface SlotDown {
  slot: number;
  seat: number;
  /** "ran out of memory: …" */
  cause: string;
  /** Milliseconds, when it was ended because an item took longer. */
  timedOutMs?: number;
  /** What it was running for this process. */
  running: { run: number; chunk: number; place: number }[];
  /** No replacement will come: the seat cannot be filled. */
  final: boolean;
}

interface Sent {
  id: number;
  /** Grows with every chunk sent. */
  order: number;
  chunk: Chunk;
  slot: Slot;
  expectedMs: number;
  bytes: number;
}

interface Slot {
  info: SlotInfo;
  address: Address;
  /** Chunks on their way to it or in it. */
  chunks: number;
  /** Of them, those of each nesting depth: tasks that wait for deeper ones let those run beside them. */
  chunksAtDepth: number[];
  loadMs: number;
  loadBytes: number;
  defined: Set<number>;
  /** Speed relative to the average slot. */
  speed: number;
  /** Chunks it answered, in all and when they were last looked at. */
  answers: number;
  answersSeen: number;
  /** The link asked to wait. */
  full: boolean;
  linkOpen: boolean;
  down: SlotDown | undefined;
}

/** Work that is sent ahead of a slot's results, so that it never waits for the way there and back (some 0.1 ms). */
const AHEAD_MS = 4;
const AHEAD_CHUNKS = 1024;
/** Behind a task of up to this length one more waits in the slot: without it 0.5 ms in between would be lost. */
const ONE_AHEAD_MS = 100;
const AHEAD_BYTES = 8 * 1024 * 1024;
/** A chunk is made to last this long: short enough to balance, long enough that messages cost nothing beside it. */
const CHUNK_MS = 4;
const LEAST_CHUNK_MS = 0.25;
const CHUNK_BYTES = 128 * 1024; // fits a Unix socket's buffer (208 KiB): a larger one waits for its reader half way
const CHUNK_ITEMS = 100_000;
/** A slot that answers nothing for so long keeps what waits behind its item from slots that are idle. */
const STALLED_MS = 100;
/** What a slot whose link broke gets to be gone by itself. */
const BROKEN_GRACE_MS = 200;
/** Shorter calls are not worth a warning. */
const WORTH_WARNING_MS = 1_000;
/** A function is hardly known after its first item: chunks grow by this factor at most. */
const GROWTH = 32;

export interface SchedulerOptions {
  node: Node;
  agent: Address;
  /** Slots used when nobody asks for a number. */
  defaultSlots: number;
  /** A seat this process itself sits on: its own tasks do not go there. */
  ownSeat: number | undefined;
  dial(address: string): Promise<Link>;
  /** Tells the user something on the terminal. */
  notice(text: string): void;
}

export class Scheduler {
  readonly #node: Node;
  readonly #agent: Address;
  readonly #dial: (address: string) => Promise<Link>;
  readonly #notice: (text: string) => void;
  readonly #defaultSlots: number;
  readonly #ownSeat: number | undefined;
  readonly #slots = new Map<number, Slot>();
  readonly #sent = new SentTable<Sent>();
  readonly #runs: Run[] = [];
  /** How many pools use a seat. */
  readonly #users = new Map<number, number>();
  readonly #failedSeats = new Map<number, string>();
  readonly #estimates = new Map<string, Estimate>();
  #warned = false;
  #nextRun = 1;
  #order = 0;
  #looking: NodeJS.Timeout | undefined;
  #watchesTimeouts = false;

  constructor(options: SchedulerOptions) {
    this.#node = options.node;
    this.#agent = options.agent;
    this.#dial = options.dial;
    this.#notice = options.notice;
    this.#defaultSlots = options.defaultSlots;
    this.#ownSeat = options.ownSeat;
    const { node } = options;
    node.handle(MessageType.result, (message) => this.#result(message));
    node.handle(MessageType.slotUp, (message) => void this.#slotUp(node.codec.decode(message.payload) as SlotInfo));
    node.handle(MessageType.slotDown, (message) => this.#slotDown(node.codec.decode(message.payload) as SlotDown));
  }

  /** Runs that are not over. */
  get runs(): readonly Run[] {
    return this.#runs;
  }

  /** Slots that can take work now. */
  get readySlots(): SlotInfo[] {
    return [...this.#slots.values()].filter((slot) => slot.linkOpen).map((slot) => slot.info);
  }

  /** Has the agent end slots whose items take longer than their limits, from now on. */
  watchTimeouts(): void {
    if (this.#watchesTimeouts) return;
    this.#watchesTimeouts = true;
    this.#node.notify(this.#agent, MessageType.watchTimeouts, {});
  }

  nextRunId(): number {
    return this.#nextRun++;
  }

  /** What is known of a function by its id in the bundle. */
  estimateOf(functionId: string): Estimate {
    const known = this.#estimates.get(functionId);
    if (known) return known;
    const estimate = { itemMs: undefined, itemBytes: 64, chunkItems: 1 };
    this.#estimates.set(functionId, estimate);
    return estimate;
  }

  /** Takes `count` seats for a pool, those the fewest pools use, and has them filled. */
  takeSeats(count = this.#defaultSlots): Set<number> {
    const candidates: number[] = [];
    for (let seat = 1; candidates.length < Math.max(count, this.#defaultSlots); seat++) {
      if (seat !== this.#ownSeat) candidates.push(seat);
    }
    const uses = (seat: number) => this.#users.get(seat) ?? 0;
    const seats = candidates.sort((a, b) => uses(a) - uses(b) || a - b).slice(0, count);
    for (const seat of seats) this.#users.set(seat, uses(seat) + 1);
    for (const seat of seats) this.#failedSeats.delete(seat);
    this.#node.notify(this.#agent, MessageType.acquireSlots, { seats });
    return new Set(seats);
  }

  /** Gives seats back; those that no other pool uses are emptied. */
  releaseSeats(seats: ReadonlySet<number>): void {
    const unused: number[] = [];
    for (const seat of seats) {
      const uses = (this.#users.get(seat) ?? 1) - 1;
      this.#users.set(seat, uses);
      if (uses === 0) unused.push(seat);
    }
    if (unused.length > 0) this.#node.notify(this.#agent, MessageType.releaseSlots, { seats: unused });
  }

  /** Begins a run; it reports to its sink. Calls `over` when it ends, however it does. */
  start(run: Run, over: () => void): void {
    const begunAt = performance.now();
    this.#runs.push(run);
    this.#node.hold();
    this.#looking ??= setInterval(() => this.#relieve(), STALLED_MS);
    run.onOver = () => {
      this.#over(run);
      this.#warnOfCheapItems(run, performance.now() - begunAt);
      over();
    };
    const failed = [...run.seats].map((seat) => this.#failedSeats.get(seat));
    if (failed.every((cause) => cause !== undefined)) run.end(cannotStart(failed[0]!));
    else this.pump();
  }

  /** Stops a run's work for real: a slot that goes on with it after `graceMs` is ended. */
  stop(run: Run, error: MeshError, graceMs = 100): void {
    if (run.over) return;
    const busy = this.#slotsOf(run);
    run.end(error);
    for (const slot of busy) {
      this.#node.notify(this.#agent, MessageType.killSlot, {
        slot: slot.info.slot,
        run: run.id,
        graceMs,
        reason: `its work was cancelled: ${error.message}`,
      });
    }
  }

  /** Hands out what can be handed out now, one chunk to each slot in turn. */
  pump(): void {
    for (const run of [...this.#runs]) run.checkSource();
    let busy = true;
    while (busy) {
      busy = false;
      for (const slot of this.#slots.values()) if (this.#feed(slot)) busy = true;
    }
  }

  #over(run: Run): void {
    const index = this.#runs.indexOf(run);
    if (index < 0) return;
    this.#runs.splice(index, 1);
    const number = this.#node.codec.encode(run.id);
    for (const slot of this.#slots.values()) {
      if (slot.defined.delete(run.id)) this.#node.send(slot.address, MessageType.cancel, 0, 0, number);
    }
    this.#node.release();
    if (this.#runs.length > 0) return;
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  /** Takes what waits in slots that a long item holds, and gives it to idle ones. */
  #relieve(): void {
    const slots = [...this.#slots.values()];
    const stalled = slots.filter((slot) => slot.chunks > 1 && slot.linkOpen && slot.answers === slot.answersSeen);
    for (const slot of slots) slot.answersSeen = slot.answers;
    const idle = slots.filter((slot) => slot.chunks === 0 && slot.linkOpen && !slot.down);
    if (idle.length === 0) return;
    for (const slot of stalled) {
      const waiting = this.#waitingIn(slot).filter(({ chunk }) =>
        idle.some(({ info }) => chunk.run.seats.has(info.seat)),
      );
      if (waiting.length === 0) continue;
      for (const sent of waiting) this.#settle(sent);
      const numbers = this.#node.codec.encode(waiting.map((sent) => sent.id));
      this.#node.send(slot.address, MessageType.recall, 0, 0, numbers);
      for (const { chunk } of waiting) chunk.run.returned(chunk);
    }
    this.pump();
  }

  /** What a slot was sent and has not begun, as far as can be told: all but the oldest of each depth. */
  #waitingIn(slot: Slot): Sent[] {
    const begun = new Set<number>();
    const inOrder = this.#sentTo(slot).sort((a, b) => a.order - b.order);
    return inOrder.filter(({ chunk }) => {
      if (begun.has(chunk.run.depth)) return true;
      begun.add(chunk.run.depth);
      return false;
    });
  }

  /** Says so, once, when a plain loop would have been faster. */
  #warnOfCheapItems(run: Run, wallMs: number): void {
    if (this.#warned || wallMs < WORTH_WARNING_MS || run.doneCount < 1_000 || run.workMs * 2 > wallMs) return;
    this.#warned = true;
    const seconds = (ms: number) => `${(ms / 1_000).toPrecision(2)} s`;
    const advice = run.chunkSize === undefined ? "give each item more to do" : "leave chunkSize out";
    this.#notice(
      `${run.label} took ${seconds(wallMs)} for ${run.doneCount} items that were ${seconds(run.workMs)} of work: ` +
        `sending them costs more than doing them; a plain loop would be faster, or ${advice}`,
    );
  }

  #sentTo(slot: Slot): Sent[] {
    return this.#sent.all().filter((sent) => sent.slot === slot);
  }

  #slotsOf(run: Run): Slot[] {
    const busy = this.#sent
      .all()
      .filter((sent) => sent.chunk.run === run)
      .map((sent) => sent.slot);
    return [...new Set(busy)];
  }

  /** Sends one chunk to a slot if there is one for it and it has room. */
  #feed(slot: Slot): boolean {
    if (slot.full || !slot.linkOpen || slot.down) return false;
    let keptFor: number | undefined;
    for (let i = 0; i < this.#runs.length; i++) {
      const run = this.#runs[i]!;
      if (run.depth === keptFor || !run.seats.has(slot.info.seat)) continue;
      if (!hasRoom(slot, run)) {
        // It is its turn, and it needs the slot to itself: if others went ahead of it the slot would never be idle.
        if (run.isWaiting) keptFor = run.depth;
        continue;
      }
      const chunk = run.take(this.#chunkItems(run, slot));
      if (!chunk) {
        if (run.over) i--;
        continue;
      }
      if (this.#runs.length > 1) this.#runs.push(...this.#runs.splice(i, 1)); // the next chunk is another run's
      return this.#send(slot, chunk);
    }
    return false;
  }

  #chunkItems(run: Run, slot: Slot): number {
    if (run.chunkSize !== undefined) return run.chunkSize;
    const { itemMs, itemBytes } = run.estimate;
    if (itemMs === undefined) return 1;
    const least = LEAST_CHUNK_MS / itemMs;
    let items = Math.min((CHUNK_MS / itemMs) * slot.speed, CHUNK_BYTES / itemBytes, CHUNK_ITEMS);
    items = Math.min(items, run.estimate.chunkItems * GROWTH);
    if (run.remaining !== undefined) items = Math.min(items, Math.max(run.remaining / (2 * run.seats.size), least));
    return Math.max(1, Math.floor(items));
  }

  #send(slot: Slot, chunk: Chunk): boolean {
    const { run, items } = chunk;
    const { estimate } = run;
    if (!slot.defined.has(run.id)) {
      slot.defined.add(run.id);
      this.#node.send(slot.address, MessageType.define, 0, 0, run.definition);
    }
    const count = items ? items.length : 1;
    const expectedMs = (estimate.itemMs ?? AHEAD_MS) * count;
    const sent: Sent = { id: 0, order: this.#order++, chunk, slot, expectedMs, bytes: 0 };
    this.#sent.add(sent);
    try {
      const size = sendRun(this.#node, slot.address, sent.id, run.id, items);
      sent.bytes = Math.abs(size);
      slot.full = size < 0;
    } catch (error) {
      this.#sent.remove(sent);
      const [at, precise] = unsendable(error, chunk, this.#node);
      run.refused(chunk, at, precise);
      return true;
    }
    if (items) estimate.itemBytes = sent.bytes / count;
    estimate.chunkItems = count;
    slot.chunks++;
    slot.chunksAtDepth[run.depth] = (slot.chunksAtDepth[run.depth] ?? 0) + 1;
    slot.loadMs += expectedMs;
    slot.loadBytes += sent.bytes;
    return true;
  }

  #settle(sent: Sent): void {
    const { slot, expectedMs, bytes } = sent;
    this.#sent.remove(sent);
    slot.chunks--;
    slot.chunksAtDepth[sent.chunk.run.depth]!--;
    slot.loadMs = slot.chunks === 0 ? 0 : slot.loadMs - expectedMs;
    slot.loadBytes -= bytes;
  }

  #result(message: Message): void {
    const sent = this.#sent.get(message.correlation);
    // An answer from somebody else than whom the chunk was given to is late: the chunk was given away again.
    if (!sent || sent.slot.info.slot !== message.fromSlot) return;
    const { chunk, slot } = sent;
    const { run } = chunk;
    slot.answers++;
    this.#settle(sent);
    try {
      const { status, elapsedMs, values } = readResult(message, this.#node.codec);
      if (status === Status.dropped) run.returned(chunk);
      else {
        this.#measure(slot, run, elapsedMs / (chunk.items?.length ?? 1));
        if (status === Status.done) run.done(chunk, values as ArrayLike<unknown>, elapsedMs);
        else run.failed(chunk, values as Outcomes, elapsedMs, placeOf(slot));
      }
    } catch (error) {
      run.returned(chunk);
      run.end(error);
    }
    if (this.#runs.length > 0) while (this.#feed(slot));
  }

  #measure(slot: Slot, run: Run, itemMs: number): void {
    const average = run.estimate.itemMs;
    if (!average || itemMs <= 0) return;
    const relative = Math.min(8, Math.max(1 / 8, average / itemMs));
    slot.speed = 0.8 * slot.speed + 0.2 * relative;
  }

  /** Each pool that takes a seat is told of the slot there, so the same slot may be told of again. */
  async #slotUp(info: SlotInfo): Promise<void> {
    if (this.#slots.has(info.slot)) return;
    const slot: Slot = {
      info,
      address: { node: this.#agent.node, slot: info.slot },
      chunks: 0,
      chunksAtDepth: [],
      loadMs: 0,
      loadBytes: 0,
      defined: new Set(),
      speed: 1,
      answers: 0,
      answersSeen: 0,
      full: false,
      linkOpen: false,
      down: undefined,
    };
    this.#slots.set(info.slot, slot);
    this.#failedSeats.delete(info.seat);
    try {
      const link = await this.#dial(info.address);
      if (this.#slots.get(info.slot) !== slot) return link.close(); // its agent told of its death meanwhile
      this.#node.join(link, slot.address);
    } catch {
      this.#endUnreachable(slot);
      return;
    }
    slot.linkOpen = true;
    this.pump();
  }

  /** The link to a slot ended: nothing more comes from it. Its agent says why, and is asked to make sure. */
  peerLost(peer: Address): void {
    const slot = this.#slots.get(peer.slot);
    if (!slot || peer.node !== slot.address.node) return;
    slot.linkOpen = false;
    if (slot.down) this.#buried(slot, slot.down);
    else this.#endUnreachable(slot);
  }

  /** Has the agent make sure that it is dead, and tell of it. */
  #endUnreachable(slot: Slot): void {
    const reason = "its link to the process it worked for broke";
    // A process that is ending by itself gets the time to do so: its own cause says more.
    this.#node.notify(this.#agent, MessageType.killSlot, { slot: slot.info.slot, reason, graceMs: BROKEN_GRACE_MS });
  }

  peerDrained(peer: Address): void {
    const slot = this.#slots.get(peer.slot);
    if (!slot) return;
    slot.full = false;
    while (this.#feed(slot));
  }

  // Results may still lie in the link when the agent tells of the death: both must be over before work is given away.
  #slotDown(down: SlotDown): void {
    const slot = this.#slots.get(down.slot);
    if (slot) {
      slot.down = down;
      if (!slot.linkOpen) this.#buried(slot, down);
    }
    if (!down.final) return;
    this.#failedSeats.set(down.seat, down.cause);
    for (const run of [...this.#runs]) {
      if ([...run.seats].every((seat) => this.#failedSeats.has(seat))) run.end(cannotStart(down.cause));
    }
  }

  #buried(slot: Slot, down: SlotDown): void {
    this.#slots.delete(down.slot);
    for (const sent of this.#sentTo(slot)) {
      const { id, chunk } = sent;
      this.#settle(sent);
      const running = down.running.find((item) => item.chunk === id && item.run === chunk.run.id);
      const error = lossError(chunk, running?.place ?? 0, down, slot);
      chunk.run.lost(chunk, running?.place, error, placeOf(slot));
    }
    this.pump();
  }
}

function hasRoom(slot: Slot, run: Run): boolean {
  if (!slot.chunksAtDepth[run.depth]) return true;
  if (run.estimate.itemMs === undefined || slot.loadBytes >= AHEAD_BYTES) return false;
  if (slot.loadMs < AHEAD_MS) return slot.chunks < AHEAD_CHUNKS;
  const leavesSomeForOthers = run.remaining === undefined || run.remaining >= run.seats.size;
  return slot.chunks === 1 && slot.loadMs < ONE_AHEAD_MS && leavesSomeForOthers;
}

function placeOf(slot: Slot): Place {
  return { host: slot.info.host, seat: slot.info.seat };
}

function lossError(chunk: Chunk, place: number, down: SlotDown, slot: Slot): MeshError {
  const item = chunk.items ? `item ${chunk.first + place}` : "the call";
  const where = `${chunk.run.label}: ${item}`;
  const attempt = `(attempt ${chunk.attempt}, on ${slot.info.host}/${slot.info.seat})`;
  if (down.timedOutMs !== undefined) {
    return new MeshError("TIMEOUT", `${where} took longer than its limit of ${down.timedOutMs} ms ${attempt}`);
  }
  return new MeshError("SLOT_LOST", `${where}: the slot that ran it ${down.cause} ${attempt}`);
}

function cannotStart(cause: string): MeshError {
  return new MeshError("SLOT_LOST", `no slot can be started: ${cause}`);
}

/** Finds the item that cannot be sent, in a chunk that was refused as a whole. */
function unsendable(error: unknown, chunk: Chunk, node: Node): [at: number, error: unknown] {
  for (const [i, item] of (chunk.items ?? []).entries()) {
    try {
      node.codec.encode(item, `${chunk.run.label}: item ${chunk.first + i}`);
    } catch (precise) {
      return [i, precise];
    }
  }
  return [0, error];
}
