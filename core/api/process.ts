// Process: a function that runs in a process of its own, on this machine or another, with the shape of a local child process.
import { MeshError } from "../errors.ts";
import type { AnyFunction } from "../wire/travel.ts";
import { checkHosts, checkKeys, checkSignal, checkWhole, describe } from "./check.ts";
import { jobContext } from "./context.ts";
import { describeTask, encodeDefinition } from "./define.ts";
import type { HostChoice } from "./host-choice.ts";
import type { WaitOptions } from "./node-view.ts";
import { EXIT_THREW, EXIT_UNKNOWN, exitOf, type ProcessExit } from "./process-exit.ts";
import { Run } from "./run.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Claim, Seat } from "./seats.ts";
import type { SlotDown, SlotInfo } from "./slots.ts";
import { asCalled } from "./task-error.ts";
import type { Definition } from "./task-wire.ts";

export interface ProcessOptions<A extends unknown[] = unknown[]> {
  /** Where it runs: the name of a host, or a pattern such as "gpu*". Default: the host that is used least. */
  host?: string;
  /** Arguments of the function. */
  args?: A;
  /** What it is called in messages. Default: "process-1", … */
  name?: string;
}

export type { ProcessExit } from "./process-exit.ts";

export interface TerminateOptions extends WaitOptions {
  /** Milliseconds between SIGTERM and SIGKILL. Default 1,000. */
  graceMs?: number;
}

/** `args` must be given exactly when the function takes some. */
type Options<A extends unknown[]> = [] extends A
  ? [options?: ProcessOptions<A>]
  : [options: ProcessOptions<A> & { args: A }];

const GRACE_MS = 1_000;
/** What the process gets to end when its function is over. */
const LAST_GRACE_MS = 300;
let made = 0;

/**
 * A function in a process of its own, alone: nothing retries it and nothing replaces it. While it runs it keeps the
 * script from ending, and it ends with the job. `await using` terminates it.
 *
 * What the function returns stays there: give it the end of a pipe to send something. What it throws is the `error` of
 * `join()`; when nobody waits there, it is told on the terminal.
 */
export class Process<A extends unknown[] = unknown[]> implements AsyncDisposable {
  readonly name: string;
  readonly #fn: AnyFunction;
  readonly #args: unknown[];
  readonly #choice: HostChoice;
  readonly #scheduler: Scheduler;
  readonly #up = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<ProcessExit>();
  #seat: Seat | undefined;
  #run: Run | undefined;
  #info: SlotInfo | undefined;
  #down: SlotDown | undefined;
  #thrown: { error: unknown } | undefined;
  /** How the function ended, while its process still does. */
  #over: ProcessExit | undefined;
  #exit: ProcessExit | undefined;
  #waiting = 0;

  /** Starts nothing yet. Throws USAGE for options out of range and for a host that is not there. */
  constructor(fn: (...args: A) => unknown, ...[options]: Options<A>) {
    const given: ProcessOptions<unknown[]> = options ?? {};
    asCalled(() => check(fn, given));
    this.name = given.name ?? `process-${++made}`;
    this.#fn = fn as AnyFunction;
    this.#args = given.args ?? [];
    const host = given.host;
    this.#choice = asCalled(() => checkHosts("new Process", host === undefined ? {} : { hosts: host }));
    this.#scheduler = jobContext().scheduler;
    this.#up.promise.catch(() => {}); // who waits in start() hears of it
  }

  /**
   * Starts the process and returns when its function begins. Throws USAGE the second time, CANNOT_TRAVEL for arguments
   * and captured values that cannot be sent, SLOT_LOST when it cannot be started.
   */
  async start(): Promise<void> {
    asCalled(() => this.#begin());
    await this.#up.promise;
  }

  /** Waits for its end. Throws TIMEOUT or CANCELLED when the waiting ends first: the process goes on then. */
  async join(options: WaitOptions = {}): Promise<ProcessExit> {
    asCalled(() => {
      checkKeys("join", options, ["timeoutMs", "signal"]);
      checkWait("join", options);
      if (!this.#run) throw new MeshError("USAGE", `${this.#label} was not started: call start() first`);
    });
    this.#waiting++;
    try {
      return await this.#limited(this.#ended.promise, options);
    } finally {
      this.#waiting--;
    }
  }

  /**
   * Ends it and what it started: SIGTERM first, SIGKILL after `graceMs`. Returns when it is really gone, at once when it
   * is so already or never began.
   */
  async terminate(options: TerminateOptions = {}): Promise<ProcessExit | undefined> {
    asCalled(() => {
      checkKeys("terminate", options, ["graceMs", "timeoutMs", "signal"]);
      checkWhole("terminate: graceMs", options.graceMs, 0, 0x7fffffff);
      checkWait("terminate", options);
    });
    const { graceMs = GRACE_MS, ...wait } = options;
    if (!this.#run) return undefined;
    if (!this.#exit && this.#info && this.#seat) {
      this.#scheduler.endSlot(this.#seat, this.#info.slot, "it was terminated", graceMs);
    } else if (!this.#exit) {
      this.#scheduler.stop(this.#run, new MeshError("CANCELLED", `${this.#label} was terminated before it began`));
    }
    return await this.join(wait);
  }

  /** As in ProcessExit; undefined while it runs and before. */
  get exitCode(): number | undefined {
    return this.#exit?.exitCode;
  }

  /** Whether it was started and has not ended. */
  get isAlive(): boolean {
    return this.#run !== undefined && this.#exit === undefined;
  }

  /** Its process id on its host; undefined before it is there. */
  get pid(): number | undefined {
    return this.#info?.pid;
  }

  /** The name of the host it runs on; undefined before it is started. */
  get host(): string | undefined {
    return this.#seat?.host.info.name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
  }

  get #label(): string {
    return `process ${this.name}`;
  }

  #begin(): void {
    if (this.#run) throw new MeshError("USAGE", `${this.#label} was started before: make another with new Process()`);
    const definition = this.#define();
    const encoded = encodeDefinition(this.#label, this.#fn, definition);
    const claim = this.#claim();
    [this.#seat] = claim.seats;
    this.#run = new Run({
      id: definition.run,
      label: this.#label,
      caller: new Error(this.#label),
      source: undefined,
      sink: {
        values: () => {},
        failure: (_, error) => {
          this.#thrown = { error };
          return false;
        },
        finished: (...error) => this.#finished(claim, ...error),
      },
      estimate: this.#scheduler.estimateOf(`process ${definition.fn.id}`),
      definition: encoded,
      seats: claim.seats,
      chunkSize: undefined,
      depth: definition.depth,
      retries: 0,
      retryFailures: false,
      isProcess: true,
    });
    jobContext().node.hold();
    this.#scheduler.start(this.#run, claim, () => {});
  }

  #define(): Definition {
    return {
      run: this.#scheduler.nextRunId(),
      fn: describeTask(this.#label, this.#fn),
      args: this.#args,
      spread: false,
      settled: false,
      depth: jobContext().callDepth(),
      timeoutMs: 0,
      isProcess: true,
    };
  }

  #claim(): Claim {
    const claim: Claim | undefined = this.#scheduler.takePrivateSeat(this.#choice, this.name, {
      up: (info) => {
        this.#info = info;
        this.#up.resolve();
      },
      down: (down) => {
        this.#down = down;
        if (this.#over && claim) this.#settle(claim, this.#over);
      },
    });
    if (claim) return claim;
    throw new MeshError("SLOT_LOST", `${this.#label}: no host is there for it; locateNode(name) waits for one`);
  }

  /** Its function is over, or never will be: so is the process, at once or when it was ended too. */
  #finished(claim: Claim, ...error: [unknown?]): void {
    const exit = this.#exitOf(...error);
    if (this.#seat && this.#info && !this.#down) {
      this.#over = exit;
      this.#scheduler.endSlot(this.#seat, this.#info.slot, "its function is over", LAST_GRACE_MS);
    } else {
      this.#up.reject(error[0]);
      this.#settle(claim, exit);
    }
  }

  #settle(claim: Claim, exit: ProcessExit): void {
    this.#exit = exit;
    this.#scheduler.releaseSeats(claim);
    this.#ended.resolve(exit);
    if ("error" in exit && this.#waiting === 0) this.#tell(exit.error);
    jobContext().node.release();
  }

  #exitOf(...error: [unknown?]): ProcessExit {
    if (this.#down) return exitOf(this.#down);
    if (error.length === 0) return { exitCode: 0 };
    if (this.#thrown) return { exitCode: EXIT_THREW, error: this.#thrown.error };
    return { exitCode: EXIT_UNKNOWN, cause: (error[0] as Error).message };
  }

  #tell(error: unknown): void {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#scheduler.tell(`${this.#label} (${this.host}) threw ${words}`);
  }

  async #limited(promise: Promise<ProcessExit>, { timeoutMs, signal }: WaitOptions): Promise<ProcessExit> {
    const stopped = Promise.withResolvers<never>();
    const late = () => new MeshError("TIMEOUT", `${this.#label} did not end within ${timeoutMs} ms`);
    const cancelled = () => new MeshError("CANCELLED", `waiting for ${this.#label} was cancelled`, causeOf(signal));
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => stopped.reject(late()), timeoutMs);
    const abort = () => stopped.reject(cancelled());
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([promise, stopped.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

function causeOf(signal: AbortSignal | undefined): ErrorOptions {
  return { cause: signal?.reason };
}

function check(fn: unknown, options: ProcessOptions<unknown[]>): void {
  if (typeof fn !== "function") {
    throw new MeshError("USAGE", `new Process takes a function first, not ${describe(fn)}`);
  }
  checkKeys("new Process", options, ["host", "args", "name"]);
  const { args, host, name } = options;
  if (args !== undefined && !Array.isArray(args)) {
    throw new MeshError("USAGE", `new Process: args is a list of arguments, not ${describe(args)}`);
  }
  for (const [what, value] of Object.entries({ host, name })) {
    if (value === undefined || (typeof value === "string" && value !== "")) continue;
    throw new MeshError("USAGE", `new Process: ${what} is a name, not ${describe(value)}`);
  }
}

function checkWait(label: string, { timeoutMs, signal }: WaitOptions): void {
  checkWhole(`${label}: timeoutMs`, timeoutMs, 1, 0x7fffffff);
  checkSignal(label, signal);
}
