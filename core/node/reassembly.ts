// Puts the pieces of large messages together again.
import { MeshError } from "../errors.ts";
import { FLAG_MORE, HEADER_BYTES, type Message } from "../wire/message.ts";

/** The largest value one message may carry, in pieces. */
export const MESSAGE_LIMIT_BYTES = 2 * 1024 * 1024 * 1024 - 1;

interface Partial {
  pieces: Uint8Array[];
  sizeBytes: number;
}

export class Reassembly {
  readonly #partials = new Map<string, Partial>();
  readonly #limitBytes: number;

  constructor(limitBytes = MESSAGE_LIMIT_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Returns true when `message` is whole; it then holds all of the payload. False: a piece was kept.
   * Throws PROTOCOL when the pieces of one message are over the limit.
   */
  add(message: Message): boolean {
    const more = (message.flags & FLAG_MORE) !== 0;
    if (!more && this.#partials.size === 0) return true;
    const { fromNode, fromSlot, mailbox, correlation, type } = message;
    const key = `${fromNode}/${fromSlot}/${mailbox}/${correlation}/${type}`;
    const partial = this.#partials.get(key) ?? { pieces: [], sizeBytes: 0 };
    if (!more && partial.pieces.length === 0) return true;
    partial.sizeBytes += message.payload.length;
    if (partial.sizeBytes > this.#limitBytes) {
      this.#partials.delete(key);
      throw new MeshError("PROTOCOL", `a message in pieces is over the limit of ${this.#limitBytes} bytes`);
    }
    if (more) {
      partial.pieces.push(message.payload.slice());
      this.#partials.set(key, partial);
      return false;
    }
    this.#partials.delete(key);
    const header = message.frame.subarray(0, HEADER_BYTES);
    message.frame = Buffer.concat([header, ...partial.pieces, message.payload], HEADER_BYTES + partial.sizeBytes);
    return true;
  }

  /** Forgets what a process that is gone had begun. */
  forget(node: number, slot: number): void {
    for (const key of this.#partials.keys()) {
      if (key.startsWith(`${node}/${slot}/`)) this.#partials.delete(key);
    }
  }
}
