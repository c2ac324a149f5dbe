// A pipe where it was made: what was sent and not taken yet, who sends, who receives, and how far each may go.
// Never looks into a value; knows no network: the ends of other processes reach it through pipe-service.ts.
import { MeshError } from "../errors.ts";
import { Fifo } from "./queue-fifo.ts";
import { InOrder } from "./queue-order.ts";

/** Beside its bytes each message counts as so many: many empty ones take memory too. */
export const MESSAGE_COST_BYTES = 64;
/** Values on the way to one receiver, or in it and not taken, may have so many bytes, one value more not counted. */
export const AHEAD_BYTES = 256 * 1024;

/** What the maker of a pipe chose. */
export interface PipeLimits {
  highWaterBytes: number;
  /** How many funnels, and spouts, have to be closed before the pipe is. */
  senders: number;
  receivers: number;
}

/** Who closed a pipe: after those who send nothing more comes, after those who receive nothing is wanted any more. */
export type ClosedBy = "senders" | "receivers";

/** How far a sender is, as its end hears. */
export interface Credit {
  /** Cost of what left the pipe, in all. */
  takenBytes: number;
  /** Messages that came into the pipe, in all. */
  came: number;
  closedBy: ClosedBy | undefined;
}

/** What a receiver is ready for, as its end says. */
export interface Pull {
  /** Grows when the receiver withdraws: an older pull, overtaken by that, says nothing any more. */
  epoch: number;
  /** Values it takes, in all; and those of them that its reader has. */
  granted: number;
  taken: number;
}

/** What was sent to a receiver when it withdrew, in all, and whether that was the last. */
export interface Withdrawn {
  sent: number;
  over: boolean;
}

interface Entry {
  order: number;
  bytes: Uint8Array;
  cost: number;
  /** Undefined for what was given back: its sender was told already that it left. */
  from: HomeSender | undefined;
}

interface Flush {
  count: number;
  closes: boolean;
  resolve(): void;
  reject(error: unknown): void;
}

/** One sending process. */
export class HomeSender {
  readonly incoming = new InOrder<{ bytes: Uint8Array; cost: number }>();
  readonly tell: (credit: Credit) => void;
  cameBytes = 0;
  takenBytes = 0;
  toldBytes = 0;
  room: { knownBytes: number; answer(takenBytes: number): void } | undefined;
  flushes: Flush[] = [];

  constructor(tell: (credit: Credit) => void) {
    this.tell = tell;
  }
}

/** One receiving process. */
export class HomeReceiver implements Pull {
  readonly deliver: (count: number, bytes: Uint8Array) => void;
  epoch = 0;
  granted = 0;
  taken = 0;
  sent = 0;
  /** Of each value sent and not taken, the oldest first: its place among all, and its bytes. */
  readonly underWay = new Fifo<{ order: number; sizeBytes: number }>();
  underWayBytes = 0;
  isQueued = false;
  watch: ((sent: number) => void) | undefined;

  constructor(deliver: (count: number, bytes: Uint8Array) => void) {
    this.deliver = deliver;
  }

  get isReady(): boolean {
    return this.sent < this.granted && this.underWayBytes < AHEAD_BYTES;
  }
}

export class PipeHome {
  readonly #limits: PipeLimits;
  readonly #over: () => void;
  readonly #queue = new Fifo<Entry>();
  readonly #senders = new Set<HomeSender>();
  readonly #receivers = new Set<HomeReceiver>();
  /** Those that are ready, whose turn it is first. */
  readonly #ready = new Fifo<HomeReceiver>();
  #order = 0;
  #senderCloses = 0;
  #receiverCloses = 0;
  #closedBy: ClosedBy | undefined;
  #dispatching = false;

  /** `over` hears when the pipe is closed and nobody will ask for anything in it. */
  constructor(limits: PipeLimits, over: () => void = () => {}) {
    this.#limits = limits;
    this.#over = over;
  }

  /** Values that nobody took. */
  get length(): number {
    return this.#queue.length;
  }

  get closedBy(): ClosedBy | undefined {
    return this.#closedBy;
  }

  addSender(tell: (credit: Credit) => void): HomeSender {
    const sender = new HomeSender(tell);
    this.#senders.add(sender);
    return sender;
  }

  addReceiver(deliver: (count: number, bytes: Uint8Array) => void): HomeReceiver {
    const receiver = new HomeReceiver(deliver);
    this.#receivers.add(receiver);
    return receiver;
  }

  /** Takes the `number`th message of a sender, from 1. The bytes are kept. */
  push(sender: HomeSender, number: number, bytes: Uint8Array, cost: number): void {
    if (this.#closedBy) this.#tell(sender);
    else sender.incoming.put(number, { bytes, cost }, (message) => this.#accept(sender, message));
  }

  /** Resolves with what left the pipe once that is more than `knownBytes`, and enough to go on with. */
  room(sender: HomeSender, knownBytes: number): Promise<number> {
    sender.room?.answer(sender.takenBytes); // asked again: nobody waits for the other answer
    const { promise, resolve } = Promise.withResolvers<number>();
    sender.room = { knownBytes, answer: resolve };
    this.#answerRoom(sender);
    return promise;
  }

  /**
   * Resolves when the first `count` messages of a sender came; `closes` closes one funnel after them. Rejects with CLOSED
   * when the pipe was closed before that.
   */
  flush(sender: HomeSender, count: number, closes: boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    sender.flushes.push({ count, closes, resolve, reject });
    this.#answerFlushes(sender);
    return promise;
  }

  pull(receiver: HomeReceiver, { epoch, granted, taken }: Pull): void {
    if (!this.#receivers.has(receiver)) return;
    this.#taken(receiver, taken);
    if (epoch === receiver.epoch && granted > receiver.granted) receiver.granted = granted;
    this.#queueIfReady(receiver);
    this.#dispatch();
  }

  /** Resolves at the end of the pipe, with how many values the receiver was sent. */
  watch(receiver: HomeReceiver): Promise<number> {
    receiver.watch?.(receiver.sent);
    const { promise, resolve } = Promise.withResolvers<number>();
    receiver.watch = resolve;
    this.#answerWatches();
    return promise;
  }

  /** Sends the receiver nothing more until it pulls again, with this epoch. */
  withdraw(receiver: HomeReceiver, epoch: number): Withdrawn {
    receiver.epoch = epoch;
    receiver.granted = receiver.sent;
    return { sent: receiver.sent, over: this.#isOver };
  }

  /** Takes values back, by their number for this receiver; `closes` closes one spout after that. */
  giveBack(receiver: HomeReceiver, values: readonly [number: number, bytes: Uint8Array][], closes: boolean): void {
    const first = receiver.taken + 1;
    const known = [...receiver.underWay];
    const back = values.map(([number, bytes]) => ({
      bytes,
      cost: 0,
      from: undefined,
      order: known[number - first]?.order ?? 0,
    }));
    this.#taken(receiver, receiver.sent);
    if (this.#closedBy !== "receivers") this.#insert(back);
    if (closes && ++this.#receiverCloses >= this.#limits.receivers) this.#close("receivers");
    this.#dispatch();
  }

  /** Forgets a receiver that left or died, and what was under way to it. */
  leave(receiver: HomeReceiver): void {
    this.#receivers.delete(receiver);
    receiver.granted = 0;
    this.#ready.removeIf((other) => other === receiver);
    this.#endIfOver();
  }

  get #isOver(): boolean {
    return this.#closedBy !== undefined && this.#queue.length === 0;
  }

  #accept(sender: HomeSender, { bytes, cost }: { bytes: Uint8Array; cost: number }): void {
    sender.cameBytes += cost;
    if (!this.#closedBy) this.#queue.push({ order: this.#order++, bytes, cost, from: sender });
    this.#answerFlushes(sender);
    this.#dispatch();
  }

  /** Puts what was given back where it was: before all that came later. */
  #insert(back: Entry[]): void {
    const later: Entry[] = [];
    const last = back.at(-1);
    if (!last) return;
    while (this.#queue.length > 0 && this.#queue.peek()!.order < last.order) later.push(this.#queue.shift()!);
    const all = [...back, ...later].sort((a, b) => a.order - b.order);
    for (const entry of all.reverse()) this.#queue.unshift(entry);
  }

  #queueIfReady(receiver: HomeReceiver): void {
    if (receiver.isQueued || !receiver.isReady) return;
    receiver.isQueued = true;
    this.#ready.push(receiver);
  }

  /** Hands values to those that are ready, one each in turn. Delivery may call back into here. */
  #dispatch(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    while (this.#queue.length > 0 && this.#ready.length > 0) {
      const receiver = this.#ready.shift()!;
      receiver.isQueued = false;
      if (receiver.isReady) this.#hand(this.#queue.shift()!, receiver);
      this.#queueIfReady(receiver);
    }
    this.#dispatching = false;
    this.#endIfOver();
  }

  #hand({ order, bytes, cost, from }: Entry, receiver: HomeReceiver): void {
    const sizeBytes = bytes.length;
    receiver.sent++;
    receiver.underWay.push({ order, sizeBytes });
    receiver.underWayBytes += sizeBytes;
    receiver.deliver(receiver.sent, bytes);
    if (!from) return;
    from.takenBytes += cost;
    this.#answerRoom(from);
    if (from.takenBytes - from.toldBytes >= this.#limits.highWaterBytes / 4) this.#tell(from);
  }

  #taken(receiver: HomeReceiver, count: number): void {
    for (; receiver.taken < Math.min(count, receiver.sent); receiver.taken++) {
      receiver.underWayBytes -= receiver.underWay.shift()!.sizeBytes;
    }
  }

  #tell(sender: HomeSender): void {
    sender.toldBytes = sender.takenBytes;
    sender.tell({ takenBytes: sender.takenBytes, came: sender.incoming.count, closedBy: this.#closedBy });
  }

  /** Not for each message alone: a sender gets room for a quarter of what it may have in the pipe. */
  #answerRoom(sender: HomeSender): void {
    const { room, takenBytes, cameBytes } = sender;
    if (!room) return;
    const hasRoom = takenBytes > room.knownBytes && cameBytes - takenBytes <= 0.75 * this.#limits.highWaterBytes;
    if (!hasRoom && !this.#closedBy) return;
    sender.room = undefined;
    sender.toldBytes = takenBytes;
    room.answer(takenBytes);
  }

  #answerFlushes(sender: HomeSender): void {
    const { count } = sender.incoming;
    const waiting = sender.flushes;
    if (waiting.length === 0) return;
    sender.flushes = waiting.filter((flush) => flush.count > count && !this.#closedBy);
    for (const flush of waiting) {
      if (flush.count > count && !this.#closedBy) continue;
      if (flush.count > count) flush.reject(closedBefore(count, flush.count));
      else if (this.#closedBy === "receivers" && !flush.closes) flush.reject(nobodyReceives());
      else this.#flushed(flush);
    }
  }

  #flushed(flush: Flush): void {
    if (flush.closes && ++this.#senderCloses >= this.#limits.senders) this.#close("senders");
    flush.resolve();
  }

  #close(by: ClosedBy): void {
    if (this.#closedBy && by === "senders") return;
    this.#closedBy = by;
    if (by === "receivers") this.#queue.clear();
    for (const sender of this.#senders) {
      this.#tell(sender);
      this.#answerRoom(sender);
      this.#answerFlushes(sender);
    }
    this.#endIfOver();
  }

  #answerWatches(): void {
    if (!this.#isOver) return;
    for (const receiver of this.#receivers) {
      receiver.watch?.(receiver.sent);
      receiver.watch = undefined;
    }
  }

  #endIfOver(): void {
    if (!this.#isOver) return;
    this.#answerWatches();
    const isDone = (receiver: HomeReceiver) => receiver.taken === receiver.sent;
    if (this.#closedBy === "receivers" || [...this.#receivers].every(isDone)) this.#over();
  }
}

function closedBefore(came: number, sent: number): MeshError {
  return new MeshError("CLOSED", `the pipe was closed when ${came} of the ${sent} messages of this process had come`);
}

export function nobodyReceives(): MeshError {
  return new MeshError("CLOSED", "the pipe was closed by its receivers: nobody takes what is sent");
}
