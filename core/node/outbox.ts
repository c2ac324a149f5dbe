// Large messages on their way out: cut in pieces, a few of them under way at a time, and whatever is for the same
// process behind them, so that order is kept. Messages to other processes pass between the pieces.
//
// All pieces but the last may take another way than small messages do (the bulk lane). The last one goes the way of
// small messages, and only when all before it were taken: so it overtakes none and is overtaken by none.
import { type Address, FLAG_FIRST, FLAG_LAST, FLAG_MORE } from "../wire/message.ts";

/** Larger payloads travel in pieces of this size: at 100 Mbit/s a small message waits 20 ms behind one. */
export const PIECE_BYTES = 256 * 1024;
/** Pieces that may be under way to one process. */
const PIECES_AHEAD = 16;
/** Bytes before the first piece: the size of the whole payload. */
export const SIZE_BYTES = 4;

export interface OutgoingMessage {
  to: Address;
  type: number;
  flags: number;
  mailbox: number;
  correlation: number;
  payload: Uint8Array;
}

/** Sends one piece or whole message, by the bulk lane or the main one. */
export type SendPart = (message: OutgoingMessage, flags: number, part: Uint8Array, isBulk: boolean) => void;

interface Queue {
  to: Address;
  messages: OutgoingMessage[];
  /** Of the first message: how much of it was sent, and pieces that were not taken yet. */
  sentBytes: number;
  underWay: number;
}

export class Outbox {
  readonly #queues = new Map<number, Queue>();
  readonly #send: SendPart;
  readonly #emptied: (to: Address) => void;

  /** `emptied` hears when all that was queued for a process is sent. */
  constructor(send: SendPart, emptied: (to: Address) => void) {
    this.#send = send;
    this.#emptied = emptied;
  }

  /** Whether a message must go through here: it is large, or others to the same process wait. */
  takes(to: Address, sizeBytes: number): boolean {
    return sizeBytes > PIECE_BYTES || (this.#queues.size > 0 && this.#queues.has(keyOf(to)));
  }

  /** Takes a message; its payload must not change. */
  add(message: OutgoingMessage): void {
    const key = keyOf(message.to);
    const queue = this.#queues.get(key);
    if (queue) {
      queue.messages.push(message);
      return;
    }
    const first: Queue = { to: message.to, messages: [message], sentBytes: 0, underWay: 0 };
    this.#queues.set(key, first);
    this.#pump(first);
  }

  /** `count` pieces were taken by `from`; 0 says that it is gone. */
  granted(from: Address, count: number): void {
    const queue = this.#queues.get(keyOf(from));
    if (!queue) return;
    if (count === 0) {
      this.drop(from);
      return;
    }
    queue.underWay = Math.max(0, queue.underWay - count);
    this.#pump(queue);
  }

  /** Forgets what waits for a process that is gone. */
  drop(to: Address): void {
    if (this.#queues.delete(keyOf(to))) this.#emptied(to);
  }

  /** As `drop`, for all that `isGone` names. */
  dropAll(isGone: (to: Address) => boolean): void {
    for (const { to } of [...this.#queues.values()]) if (isGone(to)) this.drop(to);
  }

  #pump(queue: Queue): void {
    for (let message = queue.messages[0]; message; message = queue.messages[0]) {
      if (!this.#pumpMessage(queue, message)) return;
      queue.messages.shift();
      queue.sentBytes = 0;
    }
    this.#queues.delete(keyOf(queue.to));
    this.#emptied(queue.to);
  }

  /** Sends of a message what may be sent now; true when that was its end. */
  #pumpMessage(queue: Queue, message: OutgoingMessage): boolean {
    const { payload, flags } = message;
    if (payload.length <= PIECE_BYTES) {
      this.#send(message, flags, payload, false);
      return true;
    }
    while (payload.length - queue.sentBytes > PIECE_BYTES) {
      if (queue.underWay >= PIECES_AHEAD) return false;
      const piece = payload.subarray(queue.sentBytes, queue.sentBytes + PIECE_BYTES);
      const isFirst = queue.sentBytes === 0;
      queue.sentBytes += piece.length;
      queue.underWay++;
      const part = isFirst ? withSize(piece, payload.length) : piece;
      this.#send(message, flags | FLAG_MORE | (isFirst ? FLAG_FIRST : 0), part, true);
    }
    if (queue.underWay > 0) return false;
    this.#send(message, flags | FLAG_LAST, payload.subarray(queue.sentBytes), false);
    return true;
  }
}

function withSize(piece: Uint8Array, sizeBytes: number): Uint8Array {
  const part = new Uint8Array(SIZE_BYTES + piece.length);
  new DataView(part.buffer).setUint32(0, sizeBytes);
  part.set(piece, SIZE_BYTES);
  return part;
}

function keyOf({ node, slot }: Address): number {
  return node * 0x10000 + slot;
}
