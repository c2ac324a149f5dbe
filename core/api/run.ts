// One call of map, imap, submit or apply: which items are still to be done, which are under way, and what failed.
// Knows nothing of links; the scheduler takes chunks from it and brings back what became of them.
import { MeshError } from "../errors.ts";
import type { ItemList, ItemSource } from "./items.ts";
import type { Seat } from "./seats.ts";
import { noteCaller, noteTask } from "./task-error.ts";
import type { Outcomes } from "./task-wire.ts";

/** Where the results of a run go. */
export interface Sink {
  /** The values of the items from `first` on. */
  values(first: number, values: ArrayLike<unknown>): void;
  /** An item failed for good. Returns whether the others go on. */
  failure(index: number, error: unknown): boolean;
  /** The run is over; `error` when it ended before all its items did. Called once. */
  finished(...error: [unknown?]): void;
  /** How many more items may be begun now, for results that wait to be read. */
  room?(): number;
  /** So many were begun. */
  began?(count: number): void;
}

/** What the runs of one function taught about it. */
export interface Estimate {
  /** Milliseconds of one item on a slot of average speed; undefined before the first result. */
  itemMs: number | undefined;
  /** Bytes of one item on the wire. */
  itemBytes: number;
  /** Items of the last chunk that was sent. */
  chunkItems: number;
}

export interface RunOptions {
  id: number;
  /** For people: "pool.map". */
  label: string;
  /** Made where the user called: its stack says where that was. */
  caller: Error;
  /** Undefined: the function is called once, without an item. */
  source: ItemSource | undefined;
  sink: Sink;
  estimate: Estimate;
  /** The definition, encoded: captured values are those of the time of the call. */
  definition: Uint8Array;
  /** Seats that may be used, as they are at each moment. */
  seats: ReadonlySet<Seat>;
  chunkSize: number | undefined;
  /** Nesting, as in Definition. Default 0. */
  depth?: number;
  /** How often an item is tried again after its slot died. */
  retries: number;
  /** Whether an item that threw or ran out of time is tried again as well. */
  retryFailures: boolean;
  /** It is what a process of its own does: it may take for ever, and has no progress to show. */
  isProcess?: boolean;
}

/** Items on their way to or in a slot. */
export interface Chunk {
  run: Run;
  first: number;
  /** Undefined for a call without items. */
  items: ItemList | undefined;
  /** Tries so far, this one included. */
  attempt: number;
}

/** Where a chunk ran, for messages. */
export interface Place {
  host: string;
  seat: number;
  /** What the seat is called instead of by its number. */
  name?: string;
}

/** Parts of a chunk that was lost as a whole: of three such losses in a row the last names one item. */
const PARTS = 64;

export class Run {
  readonly id: number;
  readonly label: string;
  readonly definition: Uint8Array;
  readonly seats: ReadonlySet<Seat>;
  readonly estimate: Estimate;
  readonly chunkSize: number | undefined;
  readonly depth: number;
  readonly isProcess: boolean;
  /** Items in all, when known. */
  readonly total: number | undefined;
  doneCount = 0;
  failedCount = 0;
  /** Milliseconds of work that slots reported. */
  workMs = 0;
  over = false;
  /** Called once, when the run is over. */
  onOver: () => void = () => {};

  readonly #source: ItemSource | undefined;
  readonly #sink: Sink;
  readonly #caller: Error;
  readonly #retries: number;
  readonly #retryFailures: boolean;
  #again: Chunk[] = [];
  #againItems = 0;
  #next = 0;
  #underWay = 0;
  #callPending: boolean;

  constructor(options: RunOptions) {
    this.id = options.id;
    this.label = options.label;
    this.definition = options.definition;
    this.seats = options.seats;
    this.estimate = options.estimate;
    this.chunkSize = options.chunkSize;
    this.depth = options.depth ?? 0;
    this.isProcess = options.isProcess ?? false;
    this.#source = options.source;
    this.#sink = options.sink;
    this.#caller = options.caller;
    this.#retries = options.retries;
    this.#retryFailures = options.retryFailures;
    this.#callPending = !options.source;
    this.total = options.source ? options.source.total : 1;
  }

  /** Items not begun yet, when that is known. */
  get remaining(): number | undefined {
    return this.total === undefined ? undefined : this.total - this.#next;
  }

  /** Items to begin, those that are tried again included; undefined when not all items are known. */
  get left(): number | undefined {
    if (this.total === undefined) return undefined;
    return this.#againItems + (this.#source ? this.total - this.#next : Number(this.#callPending));
  }

  /** Whether it has something to begin, as far as can be told without reading its source. */
  get isWaiting(): boolean {
    if (this.over || (this.#sink.room?.() ?? 1) <= 0) return false;
    if (this.#again.length > 0 || this.#callPending) return true;
    return this.remaining === undefined ? this.#next === 0 : this.remaining > 0;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** Ends it when its source has ended or failed meanwhile: that needs no slot. */
  checkSource(): void {
    if (this.#source?.failed && !this.over) this.#fresh(1);
    else this.#checkOver();
  }

  /** The next items to do, at most `max` of them; undefined when there are none now. */
  take(max: number): Chunk | undefined {
    if (this.over) return undefined;
    const again = this.#again.shift();
    if (again) this.#againItems -= sizeOf(again);
    const chunk = again ?? this.#fresh(max);
    if (chunk) this.#underWay += 1;
    return chunk;
  }

  #fresh(max: number): Chunk | undefined {
    if (this.#callPending) {
      this.#callPending = false;
      return { run: this, first: 0, items: undefined, attempt: 1 };
    }
    const room = Math.min(max, this.#sink.room?.() ?? max);
    if (!this.#source || room <= 0) return undefined;
    try {
      const items = this.#source.take(room);
      if (items.length > 0) {
        const first = this.#next;
        this.#next += items.length;
        this.#sink.began?.(items.length);
        return { run: this, first, items, attempt: 1 };
      }
    } catch (error) {
      this.end(error);
      return undefined;
    }
    this.#checkOver();
    return undefined;
  }

  /** All values of a chunk came, from a slot of this speed. */
  done(chunk: Chunk, values: ArrayLike<unknown>, elapsedMs: number, speed = 1): void {
    this.#underWay--;
    if (this.over) return;
    const count = sizeOf(chunk);
    if (values.length !== count) {
      this.end(new MeshError("PROTOCOL", `a slot answered ${count} items with ${values.length} values`));
      return;
    }
    this.#learn(count, elapsedMs, speed);
    this.doneCount += count;
    this.#sink.values(chunk.first, values);
    this.#checkOver();
  }

  /** Some items of a chunk failed; those after a failure that ended it were not run. */
  failed(chunk: Chunk, { values, errors }: Outcomes, elapsedMs: number, place: Place, speed = 1): void {
    this.#underWay--;
    if (this.over) return;
    if (values.length === 0) {
      this.#unread(chunk, errors[0]?.[1], place);
      return;
    }
    this.#learn(values.length, elapsedMs, speed);
    const failures = new Map(errors);
    for (let i = 0; i < values.length && !this.over; i++) {
      if (failures.has(i)) this.#itemFailed(chunk, i, failures.get(i), this.#retryFailures, place);
      else {
        this.doneCount++;
        this.#sink.values(chunk.first + i, [values[i]]);
      }
    }
    this.#requeue(chunk, values.length, Number.POSITIVE_INFINITY, chunk.attempt);
    this.#checkOver();
  }

  /** A slot could not even read a chunk: each of its items goes alone, so that the one to blame is found. */
  #unread(chunk: Chunk, error: unknown, place: Place): void {
    const count = sizeOf(chunk);
    if (count === 1) this.#itemFailed(chunk, 0, error, this.#retryFailures, place);
    else for (let i = 0; i < count; i++) this.#requeue(chunk, i, i + 1, chunk.attempt);
    this.#checkOver();
  }

  /** An item of a chunk cannot be sent; the others of it are still to be done. */
  refused(chunk: Chunk, at: number, error: unknown): void {
    this.#underWay--;
    if (this.over) return;
    this.#requeue(chunk, 0, at, chunk.attempt);
    this.#requeue(chunk, at + 1, Number.POSITIVE_INFINITY, chunk.attempt);
    this.failedCount++;
    if (!this.#sink.failure(chunk.first + at, error)) this.end(error);
    this.#checkOver();
  }

  /** A chunk came back undone. */
  returned(chunk: Chunk): void {
    this.#underWay--;
    if (!this.over) this.#putBack(chunk);
  }

  /**
   * The slot that had this chunk is gone. `place` is the item it was at, if it was at this chunk: that one counts as
   * tried; the others are done again without counting, as their results are lost. `error` says it of the item at a place.
   */
  lost(chunk: Chunk, place: number | undefined, error: (place: number) => MeshError, where: Place): void {
    this.#underWay--;
    if (this.over) return;
    if (place === undefined) {
      this.#putBack(chunk);
      return;
    }
    this.#requeue(chunk, 0, place, chunk.attempt);
    this.#requeue(chunk, place + 1, Number.POSITIVE_INFINITY, chunk.attempt);
    const reason = error(place);
    this.#itemFailed(chunk, place, reason, reason.code !== "TIMEOUT" || this.#retryFailures, where);
    this.#checkOver();
  }

  /**
   * The slot that had begun this chunk is gone, and nobody knows at which item it was: all count as tried. They go on in
   * smaller parts, so that one that takes its host with it is soon alone.
   */
  lostUnseen(chunk: Chunk, error: (place: number) => MeshError, where: Place): void {
    this.#underWay--;
    if (this.over) return;
    const count = sizeOf(chunk);
    if (chunk.attempt > this.#retries || !chunk.items) {
      for (let i = 0; i < count && !this.over; i++) this.#itemFailed(chunk, i, error(i), true, where);
    } else {
      const part = Math.ceil(count / PARTS);
      for (let i = 0; i < count; i += part) this.#requeue(chunk, i, i + part, chunk.attempt + 1);
    }
    this.#checkOver();
  }

  /** Ends the run before its time: nothing more is begun or reported. */
  end(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.#again = [];
    this.#againItems = 0;
    this.#source?.close();
    noteCaller(error, this.#caller);
    this.#sink.finished(error);
    this.onOver();
  }

  #requeue(chunk: Chunk, from: number, to: number, attempt: number): void {
    if (!chunk.items) return;
    const items = chunk.items.slice(from, to);
    if (items.length > 0) this.#putBack({ run: this, first: chunk.first + from, items, attempt });
  }

  #putBack(chunk: Chunk): void {
    this.#again.push(chunk);
    this.#againItems += sizeOf(chunk);
  }

  #itemFailed(chunk: Chunk, at: number, error: unknown, mayRetry: boolean, place: Place): void {
    if (mayRetry && chunk.attempt <= this.#retries) {
      const items = chunk.items && [chunk.items[at]];
      this.#putBack({ run: this, first: chunk.first + at, items, attempt: chunk.attempt + 1 });
      return;
    }
    const index = chunk.first + at;
    const item = chunk.items ? index : undefined;
    noteTask(error, { ...place, label: this.label, item, attempt: chunk.attempt }, this.#caller);
    this.failedCount++;
    if (!this.#sink.failure(index, error)) this.end(error);
  }

  #learn(count: number, elapsedMs: number, speed: number): void {
    this.workMs += elapsedMs;
    if (count === 0) return;
    const itemMs = (elapsedMs * speed) / count;
    const { estimate } = this;
    // A chunk of many items says more than one of a few; the newest counts most, as code gets faster when it is hot.
    estimate.itemMs = estimate.itemMs === undefined ? itemMs : 0.3 * estimate.itemMs + 0.7 * itemMs;
  }

  #checkOver(): void {
    if (this.over || this.#underWay > 0 || this.#again.length > 0 || this.#callPending) return;
    if (this.#source && !this.#source.ended) return;
    this.over = true;
    this.#sink.finished();
    this.onOver();
  }
}

function sizeOf({ items }: Chunk): number {
  return items ? items.length : 1;
}
