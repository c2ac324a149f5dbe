// Large messages on their way out: cut in pieces, a few of them under way at a time, and whatever is for the same
// process behind them, so that order is kept. Messages to other processes pass between the pieces.
//
// All pieces but the last may take another way than small messages do (the bulk lane). The last one goes the way of
// small messages, and only when all before it were taken: so it overtakes none and is overtaken by none. Pieces of the
// next large messages may go ahead meanwhile; their numbers tell them apart.
import { type Address, FLAG_FIRST, FLAG_LAST, FLAG_MORE } from "../wire/message.ts";

/** Larger payloads travel in pieces of this size: at 100 Mbit/s a small message waits 20 ms behind one. */
export const PIECE_BYTES = 256 * 1024;
/** Pieces that may be under way to one process. */
const PIECES_AHEAD = 16;
/** So many messages are looked at for pieces that may go ahead; each holds memory at the receiver. */
const MESSAGES_AHEAD = 4;
/**
 * Senders to one process are asked to wait from so much on, or so many messages. One large message at a time would leave
 * the link idle for the round trip before its last piece; with more ahead memory is cold, and all is slower again.
 */
const ROOM_BYTES = 2 * 1024 * 1024;
const ROOM_MESSAGES = 16;

export interface OutgoingMessage {
  to: Address;
  type: number;
  flags: number;
  mailbox: number;
  correlation: number;
  payload: Uint8Array;
}

/** One frame of a message: all of it, or a piece. */
export interface Part {
  flags: number;
  payload: Uint8Array;
  /** Of the message; of its first piece the size of the whole payload. */
  correlation: number;
  /** Of a piece: which transfer it belongs to. */
  transfer: number;
  /** Goes by the bulk lane. */
  isBulk: boolean;
}

interface Transfer {
  message: OutgoingMessage;
  number: number;
  sentBytes: number;
  /** Pieces that were sent and not taken yet. */
  underWay: number;
}

interface Queue {
  to: Address;
  /** In order; the first one's end is sent first. */
  transfers: Transfer[];
  underWay: number;
  /** Of all payloads. */
  sizeBytes: number;
  /** Its sender was asked to wait. */
  isFull: boolean;
}

export class Outbox {
  readonly #queues = new Map<number, Queue>();
  readonly #send: (message: OutgoingMessage, part: Part) => void;
  readonly #onRoom: (to: Address) => void;
  /** Goes on whatever queues come and go: the end of an earlier message may still be on its way. */
  #nextNumber = 0;

  /** `onRoom` hears when more may be added for a process, after an `add` that returned false. */
  constructor(send: (message: OutgoingMessage, part: Part) => void, onRoom: (to: Address) => void) {
    this.#send = send;
    this.#onRoom = onRoom;
  }

  /** Whether a message must go through here: it is large, or others to the same process wait. */
  takes(to: Address, sizeBytes: number): boolean {
    return sizeBytes > PIECE_BYTES || (this.#queues.size > 0 && this.#queues.has(keyOf(to)));
  }

  /** Takes a message; its payload must not change. False asks to wait for `onRoom`. */
  add(message: OutgoingMessage): boolean {
    const key = keyOf(message.to);
    const queue = this.#queues.get(key) ?? { to: message.to, transfers: [], underWay: 0, sizeBytes: 0, isFull: false };
    this.#queues.set(key, queue);
    queue.transfers.push({ message, number: this.#nextNumber, sentBytes: 0, underWay: 0 });
    queue.sizeBytes += message.payload.length;
    this.#nextNumber = (this.#nextNumber + 1) & 0xffff;
    if (queue.transfers.length <= MESSAGES_AHEAD) this.#pump(queue);
    queue.isFull = !hasRoom(queue);
    return !queue.isFull;
  }

  /** `count` pieces were taken by `from`, in the order they were sent; 0 says that it is gone. */
  granted(from: Address, count: number): void {
    const queue = this.#queues.get(keyOf(from));
    if (!queue) return;
    if (count === 0) {
      this.drop(from);
      return;
    }
    for (const transfer of queue.transfers) {
      const taken = Math.min(count, transfer.underWay);
      transfer.underWay -= taken;
      queue.underWay -= taken;
      count -= taken;
      if (count === 0) break;
    }
    this.#pump(queue);
  }

  /** Forgets what waits for a process that is gone. */
  drop(to: Address): void {
    if (this.#queues.delete(keyOf(to))) this.#onRoom(to);
  }

  /** As `drop`, for all that `isGone` names. */
  dropAll(isGone: (to: Address) => boolean): void {
    for (const { to } of [...this.#queues.values()]) if (isGone(to)) this.drop(to);
  }

  #pump(queue: Queue): void {
    const { transfers } = queue;
    for (let first = transfers[0]; first; first = transfers[0]) {
      this.#sendPieces(queue, first);
      if (remaining(first) > PIECE_BYTES || first.underWay > 0) break;
      transfers.shift();
      queue.sizeBytes -= first.message.payload.length;
      this.#sendEnd(first);
    }
    for (const transfer of transfers.slice(1, MESSAGES_AHEAD)) this.#sendPieces(queue, transfer);
    if (this.#queues.get(keyOf(queue.to)) !== queue) return;
    if (transfers.length === 0) this.#queues.delete(keyOf(queue.to));
    if (!queue.isFull || !hasRoom(queue)) return;
    queue.isFull = false;
    this.#onRoom(queue.to);
  }

  /** Sends pieces, but the last, as long as there may be more under way. */
  #sendPieces(queue: Queue, transfer: Transfer): void {
    const { message, number } = transfer;
    while (remaining(transfer) > PIECE_BYTES && queue.underWay < PIECES_AHEAD) {
      const isFirst = transfer.sentBytes === 0;
      const piece = message.payload.subarray(transfer.sentBytes, transfer.sentBytes + PIECE_BYTES);
      transfer.sentBytes += piece.length;
      transfer.underWay++;
      queue.underWay++;
      const correlation = isFirst ? message.payload.length : message.correlation;
      const flags = message.flags | FLAG_MORE | (isFirst ? FLAG_FIRST : 0);
      this.#send(message, { flags, payload: piece, correlation, transfer: number, isBulk: true });
    }
  }

  /** Sends the last piece, or all of a small message. */
  #sendEnd({ message, number, sentBytes }: Transfer): void {
    const isPiece = sentBytes > 0;
    const flags = message.flags | (isPiece ? FLAG_LAST : 0);
    const payload = message.payload.subarray(sentBytes);
    const { correlation } = message;
    this.#send(message, { flags, payload, correlation, transfer: isPiece ? number : 0, isBulk: false });
  }
}

function remaining({ message, sentBytes }: Transfer): number {
  return message.payload.length - sentBytes;
}

function hasRoom({ transfers, sizeBytes }: Queue): boolean {
  return sizeBytes < ROOM_BYTES && transfers.length < ROOM_MESSAGES;
}

function keyOf({ node, slot }: Address): number {
  return node * 0x10000 + slot;
}
