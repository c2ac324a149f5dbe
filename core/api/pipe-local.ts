// The ends of a pipe in the process that made it: they reach it by calls.

import type { Clock } from "../clock.ts";
import type { Node } from "../node/node.ts";
import type { WaitOptions } from "./node-view.ts";
import type { HomeReceiver, HomeSender, PipeHome, Pull, Withdrawn } from "./pipe-home.ts";
import { MESSAGE_COST_BYTES } from "./pipe-home.ts";
import type { ReceiverLink } from "./pipe-receiver.ts";
import type { SenderLink } from "./pipe-sender.ts";
import { Wait } from "./pipe-wait.ts";

/** The codec writes many small values into one piece of memory: a kept one would keep all of it. */
const SHARED_MEMORY_BYTES = 64 * 1024;

export class LocalSenderLink implements SenderLink {
  readonly home: string;
  readonly #node: Node;
  readonly #clock: Clock;
  readonly #pipe: PipeHome;
  readonly #sender: HomeSender;

  constructor(home: string, node: Node, clock: Clock, pipe: PipeHome, sender: HomeSender) {
    this.home = home;
    this.#node = node;
    this.#clock = clock;
    this.#pipe = pipe;
    this.#sender = sender;
  }

  encode(value: unknown, what: string): Uint8Array {
    const bytes = this.#node.codec.encode(value, what);
    return bytes.buffer.byteLength > bytes.length + SHARED_MEMORY_BYTES ? bytes.slice() : bytes;
  }

  push(number: number, bytes: Uint8Array): void {
    this.#pipe.push(this.#sender, number, bytes, bytes.length + MESSAGE_COST_BYTES);
  }

  async room(knownBytes: number, signal: AbortSignal): Promise<number> {
    const wait = new Wait<number>("funnel.send", { signal }, this.#clock, () => {});
    this.#node.hold();
    try {
      void this.#pipe.room(this.#sender, knownBytes).then((bytes) => wait.settled || wait.resolve(bytes));
      return await wait.promise;
    } finally {
      this.#node.release();
    }
  }

  /** All that was sent here is in the pipe already. */
  async flush(count: number, closes: boolean, _options: WaitOptions): Promise<void> {
    await this.#pipe.flush(this.#sender, count, closes);
  }
}

export class LocalReceiverLink implements ReceiverLink {
  readonly home: string;
  readonly #node: Node;
  readonly #pipe: PipeHome;
  readonly #receiver: HomeReceiver;
  readonly #left: () => void;

  constructor(home: string, node: Node, pipe: PipeHome, receiver: HomeReceiver, left: () => void) {
    this.home = home;
    this.#node = node;
    this.#pipe = pipe;
    this.#receiver = receiver;
    this.#left = left;
  }

  decode(bytes: Uint8Array): unknown {
    return this.#node.codec.decode(bytes);
  }

  pull(pull: Pull): void {
    this.#pipe.pull(this.#receiver, pull);
  }

  watch(): Promise<number> {
    return this.#pipe.watch(this.#receiver);
  }

  async withdraw(epoch: number): Promise<Withdrawn> {
    return this.#pipe.withdraw(this.#receiver, epoch);
  }

  async giveBack(values: [number: number, bytes: Uint8Array][], closes: boolean): Promise<void> {
    this.#pipe.giveBack(this.#receiver, values, closes);
  }

  leave(): void {
    this.#pipe.leave(this.#receiver);
    this.#left();
  }

  hold(): void {
    this.#node.hold();
  }

  release(): void {
    this.#node.release();
  }
}
