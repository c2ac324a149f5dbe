// The slots of one job on one node: starts them in their seats, passes on what they print, says why each one died, and
// starts the next in its place.
import { join } from "node:path";
import type { NodeInfo } from "../api/context.ts";
import type { HostInfo } from "../api/hosts.ts";
import type { SlotDown, SlotInfo } from "../api/scheduler.ts";
import { systemClock } from "../clock.ts";
import { isMeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import {
  type JobCode,
  type KillSlot,
  type LoadJob,
  type RecallChunks,
  type Recalled,
  type Seats,
  slotSocket,
} from "./control.ts";
import { type Death, describeDeath } from "./death.ts";
import { IdleWatch } from "./idle-watch.ts";
import type { Nursery } from "./nursery.ts";
import { type OutputStream, SlotProcess } from "./slot-process.ts";
import { TimeLimits } from "./time-limits.ts";

/** A slot that dies so often without having begun one item will not do better the next time. */
const USELESS_DEATHS = 3;
const SLOT_GRACE_MS = 300;
/** Seats for one process are shown as these, each number once. */
const FIRST_PRIVATE = 10_001;
const LAST_PRIVATE = 65_000;
/** Output that nobody has taken yet, in messages of at most 64 KiB, for each stream. */
const OUTPUT_AHEAD = 8;
const DRAIN_LIMIT_MS = 5_000;
const IDLE_LIMIT_MS = 10_000;

interface Seat {
  /** What those who use it call it. */
  number: number;
  /** What its slots are told and people see: the same, but of seats for one process, whose numbers are large. */
  shown: number;
  /** For one process, of one user: nobody takes its place. */
  once: boolean;
  /** Its slot is being ended, as nobody used it any more. */
  leaving: boolean;
  process: SlotProcess | undefined;
  ready: SlotInfo | undefined;
  /** Processes that use it, by key. */
  users: Map<number, Address>;
  uselessDeaths: number;
}

/** What the slots of a job stand on. */
export interface JobSlotsOptions {
  node: Node;
  nursery: Nursery;
  /** The run folder of the node: sockets and pages of slots lie in it. */
  folder: string;
  slotCommand: readonly string[];
  /** The node's name, as people know it. */
  hostName(): string;
  /** Takes what a seat prints; it may print more when that resolves. */
  output(seat: number, stream: OutputStream, bytes: Uint8Array): Promise<unknown>;
  notice(text: string): void;
  /** A slot of the job is gone: whoever waits for it must hear. */
  gone(user: Address, reason: string): void;
  /** What its slots should know of the mesh when they start. */
  view(): { hosts: HostInfo[]; nodes: NodeInfo[] };
  /** A slot that does nothing and does not answer for so long is replaced. Default 10 s. */
  idleLimitMs?: number;
}

export class JobSlots {
  readonly #options: JobSlotsOptions;
  readonly #seats = new Map<number, Seat>();
  readonly #processes = new Map<number, SlotProcess>();
  /** Deaths of slots that could not load the job: another slot would not either. */
  readonly #loadFailures = new WeakSet<Death>();
  readonly #limits: TimeLimits;
  readonly #idle: IdleWatch;
  #code: JobCode | undefined;
  #nextPrivate = FIRST_PRIVATE;
  #ending = false;
  /** Whether some call of the job limits the time of its items. */
  #hasTimeouts = false;

  constructor(options: JobSlotsOptions) {
    this.#options = options;
    this.#limits = new TimeLimits((slot, limitMs) => this.#end(slot, { kind: "timeout", limitMs }));
    const limitMs = options.idleLimitMs ?? IDLE_LIMIT_MS;
    this.#idle = new IdleWatch({
      limitMs,
      clock: systemClock,
      ask: (slot) => options.node.request(this.#addressOf(slot), MessageType.alive, {}, { keepsProcess: false }),
      silent: (slot) => this.#end(slot, { kind: "silent", limitMs }),
    });
  }

  /** Addresses of the slots that live. */
  get addresses(): Address[] {
    return [...this.#processes.keys()].map((slot) => this.#addressOf(slot));
  }

  /** How many slots there are for tasks. */
  get taskSlots(): number {
    return [...this.#processes.values()].filter(({ seat }) => seat !== 0).length;
  }

  has(slot: number): boolean {
    return this.#processes.has(slot);
  }

  /** The job's code is there: slots that wait load it. */
  start(code: JobCode): void {
    this.#code = code;
    for (const slot of this.#processes.keys()) if (this.#options.nursery.isConnected(slot)) void this.#load(slot, code);
  }

  /** A slot's process has dialed its node. */
  slotConnected({ slot }: Address): void {
    if (this.#code) void this.#load(slot, this.#code);
  }

  /** Starts the process of a seat that nobody asked for: the script's (0), or one that soon will be. */
  prepare(seat: number): SlotProcess | undefined {
    if (seat === 0) return this.#spawn(0);
    this.#fill(this.#seat(seat));
    return undefined;
  }

  acquire({ seats, once = false }: Seats, user: Address): void {
    for (const number of seats) {
      const seat = this.#seat(number, once);
      seat.users.set(keyOf(user), user);
      if (seat.ready && !seat.leaving) this.#tell(user, MessageType.slotUp, seat.ready);
      else this.#fill(seat);
    }
  }

  release(numbers: number[], user: Address): void {
    for (const number of numbers) this.#leave(number, user, "its pool was closed");
  }

  #leave(number: number, user: Address, reason: string): void {
    const seat = this.#seats.get(number);
    if (!seat?.users.delete(keyOf(user)) || seat.users.size > 0) return;
    if (seat.once && !seat.process) this.#seats.delete(number);
    seat.leaving = seat.process !== undefined;
    void seat.process?.end({ kind: "killed", reason }, SLOT_GRACE_MS);
  }

  kill({ slot, reason, run, graceMs = 0, gentle = false }: KillSlot, owner: Address): void {
    const death: Death = { kind: "killed", reason };
    if (gentle) {
      void this.#processes.get(slot)?.end(death, graceMs);
      return;
    }
    const isOurs = (item: { owner: Address; run: number }) => keyOf(item.owner) === keyOf(owner) && item.run === run;
    const works = () => run === undefined || this.#processes.get(slot)?.running.some(isOurs);
    setTimeout(() => works() && this.#end(slot, death), graceMs);
  }

  /** Asked of the agent, as the slot may be busy for long; it answers with a look at the memory both share. */
  recall({ slot, waiting }: RecallChunks, owner: Address): Recalled {
    return { free: this.#processes.get(slot)?.recall(owner, waiting) ?? [] };
  }

  /** Asked by who calls, not by the slot that is called: that may never get to say anything again. */
  watchTimeouts(): void {
    this.#hasTimeouts = true;
    for (const process of this.#processes.values()) this.#limits.watch(process);
  }

  /** A process of the job is gone that may have used seats here. */
  userGone(user: Address): void {
    for (const number of [...this.#seats.keys()]) this.#leave(number, user, "who used it is gone");
  }

  /** Ends all slots and what they started, and returns when nothing is left. */
  async endAll(reason: string, graceMs = 0): Promise<void> {
    this.#ending = true;
    const processes = [...this.#processes.values()];
    await Promise.all(processes.map((process) => process.end({ kind: "killed", reason }, graceMs)));
    await Promise.all(processes.map((process) => process.died));
    this.#limits.stop();
  }

  /** Starts no more slots. */
  stopFilling(): void {
    this.#ending = true;
  }

  /** Resolves when all that was printed was taken, or 5 s have passed. */
  async drained(): Promise<void> {
    const drains = [...this.#processes.values()].map((process) => process.drained);
    await Promise.race([Promise.all(drains), Bun.sleep(DRAIN_LIMIT_MS)]);
  }

  forget(process: SlotProcess): void {
    this.#processes.delete(process.slot);
    this.#limits.forget(process.slot);
    this.#idle.forget(process.slot);
    this.#options.nursery.forget(process);
  }

  #addressOf(slot: number): Address {
    return { node: this.#options.node.address.node, slot };
  }

  #seat(number: number, once = false): Seat {
    const known = this.#seats.get(number);
    if (known) return known;
    const shown = once ? this.#nextPrivate++ : number;
    if (this.#nextPrivate > LAST_PRIVATE) this.#nextPrivate = FIRST_PRIVATE;
    const state = { process: undefined, ready: undefined, leaving: false, uselessDeaths: 0 };
    const seat: Seat = { number, shown, once, users: new Map(), ...state };
    this.#seats.set(number, seat);
    return seat;
  }

  #end(slot: number, death: Death): void {
    void this.#processes.get(slot)?.end(death);
  }

  #tell(user: Address, type: number, body: unknown): void {
    this.#options.node.notify(user, type, body);
  }

  #fill(seat: Seat): void {
    if (seat.process || this.#ending) return;
    let process: SlotProcess;
    try {
      process = this.#spawn(seat.shown);
    } catch (error) {
      this.#seatFailed(seat, `could not be started: ${(error as Error).message}`);
      return;
    }
    seat.process = process;
    const limit = this.#code?.slotMemoryBytes;
    if (limit !== undefined) process.limitMemory(limit);
    void process.died.then((death) => this.#slotDied(seat, process, death));
  }

  #spawn(seat: number): SlotProcess {
    const { folder, nursery, slotCommand, node } = this.#options;
    const process = new SlotProcess({
      folder,
      node: node.address.node,
      slot: nursery.takeNumber(),
      seat,
      command: slotCommand,
      stdin: seat === 0 ? "inherit" : "ignore",
      output: this.#outputOf(seat),
    });
    this.#processes.set(process.slot, process);
    nursery.add(process);
    if (this.#hasTimeouts) this.#limits.watch(process);
    return process;
  }

  /** Passes output on, and waits when OUTPUT_AHEAD messages were not taken yet. */
  #outputOf(seat: number): (stream: OutputStream, bytes: Uint8Array) => Promise<void> {
    const underWay: Promise<unknown>[] = [];
    return async (stream, bytes) => {
      underWay.push(this.#options.output(seat, stream, bytes).catch(() => {}));
      if (underWay.length > OUTPUT_AHEAD) await underWay.shift();
    };
  }

  async #load(slot: number, code: JobCode): Promise<void> {
    const process = this.#processes.get(slot);
    if (!process) return;
    const { seat } = process;
    const { hostName, node, view } = this.#options;
    const load: LoadJob = { ...code, ...view(), role: seat === 0 ? "driver" : "worker", host: hostName(), seat };
    try {
      await node.request(this.#addressOf(slot), MessageType.load, load);
    } catch (error) {
      // A link that closed is a death, which tells its own cause.
      if (isMeshError(error, "LINK_CLOSED")) return;
      const death: Death = { kind: "killed", reason: `it could not load the job: ${wordsOf(error)}` };
      this.#loadFailures.add(death);
      await process.end(death);
      return;
    }
    this.#slotReady(process);
  }

  #slotReady(process: SlotProcess): void {
    const seat = [...this.#seats.values()].find((each) => each.process === process);
    if (!seat) return;
    const { folder, hostName } = this.#options;
    const address = join(folder, slotSocket(process.slot));
    seat.ready = { slot: process.slot, seat: seat.number, host: hostName(), address, pid: process.pid };
    for (const user of seat.users.values()) this.#tell(user, MessageType.slotUp, seat.ready);
    this.#idle.watch(process);
  }

  async #slotDied(seat: Seat, process: SlotProcess, death: Death): Promise<void> {
    const { nursery, gone } = this.#options;
    await nursery.silence(process.slot); // what it said comes before its end
    const running = process.running;
    const wasReady = seat.ready !== undefined;
    this.forget(process);
    seat.process = undefined;
    seat.ready = undefined;
    seat.leaving = false;
    await nursery.sweep();
    const cause = describeDeath(death);
    gone(this.#addressOf(process.slot), cause);
    seat.uselessDeaths = process.wasUsed || (wasReady && isOrdered(death)) ? 0 : seat.uselessDeaths + 1;
    const final = seat.once || seat.uselessDeaths >= USELESS_DEATHS || this.#loadFailures.has(death);
    const { exitCode, signalCode } = process;
    for (const user of seat.users.values()) {
      const down: SlotDown = {
        slot: process.slot,
        seat: seat.number,
        cause,
        ...(exitCode !== null && { exitCode }),
        ...(signalCode !== null && { signal: signalCode }),
        ...(death.kind === "timeout" && { timedOutMs: death.limitMs }),
        running: running.filter((item) => keyOf(item.owner) === keyOf(user)),
        final,
      };
      this.#tell(user, MessageType.slotDown, down);
    }
    if (seat.once) this.#seats.delete(seat.number);
    if (this.#ending || seat.users.size === 0 || seat.once) return;
    const next = final ? "it is not started again" : "another takes its place";
    if (!isOrdered(death)) this.#options.notice(`slot ${this.#options.hostName()}/${seat.number} ${cause}; ${next}`);
    if (!final) this.#fill(seat);
  }

  #seatFailed(seat: Seat, cause: string): void {
    const down: SlotDown = { slot: 0, seat: seat.number, cause, running: [], final: true };
    for (const user of seat.users.values()) this.#tell(user, MessageType.slotDown, down);
    if (seat.once) this.#seats.delete(seat.number);
  }
}

function keyOf({ node, slot }: Address): number {
  return node * 0x10000 + slot;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Ended by us for a reason its user knows of. */
function isOrdered(death: Death): boolean {
  return death.kind === "killed" || death.kind === "timeout";
}
