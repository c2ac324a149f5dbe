// The two ends of a pipe as jobs hold them. Any number of each, in any process: they travel.
import { MeshError } from "../errors.ts";
import { HANDLE, type Handle, type HandleWire } from "../wire/travel.ts";
import type { WaitOptions } from "./node-view.ts";
import { END, NOTHING, type PipeReceiver } from "./pipe-receiver.ts";
import type { PipePlace } from "./pipe-remote.ts";
import type { PipeSender, WhenFull } from "./pipe-sender.ts";
import type { PipeService } from "./pipe-service.ts";
import { asThrown, checkWait } from "./pipe-wait.ts";

const NO_OPTIONS: WaitOptions = {};

export const FUNNEL = "funnel";
export const SPOUT = "spout";

export type FunnelFields = [
  node: number,
  slot: number,
  pipe: number,
  homeName: string,
  highWaterBytes: number,
  full: WhenFull,
];
export type SpoutFields = [node: number, slot: number, pipe: number, homeName: string];

/** Where values go into a pipe. Made by `pipe`, or arrived from another process. */
export class Funnel<T> implements AsyncDisposable, Handle {
  readonly #service: PipeService;
  readonly #place: PipePlace;
  readonly #highWaterBytes: number;
  readonly #full: WhenFull;
  #sender: PipeSender | undefined;
  #dropped = 0;
  #isClosed = false;
  #closing: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(service: PipeService, place: PipePlace, highWaterBytes: number, full: WhenFull) {
    this.#service = service;
    this.#place = place;
    this.#highWaterBytes = highWaterBytes;
    this.#full = full;
  }

  /** How many messages of this funnel found the pipe full and were dropped, with `full: "drop"`. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Sends a value. Resolves when it is on its way, which is at once while the pipe has room, and then says nothing about
   * its arrival: `flush` does. Messages of one process stay in the order of its calls. Rejects with CANNOT_TRAVEL, CLOSED
   * (nobody may send, or nobody receives, any more), LINK_CLOSED (the process that made the pipe is gone), FULL (with
   * `full: "fail"`), TIMEOUT or CANCELLED; the value was not sent then.
   */
  async send(value: T, options: WaitOptions = NO_OPTIONS): Promise<void> {
    try {
      if (options !== NO_OPTIONS) checkWait("funnel.send", options);
      if (this.#isClosed) throw new MeshError("CLOSED", "funnel.send: this funnel was closed");
      this.#sender ??= this.#service.sender(this.#place, this.#highWaterBytes);
      const sent = this.#sender.send(value, this.#full, options);
      if (!(sent === true || (await sent))) this.#dropped++;
    } catch (error) {
      throw asThrown(error);
    }
  }

  /**
   * Resolves when all that this process has sent is in the pipe, where it stays until received. Rejects when that cannot be
   * confirmed: with LINK_CLOSED when the process that made the pipe is gone, with CLOSED when the pipe was closed before.
   * Also with TIMEOUT and CANCELLED.
   */
  async flush(options: WaitOptions = NO_OPTIONS): Promise<void> {
    await this.#flush("funnel.flush", false, options);
  }

  /**
   * Ends the pipe after all that this process has sent: who receives gets that, then the end. Of a pipe made with
   * `senders: n` the n-th funnel that is closed does that. Resolves when it is done; rejects as `flush` does.
   */
  close(options: WaitOptions = NO_OPTIONS): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#closing = this.#flush("funnel.close", true, options);
      this.#closing.catch(() => {}); // who does not wait for it is not ended by it
    }
    return this.#closing;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  [HANDLE](): HandleWire {
    const { home, pipe, homeName } = this.#place;
    const fields: FunnelFields = [home.node, home.slot, pipe, homeName, this.#highWaterBytes, this.#full];
    return [FUNNEL, fields];
  }

  async #flush(what: string, closes: boolean, options: WaitOptions): Promise<void> {
    try {
      checkWait(what, options);
      this.#sender ??= this.#service.sender(this.#place, this.#highWaterBytes);
      await this.#sender.flush(what, closes, options);
    } catch (error) {
      throw asThrown(error);
    }
  }
}

/** Where values come out of a pipe; each comes out once, at one of its spouts. Made by `pipe`, or arrived from elsewhere. */
export class Spout<T> implements AsyncIterable<T>, AsyncDisposable, Handle {
  readonly #service: PipeService;
  readonly #place: PipePlace;
  #receiver: PipeReceiver | undefined;
  #isClosed = false;
  #closing: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(service: PipeService, place: PipePlace) {
    this.#service = service;
    this.#place = place;
  }

  /**
   * Waits for the next value. Rejects with CLOSED when the pipe was closed and is empty, LINK_CLOSED when the process that
   * made the pipe is gone, TIMEOUT or CANCELLED; no value is lost then.
   */
  async receive(options: WaitOptions = NO_OPTIONS): Promise<T> {
    try {
      if (options !== NO_OPTIONS) checkWait("spout.receive", options);
      const receiver = this.#open("spout.receive");
      const now = receiver.takeNow();
      const value = now === NOTHING ? await receiver.take(this, "spout.receive", options) : now;
      if (value === END) throw this.#ended("spout.receive");
      return value as T;
    } catch (error) {
      throw asThrown(error);
    }
  }

  /** The next value if there is one now, else undefined. Rejects as `receive` does, but never waits for a value. */
  async tryReceive(): Promise<T | undefined> {
    try {
      const value = await this.#open("spout.tryReceive").tryTake(this);
      if (value === END) throw this.#ended("spout.tryReceive");
      return value === NOTHING ? undefined : (value as T);
    } catch (error) {
      throw asThrown(error);
    }
  }

  /**
   * Values until the pipe is closed and empty. A loop asks for up to 16 values or 256 KiB ahead; what it has not taken when
   * it is left goes back into the pipe. Throws LINK_CLOSED when the process that made the pipe is gone.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    if (this.#isClosed) return;
    const receiver = this.#open("for await");
    const stop = receiver.read();
    try {
      while (!this.#isClosed) {
        const now = receiver.takeNow();
        const value = now === NOTHING ? await receiver.take(this, "spout.receive", NO_OPTIONS) : now;
        if (value === END) return;
        yield value as T;
      }
    } catch (error) {
      throw asThrown(error);
    } finally {
      await stop();
    }
  }

  /**
   * Says that nobody receives here any more: calls that wait reject with CLOSED, loops end. That closes the pipe: what is
   * in it is dropped, and who sends gets CLOSED. Of a pipe made with `receivers: n` the n-th spout that is closed does that.
   * Rejects with LINK_CLOSED when the process that made the pipe is gone.
   */
  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#closing = this.#opened().close(this);
      this.#closing.catch(() => {});
    }
    return this.#closing;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  [HANDLE](): HandleWire {
    const { home, pipe, homeName } = this.#place;
    const fields: SpoutFields = [home.node, home.slot, pipe, homeName];
    return [SPOUT, fields];
  }

  #open(what: string): PipeReceiver {
    if (this.#isClosed) throw new MeshError("CLOSED", `${what}: this spout was closed`);
    return this.#opened();
  }

  #opened(): PipeReceiver {
    if (!this.#receiver || this.#receiver.isOver) this.#receiver = this.#service.receiver(this.#place);
    return this.#receiver;
  }

  #ended(what: string): MeshError {
    const words = this.#isClosed ? "this spout was closed" : "the pipe was closed, and all that was in it is received";
    return new MeshError("CLOSED", `${what}: ${words}`);
  }
}
