// Puts the pieces of large messages together again.
import { MeshError } from "../errors.ts";
import { FLAG_FIRST, FLAG_LAST, FLAG_MORE, HEADER_BYTES, type Message } from "../wire/message.ts";
import { PIECE_BYTES } from "./outbox.ts";

/** The largest value one message may carry, in pieces. */
export const MESSAGE_LIMIT_BYTES = 2 * 1024 * 1024 * 1024 - 1;
/** Taken pieces are told of in so many at a time, and when only the last one is missing. */
const TOLD_AT_ONCE = 4;
/** Memory of messages up to this size is used again, of so many: new pages cost more than the copy into them. */
const SPARE_BYTES = 4 * 1024 * 1024;
const SPARES = 4;

interface Partial {
  /** Room for header and payload; memory that was not written yet costs nothing. */
  frame: Uint8Array;
  endBytes: number;
  filledBytes: number;
  /** Pieces that were taken and not told of. */
  untold: number;
}

export class Reassembly {
  /** By source, and then by the number of the transfer. */
  readonly #sources = new Map<number, Map<number, Partial>>();
  readonly #limitBytes: number;
  /** Of messages that were whole: each is done with when the next one begins. */
  readonly #spares: Uint8Array[] = [];

  constructor(limitBytes = MESSAGE_LIMIT_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Returns true when `message` is whole; it then holds all of the payload, until the next call. False: a piece was kept.
   * Throws PROTOCOL when pieces do not fit together or announce more than the limit.
   */
  add(message: Message): boolean {
    if ((message.flags & (FLAG_MORE | FLAG_LAST)) === 0) return true;
    const key = keyOf(message.fromNode, message.fromSlot);
    if (message.flags & FLAG_FIRST) this.#begin(key, message);
    const partials = this.#sources.get(key);
    const partial = partials?.get(message.transfer);
    if (!partials || !partial) return false; // its first piece was refused, or its sender is gone
    append(partial, message.payload);
    if (message.flags & FLAG_MORE) return false;
    partials.delete(message.transfer);
    if (partials.size === 0) this.#sources.delete(key);
    if (partial.filledBytes !== partial.endBytes) {
      throw new MeshError("PROTOCOL", "the pieces of a message are less than its first one said");
    }
    const { frame, endBytes } = partial;
    frame.set(message.frame.subarray(0, HEADER_BYTES));
    message.frame = frame.subarray(0, endBytes);
    message.mayKeep = frame.length > SPARE_BYTES;
    if (!message.mayKeep && this.#spares.push(frame) > SPARES) this.#spares.shift();
    return true;
  }

  /** After a piece was kept: how many its sender is to be told of now. What is not kept counts as taken. */
  takenOf({ flags, fromNode, fromSlot, transfer }: Message): number {
    if (!(flags & FLAG_MORE)) return 0;
    const partial = this.#sources.get(keyOf(fromNode, fromSlot))?.get(transfer);
    if (!partial) return 1;
    partial.untold++;
    const isLastMissing = partial.endBytes - partial.filledBytes <= PIECE_BYTES;
    if (partial.untold < TOLD_AT_ONCE && !isLastMissing) return 0;
    const { untold } = partial;
    partial.untold = 0;
    return untold;
  }

  /** Forgets what a process that is gone had begun. */
  forget(node: number, slot: number): void {
    this.#sources.delete(keyOf(node, slot));
  }

  /** As `forget`, for every process of a node. */
  forgetNode(node: number): void {
    for (const key of this.#sources.keys()) if (Math.floor(key / 0x10000) === node) this.#sources.delete(key);
  }

  #begin(key: number, { correlation: sizeBytes, transfer }: Message): void {
    this.#sources.get(key)?.delete(transfer);
    if (sizeBytes > this.#limitBytes) {
      throw new MeshError("PROTOCOL", `a message in pieces is over the limit of ${this.#limitBytes} bytes`);
    }
    const endBytes = HEADER_BYTES + sizeBytes;
    const partials = this.#sources.get(key) ?? new Map<number, Partial>();
    partials.set(transfer, { frame: this.#room(endBytes), endBytes, filledBytes: HEADER_BYTES, untold: 0 });
    this.#sources.set(key, partials);
  }

  #room(bytes: number): Uint8Array {
    const at = this.#spares.findIndex((spare) => spare.length >= bytes);
    return this.#spares.splice(at < 0 ? this.#spares.length : at, 1)[0] ?? new Uint8Array(bytes);
  }
}

function keyOf(node: number, slot: number): number {
  return node * 0x10000 + slot;
}

function append(partial: Partial, payload: Uint8Array): void {
  if (partial.filledBytes + payload.length > partial.endBytes) {
    throw new MeshError("PROTOCOL", "the pieces of a message are more than its first one said");
  }
  partial.frame.set(payload, partial.filledBytes);
  partial.filledBytes += payload.length;
}
