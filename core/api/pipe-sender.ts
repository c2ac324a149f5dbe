// What one process sends into a pipe: how far it is ahead of those who receive, who waits for room, and what is confirmed.
// All funnels of the process for the same pipe share it.
import type { Clock } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { WaitOptions } from "./node-view.ts";
import { type ClosedBy, type Credit, MESSAGE_COST_BYTES, nobodyReceives } from "./pipe-home.ts";
import { Wait } from "./pipe-wait.ts";
import { Fifo } from "./queue-fifo.ts";

/** What happens to a message for which the pipe has no room. */
export type WhenFull = "wait" | "drop" | "fail";

/** The way from a sending process to the pipe's home. */
export interface SenderLink {
  /** Who the home is, for messages: "gpu1/2". */
  readonly home: string;
  /** Bytes of a message, new ones. Throws CANNOT_TRAVEL naming the path from `what`. */
  encode(value: unknown, what: string): Uint8Array;
  /** Sends them as the `number`th message of this process. They may be changed. */
  push(number: number, bytes: Uint8Array): void;
  /** As PipeHome.room; rejects when the home is gone, and when `signal` aborts. */
  room(knownBytes: number, signal: AbortSignal): Promise<number>;
  /** As PipeHome.flush; rejects when the home is gone. */
  flush(count: number, closes: boolean, options: WaitOptions): Promise<void>;
}

/** A message that waits for room, or with no bytes somebody who waits for all before to be sent. */
interface Waiting {
  bytes: Uint8Array | undefined;
  wait: Wait<void>;
}

export class PipeSender {
  readonly #link: SenderLink;
  readonly #clock: Clock;
  readonly #highWaterBytes: number;
  readonly #waiting = new Fifo<Waiting>();
  #count = 0;
  #sentBytes = 0;
  #takenBytes = 0;
  #asking: AbortController | undefined;
  #closedBy: ClosedBy | undefined;
  /** Of the messages sent, how many came before the pipe was closed. */
  #came = 0;
  #broken: MeshError | undefined;

  constructor(link: SenderLink, highWaterBytes: number, clock: Clock) {
    this.#link = link;
    this.#highWaterBytes = highWaterBytes;
    this.#clock = clock;
  }

  /** Nothing can be sent any more. */
  get isClosed(): boolean {
    return this.#closedBy !== undefined;
  }

  /**
   * Sends a value, or as `full` says when there is no room; false when it was dropped. Throws or rejects with CANNOT_TRAVEL,
   * CLOSED, LINK_CLOSED, FULL, TIMEOUT or CANCELLED; then it was not sent.
   */
  send(value: unknown, full: WhenFull, options: WaitOptions): boolean | Promise<boolean> {
    this.#check("funnel.send");
    const bytes = this.#link.encode(value, "funnel.send: the value");
    if (this.#waiting.length === 0 && this.#hasRoom) this.#push(bytes);
    else if (full === "drop") return false;
    else if (full === "fail") throw this.#fullError();
    else return this.#wait(bytes, "funnel.send", options);
    return true;
  }

  /** Resolves when all that was sent before is in the pipe. Rejects with LINK_CLOSED when that cannot be confirmed. */
  async flush(what: string, closes: boolean, options: WaitOptions): Promise<void> {
    const begun = this.#clock.now();
    if (this.#waiting.length > 0) await this.#wait(undefined, what, options);
    if (this.#broken && this.#count > 0) throw this.#gone(what, this.#broken);
    if (this.#closedBy) {
      if (this.#came < this.#count) throw lost(what, this.#count - this.#came);
      if (this.#closedBy === "receivers" && !closes) throw nobodyReceives();
      return;
    }
    if (this.#count === 0 && !closes) return;
    try {
      await this.#link.flush(this.#count, closes, remaining(options, this.#clock.now() - begun));
    } catch (error) {
      if (isGone(error)) throw this.#gone(what, error);
      if (!closes || this.#count > 0 || !isMeshError(error, "CLOSED")) throw error;
    }
  }

  /** Hears from the home how far it is. */
  credited({ takenBytes, came, closedBy }: Credit): void {
    this.#takenBytes = Math.max(this.#takenBytes, takenBytes);
    this.#came = came;
    this.#closedBy = closedBy ?? this.#closedBy;
    if (this.#closedBy) this.#giveUp(() => this.#closedError("funnel.send"));
    else this.#pump();
  }

  get #hasRoom(): boolean {
    return this.#sentBytes - this.#takenBytes < this.#highWaterBytes;
  }

  #push(bytes: Uint8Array): void {
    this.#sentBytes += bytes.length + MESSAGE_COST_BYTES;
    this.#link.push(++this.#count, bytes);
  }

  async #wait(bytes: Uint8Array | undefined, what: string, options: WaitOptions): Promise<true> {
    const wait = new Wait<void>(what, options, this.#clock, () => this.#leave());
    this.#waiting.push({ bytes, wait });
    void this.#ask();
    await wait.promise;
    return true;
  }

  #pump(): void {
    for (let next = this.#waiting.peek(); next; next = this.#waiting.peek()) {
      if (next.bytes && !this.#hasRoom) return;
      this.#waiting.shift();
      if (next.bytes) this.#push(next.bytes);
      next.wait.resolve();
    }
    this.#asking?.abort();
  }

  /** Asks the home for room as long as somebody waits: the question also tells when the home is gone. */
  async #ask(): Promise<void> {
    if (this.#asking) return;
    const asking = new AbortController();
    this.#asking = asking;
    try {
      while (this.#waiting.length > 0) {
        this.#takenBytes = Math.max(this.#takenBytes, await this.#link.room(this.#takenBytes, asking.signal));
        if (!this.#closedBy) this.#pump();
      }
    } catch (error) {
      if (!asking.signal.aborted) this.#failed(error);
    } finally {
      this.#asking = undefined;
    }
    if (this.#waiting.length > 0 && !this.#broken) void this.#ask(); // somebody came while the question was given up
  }

  #failed(error: unknown): void {
    if (isMeshError(error, "CLOSED")) this.#closedBy ??= "senders";
    else this.#broken = error as MeshError;
    this.#giveUp(() => (this.#broken ? this.#gone("funnel.send", this.#broken) : this.#closedError("funnel.send")));
  }

  /** Takes out who gave up. */
  #leave(): void {
    this.#waiting.removeIf(({ wait }) => wait.settled);
    this.#pump();
  }

  #giveUp(why: () => MeshError): void {
    for (const { wait, bytes } of [...this.#waiting]) {
      if (bytes) wait.reject(why());
      else wait.resolve();
    }
    this.#waiting.clear();
    this.#asking?.abort();
  }

  #check(what: string): void {
    if (this.#broken) throw this.#gone(what, this.#broken);
    if (this.#closedBy) throw this.#closedError(what);
  }

  #closedError(what: string): MeshError {
    if (this.#closedBy === "receivers") return nobodyReceives();
    return new MeshError("CLOSED", `${what}: the pipe was closed`);
  }

  #gone(what: string, cause: unknown): MeshError {
    return new MeshError(
      "LINK_CLOSED",
      `${what}: the process of the pipe, ${this.#link.home}, is gone, and what was in the pipe with it`,
      { cause },
    );
  }

  #fullError(): MeshError {
    const ahead = `${this.#sentBytes - this.#takenBytes} bytes of this process are in the pipe, ${this.#highWaterBytes} may be`;
    return new MeshError(
      "FULL",
      `funnel.send: the pipe is full: ${ahead}; receive faster, or make it with full: "wait"`,
    );
  }
}

function lost(what: string, count: number): MeshError {
  return new MeshError(
    "CLOSED",
    `${what}: the pipe was closed before the last ${count} of this process's messages were in it`,
  );
}

function remaining({ timeoutMs, ...options }: WaitOptions, passedMs: number): WaitOptions {
  return timeoutMs === undefined ? options : { ...options, timeoutMs: Math.max(0, timeoutMs - passedMs) };
}

/** Whether an error of a request says that nobody is there to answer. */
export function isGone(error: unknown): boolean {
  return isMeshError(error, "LINK_CLOSED") || isMeshError(error, "UNREACHABLE");
}
