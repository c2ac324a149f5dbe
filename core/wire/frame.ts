// Frames on a byte stream: how TCP and Unix-socket links find where one frame ends and the next begins.
//
//   0                    4
//   +--------------------+---------------------------+
//   | length (u32, BE)   | that many bytes           |
//   +--------------------+---------------------------+
//
// length counts the bytes after itself: 1 to FRAME_LIMIT_BYTES. Anything else ends the link.
import { MeshError } from "../errors.ts";
import { FRAME_LIMIT_BYTES } from "../transport.ts";
import { BUFFER_SIZES, giveBuffer, takeBuffer } from "./buffers.ts";

export const FRAME_HEAD_BYTES = 4;

/** Writes the length of a frame of `sizeBytes`, checked before, at `offset`. */
export function writeFrameHead(target: Uint8Array, offset: number, sizeBytes: number): void {
  target[offset] = sizeBytes >>> 24;
  target[offset + 1] = sizeBytes >>> 16;
  target[offset + 2] = sizeBytes >>> 8;
  target[offset + 3] = sizeBytes;
}

/** Throws unless a frame of this size may be sent. */
export function checkFrameSize(sizeBytes: number): void {
  if (sizeBytes === 0) throw new Error("a frame has at least one byte");
  if (sizeBytes > FRAME_LIMIT_BYTES) {
    throw new MeshError("FRAME_TOO_LARGE", `a frame of ${sizeBytes} bytes is over the limit of ${FRAME_LIMIT_BYTES}`);
  }
}

function readLength(bytes: Uint8Array, offset: number, limit: number): number {
  const length =
    bytes[offset]! * 0x1000000 + ((bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!);
  if (length >= 1 && length <= limit) return length;
  throw new MeshError("PROTOCOL", `a peer announced a frame of ${length} bytes; allowed are 1 to ${limit}`);
}

/** Takes a frame that lies in `bytes` from `start` to before `end`; valid during the call. */
export type TakeSpan = (bytes: Uint8Array, start: number, end: number) => void;

const NOTHING = new Uint8Array(0);

/**
 * Cuts a stream of bytes into frames. Frames that lie whole in one chunk are handed on without a copy.
 * Memory stays under one frame plus one chunk, and grows with the bytes that came, not with the length announced.
 */
export class FrameReader {
  #held: Uint8Array = NOTHING;
  #heldBytes = 0;
  #limit: number;

  /** `limitBytes`: of one frame. */
  constructor(limitBytes: number = FRAME_LIMIT_BYTES) {
    this.#limit = limitBytes;
  }

  /** Calls `frame` for each whole frame; the bytes are valid during that call. Throws PROTOCOL on a bad length. */
  push(chunk: Uint8Array, frame: (frame: Uint8Array) => void): void {
    this.pushSpans(chunk, (bytes, start, end) => frame(bytes.subarray(start, end)));
  }

  /** As `push`, but says where a frame lies instead of making a view of it, which costs more than a small frame. */
  pushSpans(chunk: Uint8Array, span: TakeSpan): void {
    let offset = 0;
    if (this.#heldBytes > 0) {
      offset = this.#completeHeld(chunk, span);
      if (offset < 0) return;
    }
    offset = this.#cutFrames(chunk, offset, span);
    if (offset < chunk.length) this.#hold(chunk.subarray(offset));
  }

  /** Forgets what it holds. */
  clear(): void {
    giveBuffer(this.#held);
    this.#held = NOTHING;
    this.#heldBytes = 0;
  }

  /** `limitBytes`: of one frame, of those that have not begun. */
  setLimit(limitBytes: number): void {
    this.#limit = limitBytes;
  }

  /** Bytes of a frame that has not come whole. */
  get pendingBytes(): number {
    return this.#heldBytes;
  }

  /** Finishes the held frame from the chunk; returns how much of it that took, or -1 when it is not whole yet. */
  #completeHeld(chunk: Uint8Array, span: TakeSpan): number {
    let taken = 0;
    if (this.#heldBytes < FRAME_HEAD_BYTES) {
      taken = Math.min(FRAME_HEAD_BYTES - this.#heldBytes, chunk.length);
      this.#hold(chunk.subarray(0, taken));
      if (this.#heldBytes < FRAME_HEAD_BYTES) return -1;
    }
    const wanted = FRAME_HEAD_BYTES + readLength(this.#held, 0, this.#limit) - this.#heldBytes;
    const part = chunk.subarray(taken, taken + wanted);
    this.#hold(part);
    if (part.length < wanted) return -1;
    this.#handOn(span);
    return taken + wanted;
  }

  #handOn(span: TakeSpan): void {
    const whole = this.#held;
    const end = this.#heldBytes;
    this.#heldBytes = 0;
    if (whole.length > KEEP_BYTES) this.#held = NOTHING;
    span(whole, FRAME_HEAD_BYTES, end);
    giveBuffer(whole);
  }

  #hold(bytes: Uint8Array): void {
    const size = this.#heldBytes + bytes.length;
    if (this.#held.length < size) this.#grow(size, bytes);
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes = size;
  }

  #grow(size: number, bytes: Uint8Array): void {
    const before = this.#held;
    const start = this.#heldBytes > 0 ? before.subarray(0, this.#heldBytes) : bytes;
    const isKnown = start.length >= FRAME_HEAD_BYTES;
    const wanted = isKnown ? FRAME_HEAD_BYTES + readLength(start, 0, this.#limit) : size;
    this.#held = roomFor(size, wanted);
    this.#held.set(before.subarray(0, this.#heldBytes));
    giveBuffer(before);
  }

  /** Hands on every whole frame from `offset`; returns where the first incomplete one begins. */
  #cutFrames(chunk: Uint8Array, offset: number, span: TakeSpan): number {
    let start = offset;
    while (chunk.length - start >= FRAME_HEAD_BYTES) {
      const end = start + FRAME_HEAD_BYTES + readLength(chunk, start, this.#limit);
      if (end > chunk.length) break;
      span(chunk, start + FRAME_HEAD_BYTES, end);
      start = end;
    }
    return start;
  }
}

// A reader keeps this much between frames; larger buffers are shared by all of them.
const KEEP_BYTES = 4 * 1024;
// Room is made for at most so many times what came.
const GENEROSITY = 16;

/** A buffer for `size` bytes that came of a frame of `wanted`. */
function roomFor(size: number, wanted: number): Uint8Array {
  if (size <= KEEP_BYTES) return new Uint8Array(Math.min(wanted, 2 * size, KEEP_BYTES));
  const fitting = BUFFER_SIZES.filter((room) => room >= size && room <= GENEROSITY * size);
  const room = fitting.find((each) => each >= wanted) ?? fitting.at(-1) ?? Math.min(wanted, 2 * size);
  return takeBuffer(room);
}
