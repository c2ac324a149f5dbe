// Puts the pieces of large messages together again. A process sends one large message at a time to another, so the
// source alone tells which one a piece belongs to.
import { MeshError } from "../errors.ts";
import { FLAG_FIRST, FLAG_LAST, FLAG_MORE, HEADER_BYTES, type Message } from "../wire/message.ts";
import { SIZE_BYTES } from "./outbox.ts";

/** The largest value one message may carry, in pieces. */
export const MESSAGE_LIMIT_BYTES = 2 * 1024 * 1024 * 1024 - 1;

interface Partial {
  /** Header and payload; memory that was not written yet costs nothing. */
  frame: Uint8Array;
  filled: number;
}

export class Reassembly {
  readonly #partials = new Map<number, Partial>();
  readonly #limitBytes: number;

  constructor(limitBytes = MESSAGE_LIMIT_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Returns true when `message` is whole; it then holds all of the payload. False: a piece was kept.
   * Throws PROTOCOL when pieces do not fit together or announce more than the limit.
   */
  add(message: Message): boolean {
    if ((message.flags & (FLAG_MORE | FLAG_LAST)) === 0) return true;
    const key = message.fromNode * 0x10000 + message.fromSlot;
    if (message.flags & FLAG_FIRST) this.#begin(key, message);
    const partial = this.#partials.get(key);
    if (!partial) return false; // its first piece was refused, or its sender is gone
    append(partial, message.flags & FLAG_FIRST ? message.payload.subarray(SIZE_BYTES) : message.payload);
    if (message.flags & FLAG_MORE) return false;
    this.#partials.delete(key);
    if (partial.filled !== partial.frame.length) {
      throw new MeshError("PROTOCOL", "the pieces of a message are less than its first one said");
    }
    message.frame = partial.frame;
    return true;
  }

  /** Forgets what a process that is gone had begun. */
  forget(node: number, slot: number): void {
    this.#partials.delete(node * 0x10000 + slot);
  }

  /** As `forget`, for every process of a node. */
  forgetNode(node: number): void {
    for (const key of this.#partials.keys()) if (Math.floor(key / 0x10000) === node) this.#partials.delete(key);
  }

  #begin(key: number, { frame, payload }: Message): void {
    this.#partials.delete(key);
    if (payload.length < SIZE_BYTES) throw new MeshError("PROTOCOL", "the first piece of a message has no size");
    const sizeBytes = new DataView(payload.buffer, payload.byteOffset).getUint32(0);
    if (sizeBytes > this.#limitBytes) {
      throw new MeshError("PROTOCOL", `a message in pieces is over the limit of ${this.#limitBytes} bytes`);
    }
    const whole = new Uint8Array(HEADER_BYTES + sizeBytes);
    whole.set(frame.subarray(0, HEADER_BYTES));
    this.#partials.set(key, { frame: whole, filled: HEADER_BYTES });
  }
}

function append(partial: Partial, payload: Uint8Array): void {
  if (partial.filled + payload.length > partial.frame.length) {
    throw new MeshError("PROTOCOL", "the pieces of a message are more than its first one said");
  }
  partial.frame.set(payload, partial.filled);
  partial.filled += payload.length;
}
