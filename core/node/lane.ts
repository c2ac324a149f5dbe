// The way out over one link: keeps messages in order, cuts large ones in pieces, and waits when the link is full.
import type { Link } from "../transport.ts";
import { FLAG_MORE, HEADER_BYTES } from "../wire/message.ts";

/** Payloads over this size travel in several messages, so that no frame comes near the limit. */
export const PIECE_BYTES = 1024 * 1024;

interface Queued {
  header: Uint8Array;
  payload: Uint8Array;
}

export class Lane {
  readonly link: Link;
  #queue: Queued[] = [];
  #full = false;

  constructor(link: Link) {
    this.link = link;
  }

  /**
   * Sends a message, or queues it behind what waits. False: the caller should wait until `drained` returns true.
   * The header is copied when it must wait; the payload must not change until it is sent.
   */
  send(header: Uint8Array, payload: Uint8Array): boolean {
    if (this.#queue.length === 0 && !this.#full && payload.length <= PIECE_BYTES) {
      this.#full = !this.link.send(header, payload);
      return !this.#full;
    }
    this.#queue.push({ header: header.slice(), payload });
    if (!this.#full) this.#pump();
    return !this.#full && this.#queue.length === 0;
  }

  /** Passes on a whole frame that is for somebody else. */
  forward(frame: Uint8Array): boolean {
    return this.send(frame.subarray(0, HEADER_BYTES), frame.slice(HEADER_BYTES));
  }

  /** The link can take more; true when nothing waits any longer. */
  drained(): boolean {
    this.#full = false;
    this.#pump();
    return !this.#full && this.#queue.length === 0;
  }

  #pump(): void {
    while (!this.#full) {
      const next = this.#queue[0];
      if (!next) return;
      const piece = next.payload.subarray(0, PIECE_BYTES);
      next.payload = next.payload.subarray(piece.length);
      const last = next.payload.length === 0;
      const flags = next.header[1]!;
      if (!last) next.header[1] = flags | FLAG_MORE;
      this.#full = !this.link.send(next.header, piece);
      next.header[1] = flags;
      if (last) this.#queue.shift();
    }
  }
}
