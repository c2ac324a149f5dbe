// Buffers in which small messages are written, header and payload in one.
import { HEADER_BYTES } from "../wire/message.ts";

/** The largest payload of a draft. */
export const DRAFT_LIMIT_BYTES = 1024;

/** A message being written: the payload begins at HEADER_BYTES, the header is written when it is sent. */
export interface Draft {
  /** Exactly header and payload. */
  readonly bytes: Uint8Array;
  /** Of the same memory, for numbers. */
  readonly view: DataView;
}

/** One piece of memory and its views by length, made once: a new view costs more than a small message. */
export class Drafts {
  readonly #memory = new ArrayBuffer(HEADER_BYTES + DRAFT_LIMIT_BYTES);
  readonly #view = new DataView(this.#memory);
  readonly #drafts: (Draft | undefined)[] = [];

  /** All drafts share the memory: one at a time. Throws a RangeError above DRAFT_LIMIT_BYTES. */
  get(payloadBytes: number): Draft {
    const known = this.#drafts[payloadBytes];
    if (known) return known;
    const draft = { bytes: new Uint8Array(this.#memory, 0, HEADER_BYTES + payloadBytes), view: this.#view };
    this.#drafts[payloadBytes] = draft;
    return draft;
  }
}
