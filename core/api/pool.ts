// pool(): functions over many items on many slots, with the shape of a local array's methods.
import { MeshError } from "../errors.ts";
import type { AnyFunction } from "../wire/travel.ts";
import { addHost } from "./add-host.ts";
import { checkHosts, checkItems, checkKeys, checkSignal, checkWhole, describe } from "./check.ts";
import { jobContext } from "./context.ts";
import { describeTask, encodeDefinition } from "./define.ts";
import type { HostChoice } from "./host-choice.ts";
import { type Items, itemSource } from "./items.ts";
import type { NodeInfo, WaitOptions } from "./node-view.ts";
import { ResultQueue } from "./result-queue.ts";
import { Run, type Sink } from "./run.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Claim, Seat } from "./seats.ts";
import { asCalled } from "./task-error.ts";
import type { Definition } from "./task-wire.ts";

/** What a task's result is at the caller: promises are awaited, a generator's values come as a list. */
export type TaskResult<R> = R extends Generator<infer Y> | AsyncGenerator<infer Y> ? Y[] : Awaited<R>;

/** An item's outcome with `settled: true`, as of Promise.allSettled. */
export type Settled<R> = PromiseSettledResult<R>;

export interface PoolOptions {
  /**
   * How many slots to use, 1 to 4,096, spread over the hosts by their size. Default: all they have, one for each core.
   * More than that are started when asked for. Pools share slots; `await using` or `close` ends those that no other pool
   * uses.
   */
  slots?: number;
  /** Only hosts of these names, or of names like these: "gpu1", "gpu*". Without a mesh all is done on this machine. */
  hosts?: string | readonly string[];
  /** Only hosts that have all of these tags. */
  tags?: string | readonly string[];
}

export interface MapOptions<A extends unknown[] = unknown[]> {
  /** Arguments of the function after the item; sent to each slot once. */
  args?: A;
  /** Items for each message. Default: as many as last some milliseconds, measured while it runs. */
  chunkSize?: number;
  /**
   * How often an item is tried again, elsewhere. Default: 3 times when its slot died, never when it threw or ran out of
   * time. A number holds for all three.
   */
  retries?: number;
  /** Milliseconds one item may take. The slot of one that takes longer is ended and replaced. */
  timeoutMs?: number;
  /** Ends the call with CANCELLED; work under way is stopped, if need be by ending its slot. */
  signal?: AbortSignal;
}

/** `args` must be given exactly when the function takes more than the item. */
type Options<A extends unknown[], Extra = unknown> = [] extends A
  ? [options?: MapOptions<A> & Extra]
  : [options: MapOptions<A> & { args: A } & Extra];

type SettledOptions<A extends unknown[]> = [
  options: MapOptions<A> & { settled: true } & ([] extends A ? unknown : { args: A }),
];

/** Slots to run functions on. Every method rejects with the error the function threw, or with a MeshError. */
export interface Pool extends AsyncDisposable {
  /** Calls `fn` with each item; the results in the order of the items. With `settled: true` failures are results too. */
  map<T, A extends unknown[], R>(
    fn: (item: T, ...args: A) => R,
    items: Items<T>,
    ...options: SettledOptions<A>
  ): Promise<Settled<TaskResult<R>>[]>;
  map<T, A extends unknown[], R>(
    fn: (item: T, ...args: A) => R,
    items: Items<T>,
    ...options: Options<A, { settled?: false }>
  ): Promise<TaskResult<R>[]>;
  /** Like `map`, but each item is a list of arguments. */
  starmap<P extends unknown[], R>(
    fn: (...args: P) => R,
    items: Items<P>,
    options?: Omit<MapOptions, "args"> & { settled?: false },
  ): Promise<TaskResult<R>[]>;
  starmap<P extends unknown[], R>(
    fn: (...args: P) => R,
    items: Items<P>,
    options: Omit<MapOptions, "args"> & { settled: true },
  ): Promise<Settled<TaskResult<R>>[]>;
  /** Like `map`, but yields results as they come, in order; reads items only as fast as results are taken. */
  imap<T, A extends unknown[], R>(
    fn: (item: T, ...args: A) => R,
    items: Items<T>,
    ...options: Options<A>
  ): AsyncGenerator<TaskResult<R>, void, void>;
  /** Like `imap`, but yields each result as soon as it is there. */
  imapUnordered<T, A extends unknown[], R>(
    fn: (item: T, ...args: A) => R,
    items: Items<T>,
    ...options: Options<A>
  ): AsyncGenerator<TaskResult<R>, void, void>;
  /** Calls `fn` once with `args` on whatever slot is free first. */
  submit<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Promise<TaskResult<R>>;
  /** Calls `fn` once on every slot; the results in the order of the slots. */
  apply<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Promise<TaskResult<R>[]>;
  /**
   * Brings a worker up on a host of mesh.toml, or on whatever ssh finds by that name, as `mesh up` does, and waits until
   * this pool may use it. A run without a mesh makes one, that ends with it. Throws USAGE, UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED.
   */
  addHost(host: string, options?: WaitOptions): Promise<NodeInfo>;
  /** Ends what this pool has under way with CANCELLED, and its slots unless another pool uses them. */
  close(): Promise<void>;
}

const DEFAULT_RETRIES = 3;
const SLOTS_LIMIT = 4_096;

/**
 * Slots of the mesh to run functions on. Cheap: slots start with the first call that needs them and are shared.
 * Hosts that join later are used too, those that are lost are done without.
 * Throws USAGE for options out of range, for names of hosts that are not there, and when no host is what was asked for.
 */
export function pool(options: PoolOptions = {}): Pool {
  return asCalled(() => {
    checkKeys("pool", options, ["slots", "hosts", "tags"]);
    checkWhole("pool: slots", options.slots, 1, SLOTS_LIMIT);
    return new MeshPool(options.slots, checkHosts("pool", options));
  }) as unknown as Pool; // its methods are typed for callers, not for what they do inside
}

/** Marks a function as one that travels, where mesh cannot see that it does: `return task((x) => x + n)`. */
export function task<F extends AnyFunction>(fn: F): F {
  if (typeof fn !== "function") throw new MeshError("USAGE", `task takes a function, not ${describe(fn)}`);
  return fn;
}

interface Call {
  label: string;
  fn: AnyFunction;
  items: Items<unknown> | undefined;
  spread: boolean;
  options: MapOptions & { settled?: boolean };
}

class MeshPool implements AsyncDisposable {
  readonly #slots: number | undefined;
  #choice: HostChoice;
  readonly #scheduler: Scheduler = jobContext().scheduler;
  readonly #runs = new Set<Run>();
  #claim: Claim | undefined;
  #closed = false;

  constructor(slots: number | undefined, choice: HostChoice) {
    this.#slots = slots;
    this.#choice = choice;
  }

  map(fn: AnyFunction, items: Items<never>, options: MapOptions & { settled?: boolean } = {}): Promise<never> {
    return this.#collect({ label: "pool.map", fn, items, spread: false, options });
  }

  starmap(fn: AnyFunction, items: Items<never>, options: MapOptions & { settled?: boolean } = {}): Promise<never> {
    return this.#collect({ label: "pool.starmap", fn, items, spread: true, options });
  }

  imap(fn: AnyFunction, items: Items<never>, options: MapOptions = {}): AsyncGenerator<never, void, void> {
    return this.#stream({ label: "pool.imap", fn, items, spread: false, options }, true);
  }

  imapUnordered(fn: AnyFunction, items: Items<never>, options: MapOptions = {}): AsyncGenerator<never, void, void> {
    return this.#stream({ label: "pool.imapUnordered", fn, items, spread: false, options }, false);
  }

  async submit(fn: AnyFunction, ...args: never[]): Promise<never> {
    const call = { label: "pool.submit", fn, items: undefined, spread: false, options: { args } };
    const [value] = (await this.#collect(call)) as never[];
    return value as never;
  }

  async apply(fn: AnyFunction, ...args: never[]): Promise<never> {
    const seats = this.#scheduler.seatsOf(this.#taken());
    const call = { label: "pool.apply", fn, items: undefined, spread: false, options: { args } };
    const values = await Promise.all(seats.map((seat) => this.#onSeat(call, seat)));
    return values.flat() as never;
  }

  async #onSeat(call: Call, seat: Seat): Promise<never> {
    const claim = this.#scheduler.takeSeat(seat);
    try {
      return await this.#collect(call, claim);
    } finally {
      this.#scheduler.releaseSeats(claim);
    }
  }

  async addHost(host: string, options: WaitOptions = {}): Promise<NodeInfo> {
    const added = await addHost(host, options);
    const { hosts } = this.#choice;
    if (hosts) {
      this.#choice = { ...this.#choice, hosts: [...hosts, added.name] };
      if (this.#claim) this.#scheduler.widen(this.#claim, this.#choice);
    }
    return added;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const run of [...this.#runs]) this.#scheduler.stop(run, new MeshError("CANCELLED", "the pool was closed"));
    if (this.#claim) this.#scheduler.releaseSeats(this.#claim);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #taken(): Claim {
    if (this.#closed) throw new MeshError("USAGE", "this pool is closed: make another with pool()");
    this.#claim ??= this.#scheduler.takeSeats(this.#slots, this.#choice);
    return this.#claim;
  }

  async #collect(call: Call, claim?: Claim): Promise<never> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown[]>();
    const settled = call.options.settled === true;
    const values: unknown[] = [];
    const run = this.#begin(call, claim, {
      values: (first, some) => fill(values, first, settled ? fulfilled(some) : some),
      failure: (first, reason) => {
        if (settled) fill(values, first, [{ status: "rejected", reason }]);
        return settled;
      },
      finished: (...error) => (error.length > 0 ? reject(error[0]) : resolve(values)),
    });
    if (run.total !== undefined) while (values.length < run.total) values.push(undefined);
    return (await promise) as never;
  }

  async *#stream(call: Call, ordered: boolean): AsyncGenerator<never, void, void> {
    const results = new ResultQueue(ordered);
    const run = this.#begin(call, undefined, results);
    results.ahead = () => aheadOf(run);
    this.#scheduler.pump(); // the beginning saw room for one item alone
    try {
      for (;;) {
        const batch = await results.next();
        if (!batch) return;
        for (const value of batch) {
          yield value as never;
          results.taken();
          if (results.isThirsty) this.#scheduler.pump();
        }
      }
    } finally {
      this.#scheduler.stop(run, new MeshError("CANCELLED", "nobody reads the results any more"));
    }
  }

  #begin(call: Call, own: Claim | undefined, sink: Sink): Run {
    const [run, claim] = asCalled(() => {
      checkCall(call);
      const claim = own ?? this.#taken();
      return [this.#prepare(call, claim, sink), claim] as const;
    });
    this.#track(run, claim, call.options.signal);
    return run;
  }

  #prepare(call: Call, { seats }: Claim, sink: Sink): Run {
    const context = jobContext();
    const { label, options } = call;
    const fn = describeTask(label, call.fn);
    if (options.timeoutMs !== undefined) this.#scheduler.watchTimeouts();
    const id = this.#scheduler.nextRunId();
    const definition: Definition = {
      run: id,
      fn,
      args: options.args ?? [],
      spread: call.spread,
      settled: options.settled === true,
      depth: context.callDepth(),
      timeoutMs: options.timeoutMs ?? 0,
    };
    return new Run({
      id,
      label,
      caller: new Error(label),
      source: call.items && itemSource(call.items, () => this.#scheduler.pump()),
      sink,
      estimate: this.#scheduler.estimateOf(fn.id),
      definition: encodeDefinition(label, call.fn, definition),
      seats,
      chunkSize: options.chunkSize,
      depth: definition.depth,
      retries: options.retries ?? DEFAULT_RETRIES,
      retryFailures: options.retries !== undefined,
    });
  }

  #track(run: Run, claim: Claim, signal: AbortSignal | undefined): void {
    const cancelled = () =>
      new MeshError("CANCELLED", `${run.label} was cancelled by its signal`, { cause: signal?.reason });
    const abort = () => this.#scheduler.stop(run, cancelled());
    this.#runs.add(run);
    this.#scheduler.start(run, claim, () => {
      this.#runs.delete(run);
      signal?.removeEventListener("abort", abort);
    });
    if (signal?.aborted) abort();
    else if (!run.over) signal?.addEventListener("abort", abort, { once: true });
  }
}

/** Puts some values in their places. Places before that have no value yet are made: a list with gaps is slow. */
function fill(all: unknown[], first: number, some: ArrayLike<unknown>): void {
  while (all.length < first) all.push(undefined);
  for (let i = 0; i < some.length; i++) all[first + i] = some[i];
}

function fulfilled(values: ArrayLike<unknown>): PromiseFulfilledResult<unknown>[] {
  return Array.from(values, (value) => ({ status: "fulfilled", value }));
}

/** Results worth 50 ms of work may wait, at least two for each slot, at most 4,096 or 64 MB of items. */
function aheadOf(run: Run): number {
  const least = 2 * run.seats.size;
  const { itemMs, itemBytes } = run.estimate;
  if (itemMs === undefined) return least;
  return Math.max(least, Math.min(4_096, (50 * run.seats.size) / Math.max(itemMs, 1e-6), (64 << 20) / itemBytes));
}

const OPTION_KEYS = ["args", "chunkSize", "retries", "timeoutMs", "signal"];

function checkCall({ label, fn, items, options }: Call): void {
  if (typeof fn !== "function") throw new MeshError("USAGE", `${label} takes a function first, not ${describe(fn)}`);
  if (label !== "pool.submit" && label !== "pool.apply") checkItems(label, items);
  checkKeys(label, options, label.startsWith("pool.imap") ? OPTION_KEYS : [...OPTION_KEYS, "settled"]);
  checkWhole(`${label}: chunkSize`, options.chunkSize, 1, 10_000_000);
  checkWhole(`${label}: retries`, options.retries, 0, 1_000);
  checkWhole(`${label}: timeoutMs`, options.timeoutMs, 1, 0x7fffffff);
  if (options.args !== undefined && !Array.isArray(options.args)) {
    throw new MeshError("USAGE", `${label}: args is a list of extra arguments, not ${describe(options.args)}`);
  }
  checkSignal(label, options.signal);
}
