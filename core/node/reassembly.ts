// Puts the pieces of large messages together again.
import { MeshError } from "../errors.ts";
import { FLAG_FIRST, FLAG_LAST, FLAG_MORE, HEADER_BYTES, type Message } from "../wire/message.ts";
import { messageTypeName } from "../wire/message-types.ts";
import { NO_LIMITS, type SizeLimits } from "../wire/size-limits.ts";
import { PIECE_BYTES } from "./outbox.ts";

/** Taken pieces are told of in so many at a time, and when only the last one is missing. */
const TOLD_AT_ONCE = 4;
/** Memory of messages up to this size is used again, of so many: new pages cost more than the copy into them. */
const SPARE_BYTES = 4 * 1024 * 1024;
const SPARES = 4;
/** What a message that has come in part counts at least: so that many small ones are bounded too. */
const LEAST_BYTES = 4 * 1024;

interface Partial {
  /** Room for header and payload; memory that was not written yet costs nothing. Of a refused one there is none. */
  frame: Uint8Array | undefined;
  endBytes: number;
  filledBytes: number;
  /** Pieces that were taken and not told of. */
  untold: number;
}

export class Reassembly {
  /** By source, and then by the number of the transfer. */
  readonly #sources = new Map<number, Map<number, Partial>>();
  /** Of messages that were whole: each is done with when the next one begins. */
  readonly #spares: Uint8Array[] = [];
  /** What has begun of each node's messages, in bytes. */
  readonly #begunBytes = new Map<number, number>();

  /**
   * Returns true when `message` is whole; it then holds all of the payload, until the next call. False: a piece was kept.
   * Throws PROTOCOL when pieces do not fit together, and with the last piece FRAME_TOO_LARGE for a message that is over
   * the limits; nothing is kept of that.
   */
  add(message: Message, limits: SizeLimits = NO_LIMITS): boolean {
    if ((message.flags & (FLAG_MORE | FLAG_LAST)) === 0) return true;
    const key = keyOf(message.fromNode, message.fromSlot);
    if (message.flags & FLAG_FIRST) this.#begin(key, message, limits);
    const partials = this.#sources.get(key);
    const partial = partials?.get(message.transfer);
    if (!partials || !partial) return false; // its first piece was refused, or its sender is gone
    if (partial.filledBytes + message.payload.length > partial.endBytes) {
      this.#end(key, message.transfer);
      throw new MeshError("PROTOCOL", "the pieces of a message are more than its first one said");
    }
    append(partial, message.payload);
    if (message.flags & FLAG_MORE) return false;
    this.#end(key, message.transfer);
    if (!partial.frame) throw tooLarge(message.type, partial.endBytes - HEADER_BYTES);
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
    const key = keyOf(node, slot);
    for (const transfer of this.#sources.get(key)?.keys() ?? []) this.#end(key, transfer);
  }

  /** As `forget`, for every process of a node. */
  forgetNode(node: number): void {
    for (const key of this.#sources.keys()) if (nodeOf(key) === node) this.#sources.delete(key);
    this.#begunBytes.delete(node);
  }

  #begin(key: number, { correlation: sizeBytes, transfer }: Message, limits: SizeLimits): void {
    this.#end(key, transfer);
    const begun = this.#begunBytes.get(nodeOf(key)) ?? 0;
    const isAllowed = sizeBytes <= limits.message && begun + sizeBytes <= limits.total;
    const endBytes = HEADER_BYTES + sizeBytes;
    const frame = isAllowed ? this.#room(endBytes) : undefined;
    const partial: Partial = { frame, endBytes, filledBytes: HEADER_BYTES, untold: 0 };
    if (begun + costOf(partial) > limits.total) return; // not even that it was refused is remembered
    const partials = this.#sources.get(key) ?? new Map<number, Partial>();
    partials.set(transfer, partial);
    this.#sources.set(key, partials);
    this.#begunBytes.set(nodeOf(key), begun + costOf(partial));
  }

  #end(key: number, transfer: number): void {
    const partials = this.#sources.get(key);
    const partial = partials?.get(transfer);
    if (!partials || !partial) return;
    partials.delete(transfer);
    if (partials.size === 0) this.#sources.delete(key);
    const left = this.#begunBytes.get(nodeOf(key))! - costOf(partial);
    if (left > 0) this.#begunBytes.set(nodeOf(key), left);
    else this.#begunBytes.delete(nodeOf(key));
  }

  #room(bytes: number): Uint8Array {
    const at = this.#spares.findIndex((spare) => spare.length >= bytes);
    return this.#spares.splice(at < 0 ? this.#spares.length : at, 1)[0] ?? new Uint8Array(bytes);
  }
}

function keyOf(node: number, slot: number): number {
  return node * 0x10000 + slot;
}

function nodeOf(key: number): number {
  return Math.floor(key / 0x10000);
}

function costOf({ frame, endBytes }: Partial): number {
  return Math.max(LEAST_BYTES, frame ? endBytes : 0);
}

function tooLarge(type: number, sizeBytes: number): MeshError {
  const message = `a message ${messageTypeName(type)} of ${sizeBytes} bytes is larger than this node takes`;
  return new MeshError("FRAME_TOO_LARGE", message);
}

function append(partial: Partial, payload: Uint8Array): void {
  partial.frame?.set(payload, partial.filledBytes);
  partial.filledBytes += payload.length;
}
