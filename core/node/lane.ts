// The way out over one link: keeps messages in order, and keeps what the link cannot take yet.
import type { Link } from "../transport.ts";

interface Queued {
  header: Uint8Array;
  payload: Uint8Array;
}

export class Lane {
  readonly link: Link;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #full = false;

  constructor(link: Link) {
    this.link = link;
  }

  /** Bytes that wait for the link. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * Sends a message, or queues it behind what waits. False: the caller should wait until `drained` returns true.
   * The header is copied when it must wait; the payload must not change until it is sent.
   */
  send(header: Uint8Array, payload: Uint8Array): boolean {
    if (!this.#full) {
      this.#full = !this.link.send(header, payload);
      return !this.#full;
    }
    this.#keep(header.slice(), payload);
    return false;
  }

  /** Passes on a frame that lies in `bytes` from `start` to before `end`; the bytes are free again afterwards. */
  forward(bytes: Uint8Array, start: number, end: number): boolean {
    const frame = bytes.subarray(start, end);
    if (!this.#full) {
      this.#full = !this.link.send(frame);
      return !this.#full;
    }
    this.#keep(frame.slice(), NOTHING);
    return false;
  }

  /** The link can take more; true when nothing waits any longer. */
  drained(): boolean {
    this.#full = false;
    while (!this.#full) {
      const next = this.#queue.shift();
      if (!next) return true;
      this.#queuedBytes -= next.header.length + next.payload.length;
      this.#full = !this.link.send(next.header, next.payload);
    }
    return false;
  }

  #keep(header: Uint8Array, payload: Uint8Array): void {
    this.#queue.push({ header, payload });
    this.#queuedBytes += header.length + payload.length;
  }
}

const NOTHING = new Uint8Array(0);
