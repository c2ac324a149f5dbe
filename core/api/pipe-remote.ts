// The ends of a pipe that another process made: they reach it by messages.
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { WaitOptions } from "./node-view.ts";
import type { Pull, Withdrawn } from "./pipe-home.ts";
import type { ReceiverLink } from "./pipe-receiver.ts";
import type { SenderLink } from "./pipe-sender.ts";
import {
  encodePull,
  encodeSend,
  type FlushBody,
  numberSend,
  type ReceiverBody,
  type ReturnBody,
  type RoomBody,
  type WithdrawBody,
} from "./pipe-wire.ts";

/** Which pipe, and where it was made. */
export interface PipePlace {
  home: Address;
  pipe: number;
  /** Who the home is, for messages: "here/0", "gpu1/2". */
  homeName: string;
}

/** What home says of a pipe it does not know any more. */
export const UNKNOWN_PIPE = -1;

export class RemoteSenderLink implements SenderLink {
  readonly home: string;
  readonly #node: Node;
  readonly #place: PipePlace;
  /** Number of the sender in this process. */
  readonly #sender: number;
  #correlation = 0;

  constructor(node: Node, place: PipePlace, sender: number) {
    this.home = place.homeName;
    this.#node = node;
    this.#place = place;
    this.#sender = sender;
  }

  encode(value: unknown, what: string): Uint8Array {
    return encodeSend(this.#node.codec, this.#place.pipe, this.#sender, value, what);
  }

  push(number: number, bytes: Uint8Array): void {
    numberSend(bytes, number);
    this.#correlation = (this.#correlation + 1) >>> 0;
    this.#node.send(this.#place.home, MessageType.pipeSend, 0, this.#correlation, bytes);
  }

  async room(knownBytes: number, signal: AbortSignal): Promise<number> {
    const body: RoomBody = { pipe: this.#place.pipe, sender: this.#sender, knownBytes };
    return (await this.#node.request(this.#place.home, MessageType.pipeRoom, body, { signal })) as number;
  }

  async flush(count: number, closes: boolean, options: WaitOptions): Promise<void> {
    const body: FlushBody = { pipe: this.#place.pipe, sender: this.#sender, count, closes };
    await this.#node.request(this.#place.home, MessageType.pipeFlush, body, options);
  }
}

export class RemoteReceiverLink implements ReceiverLink {
  readonly home: string;
  readonly #node: Node;
  readonly #to: Address;
  readonly #body: ReceiverBody;
  readonly #left: () => void;

  /** `mailbox` takes the values here; `left` hears when the home may forget it. */
  constructor(node: Node, { home, pipe, homeName }: PipePlace, mailbox: number, left: () => void) {
    this.home = homeName;
    this.#node = node;
    this.#to = home;
    this.#body = { pipe, mailbox };
    this.#left = left;
  }

  decode(bytes: Uint8Array): unknown {
    return this.#node.codec.decode(bytes);
  }

  pull(pull: Pull): void {
    this.#node.send(this.#to, MessageType.pipePull, 0, 0, encodePull(this.#node.codec, this.#body, pull));
  }

  async watch(): Promise<number> {
    return (await this.#node.request(this.#to, MessageType.pipeWatch, this.#body, { keepsProcess: false })) as number;
  }

  async withdraw(epoch: number): Promise<Withdrawn> {
    const body: WithdrawBody = { ...this.#body, epoch };
    return (await this.#node.request(this.#to, MessageType.pipeWithdraw, body)) as Withdrawn;
  }

  async giveBack(values: [number: number, bytes: Uint8Array][], closes: boolean): Promise<void> {
    const body: ReturnBody = { ...this.#body, values, closes };
    await this.#node.request(this.#to, MessageType.pipeReturn, body);
  }

  leave(): void {
    this.#left();
  }

  hold(): void {
    this.#node.hold();
  }

  release(): void {
    this.#node.release();
  }
}
