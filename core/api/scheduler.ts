// Gives the items of runs to slots: how many at once, how far ahead, and to whom again when a slot or its host is lost.
// One per process that calls the pool API. Slots of the own host are reached directly, others through the own node; the
// agents of their hosts start and end them.
import { type Clock, systemClock, type Timer } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Link } from "../transport.ts";
import type { Address, Message } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Recalled } from "../worker/control.ts";
import { hostError, lossError, unsendable } from "./chunk-errors.ts";
import { describeChoice, type HostChoice } from "./host-choice.ts";
import type { HostInfo } from "./hosts.ts";
import { Relief, waitingAmong } from "./relief.ts";
import type { Chunk, Estimate, Run } from "./run.ts";
import { type Claim, type Host, type Seat, Seats, type SeatWatcher } from "./seats.ts";
import { SentTable } from "./sent-table.ts";
import { LOOK_MS, type Sent, Slot, type SlotDown, type SlotInfo, turnOf } from "./slots.ts";
import { Speeds } from "./speeds.ts";
import { isSoonDone, othersAreSooner } from "./tail.ts";
import { type Outcomes, readResult, Status, sendRun } from "./task-wire.ts";
import { LEAST_AHEAD_MS } from "./way.ts";

export type { HostInfo } from "./hosts.ts";
export type { SlotDown, SlotInfo } from "./slots.ts";

/** A chunk is made to last this long: short enough to balance, long enough that messages cost nothing beside it. */
const CHUNK_MS = 4;
const LEAST_CHUNK_MS = 0.25;
const CHUNK_BYTES = 128 * 1024; // fits a Unix socket's buffer (208 KiB): a larger one waits for its reader half way
const CHUNK_ITEMS = 100_000;
/** What a slot whose link broke gets to be gone by itself. */
const BROKEN_GRACE_MS = 200;
/** Shorter calls are not worth a warning. */
const WORTH_WARNING_MS = 1_000;
/** A function is hardly known after its first item: chunks grow by this factor at most. */
const GROWTH = 32;
const HOSTS_TIMEOUT_MS = 30_000;
/** A slot may hold a run that is over so long, to hear of it together with the next. */
const TELL_OVER_MS = 1;

export interface SchedulerOptions {
  node: Node;
  /** The job's key: the node number of its head. */
  job: number;
  /** The hosts there are, as of now; without a mesh the own node alone. */
  hosts: readonly HostInfo[];
  /** A seat this process itself sits on: its own tasks do not go there. */
  ownSeat?: { node: number; seat: number };
  /** Asks the head to open the job on a host; asked once at a time for each. Rejects with the reason. */
  openHost(node: number): Promise<void>;
  /** Makes a link to a slot of the own host. */
  dial(address: string): Promise<Link>;
  /** Tells the user something on the terminal. */
  notice(text: string): void;
  /** How long a run waits for a host when there is none. Default 30,000. */
  hostsTimeoutMs?: number;
  clock?: Clock;
}

/** A run that is not over. */
interface Active {
  run: Run;
  claim: Claim;
  /** Ends it when no host comes. */
  waits: Timer | undefined;
}

export class Scheduler {
  readonly #node: Node;
  readonly #clock: Clock;
  readonly #dial: (address: string) => Promise<Link>;
  readonly #notice: (text: string) => void;
  readonly #hostsTimeoutMs: number;
  readonly #seats: Seats;
  readonly #relief: Relief;
  readonly #slots = new Map<number, Slot>();
  readonly #speeds = new Speeds();
  readonly #sent = new SentTable<Sent>();
  readonly #runs: Run[] = [];
  readonly #active = new Map<Run, Active>();
  readonly #estimates = new Map<string, Estimate>();
  /** Why hosts are no longer there, the latest last. */
  readonly #losses: string[] = [];
  #warned = false;
  #nextRun = 1;
  #order = 0;
  #looking: Timer | undefined;
  #telling: Timer | undefined;

  constructor(options: SchedulerOptions) {
    const { node } = options;
    this.#node = node;
    this.#clock = options.clock ?? systemClock;
    this.#dial = options.dial;
    this.#notice = options.notice;
    this.#hostsTimeoutMs = options.hostsTimeoutMs ?? HOSTS_TIMEOUT_MS;
    this.#seats = new Seats({
      node,
      job: options.job,
      ownSeat: options.ownSeat,
      openHost: (host) => options.openHost(host),
      refused: (host) => this.#refused(host),
    });
    this.#seats.update(options.hosts);
    this.#relief = new Relief({
      sentTo: (slot) => this.#sentTo(slot),
      recall: ({ info, seat }, waiting) =>
        this.#seats.ask(seat.host, MessageType.recall, { slot: info.slot, waiting }) as Promise<Recalled>,
      free: (sent) => this.#takeBack(sent),
    });
    node.handle(MessageType.result, (message) => this.#result(message));
    node.handle(MessageType.slotUp, ({ fromNode, payload }) => {
      void this.#slotUp(fromNode, node.codec.decode(payload) as SlotInfo);
    });
    node.handle(MessageType.slotDown, ({ fromNode, payload }) => {
      this.#slotDown(fromNode, node.codec.decode(payload) as SlotDown);
    });
  }

  /** Runs that are not over. */
  get runs(): readonly Run[] {
    return this.#runs;
  }

  /** The hosts whose slots may be used. */
  get hosts(): HostInfo[] {
    return this.#seats.infos;
  }

  /** Slots that can take work now. */
  get readySlots(): SlotInfo[] {
    return [...this.#slots.values()].filter((slot) => slot.linkOpen).map((slot) => slot.info);
  }

  /** Has hosts end slots whose items take longer than their limits, from now on. */
  watchTimeouts(): void {
    this.#seats.watchTimeouts();
  }

  /** Tells the user something. */
  tell(text: string): void {
    this.#notice(text);
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

  /** Takes seats for a pool on the hosts chosen and has them filled: `count`, the least used first, or all there are. */
  takeSeats(count?: number, choice: HostChoice = {}): Claim {
    return this.#seats.take(choice, count);
  }

  /** The seats of a claim, as they are now, in the order of their hosts and numbers. */
  seatsOf(claim: Claim): Seat[] {
    return this.#seats.inOrder(claim);
  }

  /** A claim to one seat of another claim; for calls that are meant for that slot. */
  takeSeat(seat: Seat): Claim {
    return this.#seats.only(seat);
  }

  /** A slot that nobody else uses and that is not replaced; undefined when no host is there. */
  /** More hosts are meant from now on. */
  widen(claim: Claim, choice: HostChoice): void {
    claim.choice = choice;
    this.#reseat();
  }

  takePrivateSeat(choice: HostChoice, name: string, watcher: SeatWatcher): Claim | undefined {
    return this.#seats.takePrivate(choice, name, watcher);
  }

  /** Gives seats back; those that no other claim holds are emptied. */
  releaseSeats(claim: Claim): void {
    const unused = new Set(this.#seats.release(claim));
    for (const slot of [...this.#slots.values()]) if (unused.has(slot.seat)) this.#forget(slot);
  }

  /** Has a slot ended: by SIGTERM, and for good after `graceMs`. */
  endSlot(seat: Seat, slot: number, reason: string, graceMs: number): void {
    this.#seats.tell(seat.host, MessageType.killSlot, { slot, reason, graceMs, gentle: true });
  }

  /** Begins a run on the seats of a claim; it reports to its sink. Calls `over` when it ends, however it does. */
  start(run: Run, claim: Claim, over: () => void): void {
    const begunAt = this.#clock.now();
    const active: Active = { run, claim, waits: undefined };
    this.#runs.push(run);
    this.#active.set(run, active);
    this.#node.hold();
    this.#lookLater();
    run.onOver = () => {
      this.#over(active);
      this.#warnOfCheapItems(run, this.#clock.now() - begunAt);
      over();
    };
    this.#seats.fill(claim);
    this.#checkSeats(active);
    if (!run.over) this.pump();
  }

  /** Stops a run's work for real: a slot that goes on with it after `graceMs` is ended. */
  stop(run: Run, error: MeshError, graceMs = 100): void {
    if (run.over) return;
    const busy = this.#slotsOf(run);
    run.end(error);
    const reason = `its work was cancelled: ${error.message}`;
    for (const { info, seat } of busy) {
      this.#seats.tell(seat.host, MessageType.killSlot, { slot: info.slot, run: run.id, graceMs, reason });
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

  /** The hosts as they are now. Calls that are not bound to others use new ones at once. */
  hostsChanged(hosts: readonly HostInfo[]): void {
    for (const host of this.#seats.update(hosts)) this.#lose(host, "it left the mesh");
    this.#reseat();
  }

  /** A host is gone for good: what ran there is done elsewhere. `reason` is a sentence: "it did not answer for 10 s". */
  hostLost(node: number, reason: string): void {
    const host = this.#seats.host(node);
    if (!host) return;
    this.#seats.remove(host);
    this.#lose(host, reason);
    this.#reseat();
  }

  #lose(host: Host, reason: string): void {
    const loss = `${host.info.name} is lost: ${reason}`;
    this.#losses.push(loss);
    for (const slot of [...this.#slots.values()]) if (slot.seat.host === host) this.#lostWithHost(slot, loss);
  }

  #refused(host: Host): void {
    const isReplaced = isMeshError(host.refusal, "RETIRING");
    if (!isReplaced) this.#notice(`host ${host.info.name} cannot be used: ${host.refusal?.message}`);
    this.#reseat();
  }

  /** Gives runs the seats they may have now, and ends those that will never have one. */
  #reseat(): void {
    for (const active of [...this.#active.values()]) {
      this.#seats.fill(active.claim);
      this.#checkSeats(active);
    }
    this.pump();
  }

  #checkSeats(active: Active): void {
    const { run, claim } = active;
    if (run.over) return;
    if (claim.seats.size === 0) {
      this.#withoutSeats(active);
      return;
    }
    active.waits?.cancel();
    active.waits = undefined;
    let cause: string | undefined;
    for (const seat of claim.seats) {
      if (seat.failed === undefined) return;
      cause ??= seat.failed;
    }
    run.end(new MeshError("SLOT_LOST", `no slot can be started: ${cause}`));
  }

  #withoutSeats(active: Active): void {
    const { run, claim } = active;
    const refused = this.#seats.hosts.find((host) => host.refusal && !isPassing(host.refusal));
    if (refused || claim.isFixed) {
      const why = refused ? `${refused.info.name} cannot be used: ${refused.refusal?.message}` : this.#losses.at(-1);
      run.end(new MeshError("SLOT_LOST", `${run.label}: host ${why}`, refused && { cause: refused.refusal }));
      return;
    }
    active.waits ??= this.#clock.after(this.#hostsTimeoutMs, () => {
      const lost = this.#losses.length > 0 ? ` (${this.#losses.slice(-3).join("; ")})` : "";
      const seconds = this.#hostsTimeoutMs / 1_000;
      const message =
        `${run.label}: no host ${describeChoice(claim.choice)}${lost}, and none came within ${seconds} s; ` +
        "`mesh status` shows the hosts there are";
      run.end(new MeshError("SLOT_LOST", message));
    });
  }

  #over(active: Active): void {
    const { run } = active;
    if (!this.#active.delete(run)) return;
    active.waits?.cancel();
    this.#runs.splice(this.#runs.indexOf(run), 1);
    for (const slot of this.#slots.values()) {
      if (!slot.defined.delete(run.id)) continue;
      slot.over.push(run.id);
      if (slot.chunks > 0) this.#tellOver(slot);
      else this.#tellOverLater();
    }
    this.#node.release();
    if (this.#runs.length > 0) return;
    this.#looking?.cancel();
    this.#looking = undefined;
  }

  #tellOver(slot: Slot): void {
    while (slot.over.length > 0) {
      this.#node.send(slot.address, MessageType.cancel, 0, 0, this.#node.codec.encode(slot.over.shift()));
    }
  }

  /** A slot that has nothing to do is told with its next run, in one write, or soon. */
  #tellOverLater(): void {
    this.#telling ??= this.#clock.after(TELL_OVER_MS, () => {
      this.#telling = undefined;
      for (const slot of this.#slots.values()) this.#tellOver(slot);
    });
  }

  #lookLater(): void {
    this.#looking ??= this.#clock.after(LOOK_MS, () => {
      this.#looking = undefined;
      if (this.#runs.length > 0) this.#lookLater();
      if (this.#relief.look([...this.#slots.values()])) this.pump();
    });
  }

  /** These have not begun and never will, where they are. */
  #takeBack(all: readonly Sent[]): void {
    for (const sent of all) {
      if (this.#sent.get(sent.id) !== sent) continue; // its slot was lost meanwhile
      this.#settle(sent);
      sent.chunk.run.returned(sent.chunk);
    }
    this.pump();
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

  /** What a slot was sent, in that order. */
  #sentTo(slot: Slot): Sent[] {
    const sent = this.#sent.all().filter((each) => each.slot === slot);
    return sent.sort((a, b) => a.order - b.order);
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
      if (run.depth === keptFor || !run.seats.has(slot.seat)) continue;
      if (!slot.hasRoom(run)) {
        // It is its turn, and it needs the slot to itself: if others went ahead of it the slot would never be idle.
        if (run.isWaiting) keptFor = run.depth;
        continue;
      }
      if (!isSoonDone(slot, run) && othersAreSooner(slot, run, this.#slots.values())) continue;
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
    const { itemMs, itemBytes, chunkItems } = run.estimate;
    if (itemMs === undefined) return 1;
    const { speed } = slot;
    let items = Math.min((CHUNK_MS / itemMs) * speed, CHUNK_BYTES / itemBytes, CHUNK_ITEMS, chunkItems * GROWTH);
    if (run.remaining !== undefined) {
      const share = (run.remaining * Math.min(1, speed)) / (2 * run.seats.size);
      items = Math.min(items, Math.max(share, LEAST_CHUNK_MS / itemMs));
    }
    return Math.max(1, Math.floor(items));
  }

  #send(slot: Slot, chunk: Chunk): boolean {
    const { run, items } = chunk;
    const { estimate } = run;
    if (!slot.defined.has(run.id)) {
      slot.defined.add(run.id);
      this.#tellOver(slot);
      this.#node.send(slot.address, MessageType.define, 0, 0, run.definition);
    }
    const count = items ? items.length : 1;
    const expectedMs = ((estimate.itemMs ?? LEAST_AHEAD_MS) * count) / slot.speed;
    const departure = slot.isRemote ? { at: this.#clock.now(), workedMs: slot.workedMs } : undefined;
    const sent: Sent = { id: 0, order: this.#order++, chunk, slot, expectedMs, bytes: 0, departure };
    this.#sent.add(sent);
    try {
      const size = sendRun(this.#node, slot.address, sent.id, run.id, turnOf(sent), items);
      sent.bytes = Math.abs(size);
      slot.full = size < 0;
    } catch (error) {
      this.#sent.remove(sent);
      const [place, precise] = unsendable(error, chunk, this.#node.codec);
      run.refused(chunk, place, precise);
      return true;
    }
    if (items) estimate.itemBytes = sent.bytes / count;
    estimate.chunkItems = count;
    slot.add(sent);
    return true;
  }

  #settle(sent: Sent): void {
    this.#sent.remove(sent);
    sent.slot.remove(sent);
  }

  #result(message: Message): void {
    const sent = this.#sent.get(message.correlation);
    // An answer from somebody else than whom the chunk was given to is late: the chunk was given away again.
    if (!sent || sent.slot.info.slot !== message.fromSlot || sent.slot.address.node !== message.fromNode) return;
    const { chunk, slot } = sent;
    const { run } = chunk;
    slot.answers++;
    this.#settle(sent);
    try {
      const { status, elapsedMs, values } = readResult(message, this.#node.codec);
      if (status === Status.dropped) run.returned(chunk);
      else {
        this.#learn(sent, elapsedMs);
        if (status === Status.done) run.done(chunk, values as ArrayLike<unknown>, elapsedMs, slot.speed);
        else run.failed(chunk, values as Outcomes, elapsedMs, slot.place, slot.speed);
      }
    } catch (error) {
      run.returned(chunk);
      run.end(error);
    }
    if (this.#runs.length > 0) while (this.#feed(slot));
  }

  /** How fast the slot is, and how far. */
  #learn({ slot, chunk, departure }: Sent, elapsedMs: number): void {
    this.#speeds.measure(slot, (chunk.run.estimate.itemMs ?? 0) * (chunk.items?.length ?? 1), elapsedMs);
    if (!departure) return;
    slot.way.learn(this.#clock.now() - departure.at, elapsedMs, slot.workedMs - departure.workedMs);
    slot.workedMs += elapsedMs;
  }

  /** Each pool that takes a seat is told of the slot there, so the same slot may be told of again. */
  async #slotUp(node: number, info: SlotInfo): Promise<void> {
    const seat = this.#seats.host(node)?.seats.get(info.seat);
    if (!seat || seat.users === 0 || this.#slots.has(keyOf(node, info.slot))) return;
    const slot = new Slot(info, seat);
    this.#speeds.add(
      slot,
      [...this.#slots.values()].filter((other) => other.seat.host === seat.host),
    );
    this.#slots.set(keyOf(node, info.slot), slot);
    seat.failed = undefined;
    if (!slot.isRemote && !(await this.#reach(slot))) return;
    slot.linkOpen = true;
    seat.watcher?.up(info);
    this.pump();
  }

  /** Makes the link to a slot of the own host; false when it is not to be used. */
  async #reach(slot: Slot): Promise<boolean> {
    const isKnown = () => this.#slots.get(keyOf(slot.address.node, slot.address.slot)) === slot;
    if (this.#node.hasPeer(slot.address)) return true;
    try {
      const link = await this.#dial(slot.info.address ?? "");
      if (isKnown()) this.#node.join(link, slot.address);
      else link.close(); // its agent told of its death meanwhile
    } catch {
      if (isKnown()) this.#endUnreachable(slot);
      return false;
    }
    return isKnown();
  }

  /** The link to a slot ended: nothing more comes from it. Its agent says why, and is asked to make sure. */
  peerLost(peer: Address): void {
    const slot = this.#slots.get(keyOf(peer.node, peer.slot));
    if (!slot || slot.isRemote) return;
    slot.linkOpen = false;
    if (slot.down) this.#bury(slot, slot.down);
    else this.#endUnreachable(slot);
  }

  /** Has the agent make sure that it is dead, and tell of it. */
  #endUnreachable({ info, seat }: Slot): void {
    const reason = "its link to the process it worked for broke";
    // A process that is ending by itself gets the time to do so: its own cause says more.
    this.#seats.tell(seat.host, MessageType.killSlot, { slot: info.slot, reason, graceMs: BROKEN_GRACE_MS });
  }

  peerDrained(peer: Address): void {
    const slot = this.#slots.get(keyOf(peer.node, peer.slot));
    if (!slot) return;
    slot.full = false;
    while (this.#feed(slot));
  }

  // Results of a slot of the own host may still lie in its link when the agent tells of the death: both must be over before
  // work is given away. From other hosts all comes the same way, in order.
  #slotDown(node: number, down: SlotDown): void {
    const slot = this.#slots.get(keyOf(node, down.slot));
    if (slot) {
      slot.down = down;
      if (slot.isRemote || !slot.linkOpen) this.#bury(slot, down);
      return;
    }
    const seat = this.#seats.host(node)?.seats.get(down.seat);
    if (!seat) return;
    seat.watcher?.down(down);
    this.#emptied(seat, down);
  }

  #bury(slot: Slot, down: SlotDown): void {
    this.#drop(slot);
    slot.seat.watcher?.down(down);
    for (const sent of this.#sentTo(slot)) {
      const { id, chunk } = sent;
      this.#settle(sent);
      const running = down.running.find((item) => item.chunk === id && item.run === chunk.run.id);
      chunk.run.lost(chunk, running?.place, (place) => lossError(chunk, place, down, slot), slot.place);
    }
    this.#emptied(slot.seat, down);
    this.pump();
  }

  /** A seat has no slot any more; another may come. */
  #emptied(seat: Seat, { final, cause }: SlotDown): void {
    if (!final && !seat.watcher) return;
    seat.failed = cause;
    for (const active of [...this.#active.values()]) this.#checkSeats(active);
  }

  /** Nobody can say what it was at: all that it may have begun counts as tried. */
  #lostWithHost(slot: Slot, loss: string): void {
    this.#drop(slot);
    slot.seat.watcher?.down({ ...slot.info, cause: `host ${loss}`, running: [], final: true });
    const sentTo = this.#sentTo(slot);
    const waiting = new Set(waitingAmong(sentTo));
    for (const sent of sentTo) {
      const { chunk } = sent;
      this.#settle(sent);
      if (waiting.has(sent)) chunk.run.returned(chunk);
      else chunk.run.lostUnseen(chunk, (place) => hostError(chunk, place, loss, slot), slot.place);
    }
  }

  /** Nobody here wants it any longer; what it still had to do is for runs that are over. */
  #forget(slot: Slot): void {
    this.#drop(slot);
    for (const sent of this.#sentTo(slot)) {
      this.#settle(sent);
      sent.chunk.run.returned(sent.chunk);
    }
  }

  #drop(slot: Slot): void {
    this.#slots.delete(keyOf(slot.address.node, slot.address.slot));
    this.#speeds.delete(slot);
  }
}

function keyOf(node: number, slot: number): number {
  return node * 0x10000 + slot;
}

const PASSING = ["LINK_CLOSED", "UNREACHABLE", "TIMEOUT", "RETIRING"] as const;

/** Whether a host that could not be opened for this reason may come back by itself. */
function isPassing(error: Error): boolean {
  return PASSING.some((code) => isMeshError(error, code));
}
