// Slots as who gives them work sees them: what is on its way to each, how fast it is, and how much more it should get.
import type { Address } from "../wire/message.ts";
import { TURN_MASK } from "../worker/recall-board.ts";
import type { Chunk, Place, Run } from "./run.ts";
import type { Seat } from "./seats.ts";
import { LEAST_AHEAD_MS, type Way } from "./way.ts";

/** A slot as its agent describes it. */
export interface SlotInfo {
  slot: number;
  /** Place it takes on its host, from 1; its replacement takes the same. */
  seat: number;
  /** Name of its host. */
  host: string;
  /** Where it listens: for processes of the same host. */
  address?: string;
  /** Its process, on its host. */
  pid?: number;
}

/** What became of a slot, as its agent tells. */
export interface SlotDown {
  slot: number;
  seat: number;
  /** "ran out of memory: …" */
  cause: string;
  /** Milliseconds, when it was ended because an item took longer. */
  timedOutMs?: number;
  /** How its process ended, as far as that is known. */
  exitCode?: number;
  signal?: string;
  /** What it was running for this process. */
  running: { run: number; chunk: number; place: number }[];
  /** No replacement will come: the seat cannot be filled. */
  final: boolean;
}

/** A chunk that a slot was given and has not answered. */
export interface Sent {
  id: number;
  /** Grows with every chunk sent. */
  order: number;
  chunk: Chunk;
  slot: Slot;
  expectedMs: number;
  bytes: number;
  /** To another host: when, and what the slot had worked by then. */
  departure: { at: number; workedMs: number } | undefined;
}

/** What its slot and the agent of that call it; see core/worker/recall-board.ts. */
export function turnOf({ order }: Pick<Sent, "order">): number {
  return order & TURN_MASK;
}

const AHEAD_CHUNKS = 1024;
/** Behind a task of up to this length one more waits in the slot: without it 0.5 ms in between would be lost. */
const ONE_AHEAD_MS = 100;
const AHEAD_BYTES = 8 * 1024 * 1024;
/** How often slots are looked at, and how long one may answer nothing. */
export const LOOK_MS = 50;
const STALLED_MS = 100;

export class Slot {
  readonly info: SlotInfo;
  readonly seat: Seat;
  readonly address: Address;
  /** On another host: reached through the own node, and never dialed. */
  readonly isRemote: boolean;
  readonly way: Way;
  /** Chunks on their way to it or in it. */
  chunks = 0;
  /** Of them, those of each nesting depth: tasks that wait for deeper ones let those run beside them. */
  readonly chunksAtDepth: number[] = [];
  /** What is expected of them, at this slot's speed. */
  loadMs = 0;
  loadBytes = 0;
  readonly defined = new Set<number>();
  /** Runs that are over and that it still holds. */
  readonly over: number[] = [];
  /** Relative to the average slot; kept by Speeds. */
  speed = 1;
  measured = 1;
  measurements = 0;
  /** Milliseconds it reported in all. */
  workedMs = 0;
  answers = 0;
  /** The link asked to wait. */
  full = false;
  /** It can be sent to, and what it sends can come. */
  linkOpen = false;
  down: SlotDown | undefined;
  #answersSeen = 0;
  #wasBusy = false;
  #quietLooks = 0;

  constructor(info: SlotInfo, seat: Seat) {
    this.info = info;
    this.seat = seat;
    this.address = { node: seat.host.info.node, slot: info.slot };
    this.isRemote = !seat.host.isOwn;
    this.way = seat.host.way;
  }

  get place(): Place {
    const { host, number, name } = this.seat;
    return { host: host.info.name, seat: number, ...(name !== undefined && { name }) };
  }

  /** For messages: "gpu1/3". */
  get label(): string {
    return this.seat.label;
  }

  get isUsable(): boolean {
    return this.linkOpen && !this.full && !this.down;
  }

  /** Whether one more chunk of the run should be under way to it. */
  hasRoom(run: Run): boolean {
    if (!this.chunksAtDepth[run.depth]) return true;
    if (run.estimate.itemMs === undefined || this.loadBytes >= AHEAD_BYTES) return false;
    const { aheadMs } = this.way;
    if (this.loadMs < aheadMs) return this.chunks < AHEAD_CHUNKS * (aheadMs / LEAST_AHEAD_MS);
    const leavesSomeForOthers = run.remaining === undefined || run.remaining >= run.seats.size;
    return this.chunks === 1 && this.loadMs < ONE_AHEAD_MS * (aheadMs / LEAST_AHEAD_MS) && leavesSomeForOthers;
  }

  add({ chunk, expectedMs, bytes }: Sent): void {
    const { depth } = chunk.run;
    this.chunks++;
    this.chunksAtDepth[depth] = (this.chunksAtDepth[depth] ?? 0) + 1;
    this.loadMs += expectedMs;
    this.loadBytes += bytes;
  }

  remove({ chunk, expectedMs, bytes }: Sent): void {
    this.chunks--;
    this.chunksAtDepth[chunk.run.depth]!--;
    this.loadMs = this.chunks === 0 ? 0 : this.loadMs - expectedMs;
    this.loadBytes -= bytes;
  }

  /** Notes whether it answered anything since the last look; call it every LOOK_MS. */
  look(): void {
    const isQuiet = this.#wasBusy && this.answers === this.#answersSeen;
    this.#quietLooks = isQuiet ? this.#quietLooks + 1 : 0;
    this.#answersSeen = this.answers;
    this.#wasBusy = this.chunks > 0;
  }

  /** Nothing came from it for longer than the way explains: what it is at takes long. */
  get isStalled(): boolean {
    return this.#quietLooks * LOOK_MS >= STALLED_MS + this.way.wayMs;
  }

  /** What it is at takes so much longer than expected that nobody can say when it will be done. */
  get isOverdue(): boolean {
    return this.isStalled && this.#quietLooks * LOOK_MS >= STALLED_MS + 2 * this.loadMs;
  }
}
