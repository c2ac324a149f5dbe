// Runs items in a slot: one at a time for each nesting depth, in the order they came. Sends results back.
// A task that waits for tasks of its own lets those run here meanwhile; otherwise all slots could wait for each other.
import {
  type Definition,
  Form,
  type Outcomes,
  type RunMessage,
  readRun,
  sendDone,
  sendDropped,
  sendFailed,
} from "../api/task-wire.ts";
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address, Message } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { FunctionDescription } from "../wire/travel.ts";
import type { StatusPage } from "./status-page.ts";

/** A function of the job's bundle, ready to run here; see JobRegistry.reviveTask. */
interface RevivedTask {
  call: (...args: unknown[]) => unknown;
  activate(): void;
}

export interface TaskSource {
  reviveTask(description: FunctionDescription): RevivedTask;
}

interface Known extends Definition {
  from: Address;
  task: RevivedTask | undefined;
  /** Why the function cannot run here. */
  broken: unknown;
  cancelled: boolean;
  /** Of its chunks lately, the longer ago the less it counts. */
  slowestMs: number;
}

interface Chunk {
  known: Known;
  id: number;
  turn: number;
  items: ArrayLike<unknown>;
  calls: number;
  place: number;
  values: unknown[];
  errors: [number, unknown][] | undefined;
  startedAt: number;
}

/** User code may hold the loop so long before messages are looked at again. */
const TURN_MS = 1;
/** A function of which a chunk took this long lately may do so again: what is answered already goes out before. */
const SLOW_MS = 5;
/** By chunk: a moment in which the machine was busy elsewhere is forgotten after some fifty. */
const FADING = 0.98;

export class TaskRunner {
  readonly #node: Node;
  readonly #source: TaskSource;
  readonly #page: StatusPage;
  readonly #outputs: () => NodeJS.WriteStream[];
  /** By the process that asked, then by its run. */
  readonly #known = new Map<number, Map<number, Known>>();
  /** By depth: what waits, and what runs. */
  readonly #queues: Chunk[][] = [];
  readonly #busy: (Chunk | undefined)[] = [];
  /** The last definition looked up: nearly always the next one too. */
  #latest: Known | undefined;
  /** The time as of the last chunk that ended in this turn of the event loop; 0 in a new turn. */
  #now = 0;
  #turnEnds = 0;
  /** Whether something was answered in this turn. */
  #answered = false;
  #scheduled = false;

  /** `outputs` are ended by a call that is all its process does; looked at then only, because a look makes Bun write without waiting. */
  constructor(
    node: Node,
    source: TaskSource,
    page: StatusPage,
    outputs: () => NodeJS.WriteStream[] = () => [process.stdout, process.stderr],
  ) {
    this.#outputs = outputs;
    this.#node = node;
    this.#source = source;
    this.#page = page;
    node.handle(MessageType.define, (message) => this.#define(message));
    node.handle(MessageType.run, (message) => this.#enqueue(message));
    node.handle(MessageType.cancel, (message) => this.#cancel(message));
  }

  /** The depth of tasks called from here: one more than the deepest that runs, as JavaScript cannot tell who calls. */
  get callDepth(): number {
    return this.#busy.findLastIndex((chunk) => chunk !== undefined) + 1;
  }

  /** Forgets what a process that is gone had asked for. */
  forget(owner: Address): void {
    const key = ownerKey(owner.node, owner.slot);
    for (const known of this.#known.get(key)?.values() ?? []) known.cancelled = true;
    this.#known.delete(key);
    this.#page.begun.forget(owner);
  }

  #define(message: Message): void {
    const definition = this.#node.codec.decode(message.payload) as Definition;
    const from = { node: message.fromNode, slot: message.fromSlot };
    const known: Known = { ...definition, from, task: undefined, broken: undefined, cancelled: false, slowestMs: 0 };
    try {
      const task = this.#source.reviveTask(definition.fn);
      known.task = definition.isProcess ? asProcess(task, this.#outputs) : task;
    } catch (error) {
      known.broken = error;
    }
    const key = ownerKey(from.node, from.slot);
    const runs = this.#known.get(key) ?? new Map<number, Known>();
    this.#known.set(key, runs.set(definition.run, known));
  }

  #enqueue(message: Message): void {
    const from = { node: message.fromNode, slot: message.fromSlot };
    const { correlation } = message;
    let read: RunMessage;
    try {
      read = readRun(message, this.#node.codec);
    } catch (error) {
      const errors: Outcomes["errors"] = [[0, this.#thrown(error)]];
      sendFailed(this.#node, from, correlation, { values: [], errors }, 0);
      return;
    }
    const { run, form, turn, items } = read;
    const known = this.#find(message, run);
    if (!known) {
      sendDropped(this.#node, from, correlation);
      return;
    }
    const calls = form === Form.none ? 1 : items.length;
    const chunk: Chunk = {
      known,
      id: correlation,
      turn,
      items,
      calls,
      place: 0,
      values: listFor(calls),
      errors: undefined,
      startedAt: 0,
    };
    if (this.#mayStart(known)) this.#start(chunk);
    else {
      this.#queues[known.depth] ??= [];
      this.#queues[known.depth]!.push(chunk);
      this.#work();
    }
  }

  /** Whether a chunk that has just come can be run at once, past an empty queue. */
  #mayStart(known: Known): boolean {
    const { depth } = known;
    if (this.#scheduled || this.#busy[depth] || (this.#queues[depth]?.length ?? 0) > 0) return false;
    if (this.#now === 0) this.#beginTurn();
    return !this.#mustTurn(known);
  }

  /** Answers leave at the end of a turn: they are not kept behind what may hold the loop for long. */
  #mustTurn(next: Known): boolean {
    return this.#now > this.#turnEnds || (this.#answered && next.slowestMs > SLOW_MS);
  }

  #find(message: Message, run: number): Known | undefined {
    const latest = this.#latest;
    const { fromNode, fromSlot } = message;
    if (latest?.run === run && latest.from.slot === fromSlot && latest.from.node === fromNode && !latest.cancelled) {
      return latest;
    }
    this.#latest = this.#known.get(ownerKey(fromNode, fromSlot))?.get(run);
    return this.#latest;
  }

  #cancel(message: Message): void {
    const run = this.#node.codec.decode(message.payload) as number;
    const runs = this.#known.get(ownerKey(message.fromNode, message.fromSlot));
    const known = runs?.get(run);
    if (!known) return;
    known.cancelled = true;
    runs!.delete(run);
    this.#work();
  }

  /** Runs what may run until this turn's time is used up; goes on after messages were looked at. */
  #work(): void {
    if (this.#scheduled) return;
    if (this.#now === 0) this.#beginTurn();
    for (let depth = 0; depth < this.#queues.length; depth++) {
      const queue = this.#queues[depth];
      while (queue && queue.length > 0 && !this.#busy[depth]) {
        if (this.#mustTurn(queue[0]!.known)) {
          this.#continueLater();
          return;
        }
        this.#start(queue.shift()!);
      }
    }
  }

  /** Microtasks run when the messages that came together were all handled: then the turn is over. */
  #beginTurn(): void {
    this.#now = performance.now();
    this.#turnEnds = this.#now + TURN_MS;
    this.#answered = false;
    queueMicrotask(() => {
      this.#now = 0;
    });
  }

  #continueLater(): void {
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#now = 0;
      this.#work();
    });
  }

  #start(chunk: Chunk): void {
    const { id, turn, known } = chunk;
    if (!this.#page.begun.begin(known.from, known.depth, turn)) {
      sendDropped(this.#node, known.from, id); // its caller may know already
      return;
    }
    this.#busy[chunk.known.depth] = chunk;
    chunk.startedAt = this.#now;
    this.#advance(chunk);
  }

  /** Runs items until the chunk is over or one of them is waiting for something. */
  #advance(chunk: Chunk): void {
    const { known } = chunk;
    known.task?.activate(); // a task of another depth may have run since the last item
    this.#page.beginChunk(known.depth, known.from, known.run, chunk.id, known.timeoutMs);
    while (chunk.place < chunk.calls && !known.cancelled) {
      try {
        const returned = this.#call(chunk);
        const value = typeof returned === "object" ? drained(returned) : returned;
        if (isThenable(value)) {
          // Another's thenable may answer twice, or with a promise.
          (value instanceof Promise ? value : Promise.resolve(value)).then(
            (late) => this.#settleLate(chunk, late),
            (error) => this.#failLate(chunk, error),
          );
          return;
        }
        this.#settle(chunk, value);
      } catch (error) {
        if (this.#fail(chunk, error)) break;
      }
    }
    this.#finish(chunk);
  }

  #call(chunk: Chunk): unknown {
    const { known, place } = chunk;
    if (!known.task) throw known.broken;
    this.#page.beginItem(known.depth, place);
    const { call } = known.task;
    const { args } = known;
    if (chunk.items.length === 0) return call(...args);
    const item = chunk.items[place];
    if (known.spread) return call(...listOf(item), ...args);
    return args.length === 0 ? call(item) : call(item, ...args);
  }

  #settle(chunk: Chunk, value: unknown): void {
    chunk.values[chunk.place] = value;
    chunk.place++;
  }

  /** Notes a failure; true when it ends the chunk. */
  #fail(chunk: Chunk, error: unknown): boolean {
    chunk.errors ??= [];
    chunk.errors.push([chunk.place, error]);
    chunk.values[chunk.place] = undefined;
    chunk.place++;
    return !chunk.known.settled;
  }

  #settleLate(chunk: Chunk, value: unknown): void {
    this.#settle(chunk, value);
    this.#advance(chunk);
    this.#work();
  }

  #failLate(chunk: Chunk, error: unknown): void {
    if (this.#fail(chunk, error)) this.#finish(chunk);
    else this.#advance(chunk);
    this.#work();
  }

  #finish(chunk: Chunk): void {
    const { known } = chunk;
    this.#page.endChunk(known.depth);
    this.#busy[known.depth] = undefined;
    const now = performance.now();
    if (this.#now !== 0) this.#now = now;
    this.#answered = true;
    known.slowestMs = Math.max(known.slowestMs * FADING, now - chunk.startedAt);
    if (known.cancelled) sendDropped(this.#node, known.from, chunk.id);
    else this.#answer(chunk, now - chunk.startedAt);
  }

  #answer({ known, id, values, errors, place }: Chunk, elapsedMs: number): void {
    values.length = place; // a failure may have ended it early
    if (!errors) {
      try {
        sendDone(this.#node, known.from, id, values, elapsedMs);
        return;
      } catch {
        // One of the values cannot travel; which one is found below.
      }
    }
    sendFailed(this.#node, known.from, id, this.#travelling({ values, errors: errors ?? [] }), elapsedMs);
  }

  /** Turns values that cannot travel into failures of their items. */
  #travelling({ values, errors }: Outcomes): Outcomes {
    const failed = new Map(errors);
    values.forEach((value, place) => {
      try {
        this.#node.codec.encode(value, "the result");
      } catch (error) {
        values[place] = undefined;
        failed.set(place, error);
      }
    });
    for (const [place, error] of failed) failed.set(place, this.#thrown(error));
    return { values, errors: [...failed].sort(([a], [b]) => a - b) };
  }

  /** What was thrown, or an error about it when it cannot travel itself. */
  #thrown(error: unknown): unknown {
    try {
      this.#node.codec.encode(error, "what the task threw");
      return error;
    } catch (cause) {
      return new MeshError("TASK_FAILED", `a task threw something that cannot travel: ${wordsOf(error)}`, { cause });
    }
  }
}

/** A call that is all its process does. */
function asProcess({ call, activate }: RevivedTask, outputs: () => NodeJS.WriteStream[]): RevivedTask {
  const run = async (...args: unknown[]) => {
    const ends = outputs().map(endOf);
    try {
      await drained(await call(...args));
    } finally {
      await Promise.all(ends.map((end) => end()));
    }
  };
  return { call: run, activate };
}

/** What ends a stream and waits until all that was written is out. Writing nothing and waiting for that does not (Bun 1.4.5). */
function endOf(stream: NodeJS.WriteStream): () => Promise<void> {
  // One that was destroyed shows it by nothing else, and calls nobody back.
  const closed = new Promise<void>((resolve) => void stream.once("close", resolve));
  return () => Promise.race([closed, new Promise<void>((resolve) => void stream.end(() => resolve()))]);
}

function ownerKey(node: number, slot: number): number {
  return node * 0x10000 + slot;
}

function listOf(item: unknown): unknown[] {
  if (Array.isArray(item)) return item;
  throw new MeshError("USAGE", `starmap takes items that are lists of arguments; this one is a ${typeof item}`);
}

/** Never throws, whatever it was: an object need not have a way to become text. */
function wordsOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `a ${typeof thrown} without words`;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as PromiseLike<unknown>).then === "function";
}

/** An empty list with room. Above 50,000 JavaScriptCore would make one that is slow for good. */
function listFor(count: number): unknown[] {
  return count <= 50_000 ? new Array(count) : [];
}

/** A generator's values become a list: a generator itself cannot travel. */
function drained(value: unknown): unknown {
  if (typeof value !== "object" || value === null || typeof (value as Generator).next !== "function") return value;
  if (Symbol.iterator in value) return [...(value as Generator)];
  if (Symbol.asyncIterator in value) return Array.fromAsync(value as AsyncGenerator);
  return value;
}
