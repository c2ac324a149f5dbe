// Frames in the order they came, packed into segments of memory: no object for a frame. A session keeps here what its
// peer has not confirmed, and what came in while its owner wants nothing.
//
// In a segment, each frame is its length (u32, big-endian) and its bytes, one after the other.
import { FRAME_COST_BYTES } from "./machine/window.ts";

/** Sizes of segments: the smallest that holds the frame is taken. The largest holds a piece of a large message. */
const SIZES = [64 * 1024, 256 * 1024, 1024 * 1024 + 4 * 1024] as const;
/** A body from here on is not copied. */
const KEPT_BODY_BYTES = 64 * 1024;

interface Segment {
  bytes: Uint8Array;
  /** Of a segment that is one large frame: what follows `bytes`, where its sender left it. */
  body: Uint8Array | undefined;
  usedBytes: number;
  frames: number;
  next: Segment | undefined;
}

/** Memory of each size that is used again, so that a stream of frames makes no garbage; shared by all sessions. */
const spare: Uint8Array[][] = SIZES.map(() => []);
/** So much memory of each size is kept when nobody needs it. */
const SPARE_BYTES = 4 * 1024 * 1024;

function takeMemory(bytes: number): Uint8Array {
  const kind = SIZES.findIndex((size) => bytes <= size);
  return spare[kind]?.pop() ?? new Uint8Array(SIZES[kind] ?? bytes);
}

function giveMemory(memory: Uint8Array): void {
  const list = spare[(SIZES as readonly number[]).indexOf(memory.length)];
  if (list && list.length * memory.length < SPARE_BYTES) list.push(memory);
}

export class FrameStore {
  /** Frames that were ever added. */
  frames = 0;
  /** Their bytes, FRAME_COST_BYTES for each included. */
  bytes = 0;
  /** Memory in use. */
  heldBytes = 0;
  /** Where the frame lies to which `next` went: in `at` from `start` to before `end`. Valid until the store changes. */
  at: Uint8Array = NOTHING;
  start = 0;
  end = 0;
  /** The rest of that frame, if it was kept where its sender left it. */
  body: Uint8Array | undefined;

  #first: Segment | undefined;
  #last: Segment | undefined;
  /** Number and bytes of all frames before the first segment. */
  #goneFrames = 0;
  #goneBytes = 0;
  // The cursor: what was read so far.
  #segment: Segment | undefined;
  #offset = 0;
  #readFrames = 0;
  #readBytes = 0;

  /** Adds a frame: a copy of `head` and `body`, one after the other; a large body is kept as it is, and must not change. */
  add(head: Uint8Array, body?: Uint8Array): void {
    const headBytes = head.length;
    if (body && body.length >= KEPT_BODY_BYTES) {
      this.#addKept(head, body);
      return;
    }
    const size = body ? headBytes + body.length : headBytes;
    const segment = this.#room(FRAME_COST_BYTES + size);
    const { bytes } = segment;
    const at = segment.usedBytes;
    writeLength(bytes, at, size);
    bytes.set(head, at + FRAME_COST_BYTES);
    if (body) bytes.set(body, at + FRAME_COST_BYTES + headBytes);
    segment.usedBytes = at + FRAME_COST_BYTES + size;
    segment.frames++;
    this.frames++;
    this.bytes += FRAME_COST_BYTES + size;
  }

  #addKept(head: Uint8Array, body: Uint8Array): void {
    const size = head.length + body.length;
    const bytes = new Uint8Array(FRAME_COST_BYTES + head.length);
    writeLength(bytes, 0, size);
    bytes.set(head, FRAME_COST_BYTES);
    this.#append({ bytes, body, usedBytes: bytes.length + body.length, frames: 1, next: undefined });
    this.frames++;
    this.bytes += FRAME_COST_BYTES + size;
  }

  /** Adds the frame that lies in `bytes` from `start` to before `end`. */
  addSpan(bytes: Uint8Array, start: number, end: number): void {
    this.add(bytes.subarray(start, end));
  }

  /** Frames that were read. */
  get readFrames(): number {
    return this.#readFrames;
  }

  /** Bytes that were read, FRAME_COST_BYTES for each frame included. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Goes to the next frame; false at the end. */
  next(): boolean {
    if (this.#readFrames === this.frames) return false;
    let segment = this.#segment ?? this.#first!;
    if (this.#offset === segment.usedBytes) {
      segment = segment.next!;
      this.#offset = 0;
    }
    this.#segment = segment;
    const start = this.#offset + FRAME_COST_BYTES;
    const length = readLength(segment.bytes, this.#offset);
    this.at = segment.bytes;
    this.start = start;
    this.end = start + length - (segment.body?.length ?? 0);
    this.body = segment.body;
    this.#offset = start + length;
    this.#readFrames++;
    this.#readBytes += length + FRAME_COST_BYTES;
    return true;
  }

  /** Counts all frames as read. */
  readAll(): void {
    this.#segment = this.#last;
    this.#offset = this.#last?.usedBytes ?? 0;
    this.#readFrames = this.frames;
    this.#readBytes = this.bytes;
  }

  /** Lets `next` go on with frame number `frame`, counted from 0; it must not have been released. */
  rewind(frame: number): void {
    this.#segment = this.#first;
    this.#offset = 0;
    this.#readFrames = this.#goneFrames;
    this.#readBytes = this.#goneBytes;
    if (frame < this.#readFrames) throw new Error(`frame ${frame} is gone, the first left is ${this.#readFrames}`);
    while (this.#segment && this.#readFrames + this.#segment.frames <= frame) {
      this.#readFrames += this.#segment.frames;
      this.#readBytes += this.#segment.usedBytes;
      this.#offset = this.#segment.usedBytes;
      if (!this.#segment.next) break;
      this.#segment = this.#segment.next;
      this.#offset = 0;
    }
    while (this.#readFrames < frame && this.next());
  }

  /** Forgets the first `frames` frames ever added, as far as whole segments go. They must have been read. */
  release(frames: number): void {
    while (this.#first && this.#goneFrames + this.#first.frames <= frames) {
      const segment = this.#first;
      if (segment === this.#last) this.#last = undefined;
      if (segment === this.#segment) this.#dropCursor();
      this.#first = segment.next;
      this.#goneFrames += segment.frames;
      this.#goneBytes += segment.usedBytes;
      this.heldBytes -= memoryOf(segment);
      if (!segment.body) giveMemory(segment.bytes);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.readAll();
    this.release(this.frames);
  }

  /** The segment of the cursor goes, all of it read: the next frame is the first of what is left. */
  #dropCursor(): void {
    this.#segment = undefined;
    this.#offset = 0;
    this.at = NOTHING;
    this.body = undefined;
  }

  #room(bytes: number): Segment {
    const last = this.#last;
    if (last && !last.body && last.usedBytes + bytes <= last.bytes.length) return last;
    return this.#append({ bytes: takeMemory(bytes), body: undefined, usedBytes: 0, frames: 0, next: undefined });
  }

  #append(segment: Segment): Segment {
    this.heldBytes += memoryOf(segment);
    if (this.#last) this.#last.next = segment;
    else this.#first = segment;
    this.#last = segment;
    return segment;
  }
}

function memoryOf({ bytes, body }: Segment): number {
  return bytes.length + (body?.length ?? 0);
}

const NOTHING = new Uint8Array(0);

function writeLength(bytes: Uint8Array, at: number, length: number): void {
  bytes[at] = length >>> 24;
  bytes[at + 1] = length >>> 16;
  bytes[at + 2] = length >>> 8;
  bytes[at + 3] = length;
}

function readLength(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}
