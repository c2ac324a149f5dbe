// The agent of a machine: starts the slots of a job, passes on their output, says why each one died, and leaves
// nothing behind. It runs no user code, so its loop is always free.
import { join } from "node:path";
import type { SlotDown, SlotInfo } from "../api/scheduler.ts";
import { isMeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import {
  HEAD,
  type JobEnded,
  type KillSlot,
  LOCAL_HOST,
  type LoadJob,
  type Output,
  type Seats,
  type StartJob,
  type StopJob,
  slotSocket,
} from "./control.ts";
import { type Death, describeDeath } from "./death.ts";
import { sweepStrays } from "./process-tree.ts";
import { type OutputStream, SlotProcess } from "./slot-process.ts";
import { TimeLimits } from "./time-limits.ts";

/** A slot that dies so often without having begun one item will not do better the next time. */
const USELESS_DEATHS = 3;
/** What the script, and after it the slots, get to end by themselves. */
const SCRIPT_GRACE_MS = 1_500;
const SLOT_GRACE_MS = 300;
/** Output that the head has not taken yet, in messages of at most 64 KiB, for each stream. */
const OUTPUT_AHEAD = 8;
const DRAIN_LIMIT_MS = 5_000;

interface Seat {
  number: number;
  process: SlotProcess | undefined;
  ready: SlotInfo | undefined;
  /** Slots that use it. */
  users: Set<number>;
  uselessDeaths: number;
}

export interface AgentOptions {
  node: Node;
  /** The job's folder; sockets and pages of slots lie in it. */
  folder: string;
  slotCommand: readonly string[];
}

export class Agent {
  readonly #node: Node;
  readonly #folder: string;
  readonly #slotCommand: readonly string[];
  readonly #seats = new Map<number, Seat>();
  readonly #processes = new Map<number, SlotProcess>();
  /** Process ids that are ours and not strays. */
  readonly #own = new Set<number>();
  readonly #connected = new Set<number>();
  /** Deaths of slots that could not load the job: another slot would not either. */
  readonly #loadFailures = new WeakSet<Death>();
  readonly #limits: TimeLimits;
  readonly #driver: SlotProcess;
  #job: StartJob | undefined;
  #ending = false;
  /** Whether some call of the job limits the time of its items. */
  #hasTimeouts = false;
  #nextSlot = 1;

  /** Starts the script's slot at once: it gets ready while the head still prepares the code. */
  constructor(options: AgentOptions) {
    this.#node = options.node;
    this.#folder = options.folder;
    this.#slotCommand = options.slotCommand;
    this.#limits = new TimeLimits((slot, limitMs) => this.#end(slot, { kind: "timeout", limitMs }));
    const node = this.#node;
    node.handleRequest(MessageType.startJob, (job: StartJob) => this.#start(job));
    node.handleRequest(MessageType.stopJob, (stop: StopJob) => this.#stop(stop));
    node.handleRequest(MessageType.acquireSlots, ({ seats }: Seats, from) => this.#acquire(seats, from.slot));
    node.handleRequest(MessageType.releaseSlots, ({ seats }: Seats, from) => this.#release(seats, from.slot));
    node.handleRequest(MessageType.killSlot, (order: KillSlot, from) => this.#kill(order, from.slot));
    node.handleRequest(MessageType.watchTimeouts, () => this.#watchTimeouts());
    this.#driver = this.#spawn(0);
    void this.#driver.died.then((death) => this.#driverDied(death));
  }

  /** A slot's process has dialed us. */
  slotConnected(address: Address): void {
    this.#connected.add(address.slot);
    if (this.#job) void this.#load(address.slot, this.#job);
  }

  /** Ends everything at once and returns when nothing is left. */
  async endAll(reason: string): Promise<void> {
    this.#ending = true;
    const ends = [...this.#processes.values()].map((process) => process.end({ kind: "killed", reason }));
    await Promise.all(ends);
    this.#own.clear();
    await sweepStrays(this.#own);
    this.#limits.stop();
  }

  #start(job: StartJob): void {
    this.#job = job;
    for (const slot of this.#connected) void this.#load(slot, job);
    if (job.eager) for (let seat = 1; seat <= job.slots; seat++) this.#fill(this.#seat(seat));
  }

  async #stop({ signal, now }: StopJob): Promise<void> {
    if (now) return this.endAll("the job was stopped");
    this.#ending = true;
    this.#driver.signal(signal);
    await Promise.race([this.#driver.died, Bun.sleep(SCRIPT_GRACE_MS)]);
    await this.#driver.end({ kind: "killed", reason: `it did not end within ${SCRIPT_GRACE_MS} ms of ${signal}` });
  }

  #seat(number: number): Seat {
    const known = this.#seats.get(number);
    if (known) return known;
    const seat = { number, process: undefined, ready: undefined, users: new Set<number>(), uselessDeaths: 0 };
    this.#seats.set(number, seat);
    return seat;
  }

  #acquire(numbers: number[], user: number): void {
    for (const number of numbers) {
      const seat = this.#seat(number);
      seat.users.add(user);
      if (seat.ready) this.#tell(user, MessageType.slotUp, seat.ready);
      else this.#fill(seat);
    }
  }

  #release(numbers: number[], user: number): void {
    for (const number of numbers) {
      const seat = this.#seat(number);
      seat.users.delete(user);
      if (seat.users.size === 0)
        void seat.process?.end({ kind: "killed", reason: "its pool was closed" }, SLOT_GRACE_MS);
    }
  }

  #kill({ slot, reason, run, graceMs = 0 }: KillSlot, owner: number): void {
    const works = () =>
      run === undefined || this.#processes.get(slot)?.running.some((item) => item.owner === owner && item.run === run);
    setTimeout(() => works() && this.#end(slot, { kind: "killed", reason }), graceMs);
  }

  /** Asked by who calls, not by the slot that is called: that may never get to say anything again. */
  #watchTimeouts(): void {
    this.#hasTimeouts = true;
    for (const process of this.#processes.values()) this.#limits.watch(process);
  }

  #end(slot: number, death: Death): void {
    void this.#processes.get(slot)?.end(death);
  }

  #tell(slot: number, type: number, body: unknown): void {
    this.#node.notify({ node: this.#node.address.node, slot }, type, body);
  }

  #fill(seat: Seat): void {
    if (seat.process || this.#ending) return;
    let process: SlotProcess;
    try {
      process = this.#spawn(seat.number);
    } catch (error) {
      this.#seatFailed(seat, `could not be started: ${(error as Error).message}`);
      return;
    }
    seat.process = process;
    const limit = this.#job?.slotMemoryBytes;
    if (limit !== undefined) process.limitMemory(limit);
    void process.died.then((death) => this.#slotDied(seat, process, death));
  }

  #spawn(seat: number): SlotProcess {
    const process = new SlotProcess({
      folder: this.#folder,
      slot: this.#nextSlot++,
      seat,
      command: this.#slotCommand,
      stdin: seat === 0 ? "inherit" : "ignore",
      output: this.#outputTo(seat),
    });
    this.#processes.set(process.slot, process);
    this.#own.add(process.pid);
    if (this.#hasTimeouts) this.#limits.watch(process);
    return process;
  }

  /** Sends output to the head, and waits when it is OUTPUT_AHEAD messages behind. */
  #outputTo(seat: number): (stream: OutputStream, bytes: Uint8Array) => Promise<void> {
    const underWay: Promise<unknown>[] = [];
    return async (stream, bytes) => {
      const output: Output = { seat, host: LOCAL_HOST, stream, bytes };
      underWay.push(this.#node.request(HEAD, MessageType.output, output).catch(() => {}));
      if (underWay.length > OUTPUT_AHEAD) await underWay.shift();
    };
  }

  async #load(slot: number, job: StartJob): Promise<void> {
    const process = this.#processes.get(slot);
    if (!process) return;
    const { seat } = process;
    const load: LoadJob = { ...job, role: seat === 0 ? "driver" : "worker", host: LOCAL_HOST, seat };
    try {
      await this.#node.request({ node: this.#node.address.node, slot }, MessageType.load, load);
    } catch (error) {
      // A link that closed is a death, which tells its own cause.
      if (isMeshError(error, "LINK_CLOSED")) return;
      const death: Death = { kind: "killed", reason: `it could not load the job: ${wordsOf(error)}` };
      this.#loadFailures.add(death);
      await process.end(death);
      return;
    }
    if (seat !== 0) this.#slotReady(this.#seat(seat), process);
  }

  #slotReady(seat: Seat, process: SlotProcess): void {
    if (seat.process !== process) return;
    const address = join(this.#folder, slotSocket(process.slot));
    seat.ready = { slot: process.slot, seat: seat.number, host: LOCAL_HOST, address };
    for (const user of seat.users) this.#tell(user, MessageType.slotUp, seat.ready);
  }

  async #slotDied(seat: Seat, process: SlotProcess, death: Death): Promise<void> {
    const running = process.running;
    const wasReady = seat.ready !== undefined;
    this.#forget(process);
    seat.process = undefined;
    seat.ready = undefined;
    await sweepStrays(this.#own);
    for (const other of this.#seats.values()) other.users.delete(process.slot);
    seat.uselessDeaths = process.wasUsed || (wasReady && isOrdered(death)) ? 0 : seat.uselessDeaths + 1;
    const final = seat.uselessDeaths >= USELESS_DEATHS || this.#loadFailures.has(death);
    const cause = describeDeath(death);
    for (const user of seat.users) {
      const down: SlotDown = {
        slot: process.slot,
        seat: seat.number,
        cause,
        ...(death.kind === "timeout" && { timedOutMs: death.limitMs }),
        running: running.filter((item) => item.owner === user),
        final,
      };
      this.#tell(user, MessageType.slotDown, down);
    }
    if (this.#ending || seat.users.size === 0) return;
    const next = final ? "it is not started again" : "another takes its place";
    if (!isOrdered(death)) this.#notice(`slot ${LOCAL_HOST}/${seat.number} ${cause}; ${next}`);
    if (!final) this.#fill(seat);
  }

  #seatFailed(seat: Seat, cause: string): void {
    const down: SlotDown = { slot: 0, seat: seat.number, cause, running: [], final: true };
    for (const user of seat.users) this.#tell(user, MessageType.slotDown, down);
  }

  #forget(process: SlotProcess): void {
    this.#processes.delete(process.slot);
    this.#connected.delete(process.slot);
    this.#own.delete(process.pid);
    this.#limits.forget(process.slot);
    process.cleanUp();
  }

  #notice(text: string): void {
    this.#node.notify(HEAD, MessageType.notice, { text });
  }

  /** The script is over: so is all it started. Tells the head when that is true. */
  async #driverDied(death: Death): Promise<void> {
    this.#ending = true;
    const { exitCode, signalCode } = this.#driver;
    const drains = [...this.#processes.values()].map((process) => process.drained);
    this.#forget(this.#driver);
    const over: Death = { kind: "killed", reason: "the job is over" };
    await Promise.all([...this.#processes.values()].map((process) => process.end(over, SLOT_GRACE_MS)));
    await Promise.all([...this.#processes.values()].map((process) => process.died));
    await sweepStrays(this.#own);
    await Promise.race([Promise.all(drains), Bun.sleep(DRAIN_LIMIT_MS)]);
    const ended: JobEnded = {
      exitCode: exitCode ?? 128 + signalNumber(signalCode),
      ...(death.kind !== "exit" && { cause: describeDeath(death) }),
    };
    this.#node.notify(HEAD, MessageType.jobEnded, ended);
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Ended by us for a reason its user knows of. */
function isOrdered(death: Death): boolean {
  return death.kind === "killed" || death.kind === "timeout";
}

function signalNumber(signal: NodeJS.Signals | null): number {
  const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
  return (signal && numbers[signal]) || 0;
}
