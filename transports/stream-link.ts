// A Link over a stream of bytes: what all transports but memory share.

import { MeshError } from "../core/errors.ts";
import type { Link, LinkCertificates, LinkHandler } from "../core/transport.ts";
import { giveBuffer, takeBuffer } from "../core/wire/buffers.ts";
import {
  checkFrameSize,
  FRAME_HEAD_BYTES,
  FrameReader,
  type FrameReader as Reader,
  writeFrameHead,
} from "../core/wire/frame.ts";

/** What one call to the kernel carries at best; small frames are gathered up to here. */
const GATHER_BYTES = 64 * 1024;
/** A link that has nothing to send needs no buffer. */
const NOTHING_GATHERED = new Uint8Array(0);
/** A frame body from here on is written from where it lies instead of being copied into the gathering buffer. */
const DIRECT_BYTES = 32 * 1024;
/** `send` asks its caller to wait when this much lies unsent. */
const HIGH_WATER_BYTES = 1024 * 1024;

/** What carries the bytes: one of Bun's stream sockets, or what behaves as one. */
export interface StreamSocket {
  /** How many of `size` bytes from `start` it took; the link's `drained` is called when it takes more. */
  write(bytes: Uint8Array, start: number, size: number): number;
  pause(): void;
  resume(): void;
  ref(): void;
  unref(): void;
  /** See Link. */
  probe?(): void;
  /** Sends what was taken, then ends. */
  end(): void;
  terminate(): void;
}

type BunSocket = Bun.Socket<StreamLink>;
/** Bytes of this link's own that the kernel has not taken. */
interface Unsent {
  bytes: Uint8Array;
  start: number;
  end: number;
}
/** `hasHeard`: whether the peer ever sent anything. */
type Explain = (label: string, error: Error, hasHeard: boolean) => MeshError;

/**
 * Gathers the frames of one turn of the event loop into few writes: one write per frame caps every runtime at some
 * 200,000 frames a second. Nothing waits: what was sent goes out before the loop turns.
 */
export class StreamLink implements Link {
  readonly label: string;
  tls?: LinkCertificates;
  readonly #explain: Explain;
  #socket: StreamSocket | undefined;
  #handler: LinkHandler | undefined;
  #reader: Reader = new FrameReader();
  #held: Uint8Array[] = []; // came before the handler, or while paused
  #heldBytes = 0;
  #gathered: Uint8Array = NOTHING_GATHERED;
  #gatheredBytes = 0;
  #unsent: Unsent[] = [];
  #unsentBytes = 0;
  #flushing = false;
  #wantsDrained = false;
  #closing = false;
  #broken = false;
  #hasHeard = false;
  #ended = false;
  #told = false;
  #paused = false;
  #error: Error | undefined;

  /** `explain` turns an error of the socket into the one that `closed` gets. */
  constructor(label: string, explain: Explain = linkClosed) {
    this.label = label;
    this.#explain = explain;
  }

  /** Bytes that came and wait for the handler. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  limitFrames(limitBytes: number): void {
    this.#reader.setLimit(limitBytes);
  }

  attach(handler: LinkHandler): void {
    this.#handler = handler;
    this.#deliverHeld();
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.#ended || this.#closing) return true;
    const bodyBytes = body?.length ?? 0;
    const size = head.length + bodyBytes;
    checkFrameSize(size);
    const copied = bodyBytes < DIRECT_BYTES ? size : head.length;
    if (this.#gatheredBytes + FRAME_HEAD_BYTES + copied > this.#gathered.length)
      this.#makeRoom(FRAME_HEAD_BYTES + copied);
    const at = this.#gatheredBytes;
    writeFrameHead(this.#gathered, at, size);
    this.#gathered.set(head, at + FRAME_HEAD_BYTES);
    if (body && copied === size) this.#gathered.set(body, at + FRAME_HEAD_BYTES + head.length);
    this.#gatheredBytes = at + FRAME_HEAD_BYTES + copied;
    if (body && copied !== size) {
      this.#flush();
      this.#writeBody(body);
    } else if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(this.#flushLater);
    }
    if (this.#unsentBytes < HIGH_WATER_BYTES) return true;
    this.#wantsDrained = true;
    return false;
  }

  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#deliverHeld();
  }

  setRef(keepsProcess: boolean): void {
    if (keepsProcess) this.#socket?.ref();
    else this.#socket?.unref();
  }

  probe(): void {
    this.#socket?.probe?.();
  }

  close(): void {
    if (this.#closing || this.#ended) return;
    this.#flush();
    this.#closing = true;
    this.#endWhenSent();
  }

  destroy(error: Error): void {
    this.#error ??= error;
    this.#held = [];
    this.#heldBytes = 0;
    this.#reader.clear();
    this.#broken = true;
    this.#end();
    this.#socket?.terminate();
  }

  readonly #flushLater = (): void => {
    this.#flushing = false;
    this.#flush();
  };

  #makeRoom(bytes: number): void {
    this.#flush();
    this.#gathered = takeBuffer(Math.max(bytes, GATHER_BYTES));
  }

  #flush(): void {
    const end = this.#gatheredBytes;
    if (end === 0) return;
    if (this.#appendToUnsent(end)) return;
    const bytes = this.#gathered;
    this.#gathered = NOTHING_GATHERED;
    this.#gatheredBytes = 0;
    const taken = this.#write(bytes, end);
    if (taken === end) giveBuffer(bytes);
    else this.#keep(bytes, taken, end);
  }

  /** While the kernel takes nothing, what is gathered goes behind what waits, if there is room: small frames fill buffers. */
  #appendToUnsent(end: number): boolean {
    const last = this.#unsent.at(-1);
    if (!last || last.end + end > last.bytes.length) return false;
    last.bytes.set(this.#gathered.subarray(0, end), last.end);
    last.end += end;
    this.#unsentBytes += end;
    this.#gatheredBytes = 0;
    return true;
  }

  /** Writes bytes that stay the caller's: what the kernel does not take is copied. */
  #writeBody(body: Uint8Array): void {
    const taken = this.#write(body, body.length);
    if (taken === body.length) return;
    const rest = takeBuffer(body.length - taken);
    rest.set(body.subarray(taken));
    this.#keep(rest, 0, body.length - taken);
  }

  /** How much of the first `size` bytes the kernel took. */
  #write(bytes: Uint8Array, size: number): number {
    if (this.#ended || !this.#socket) return size;
    return this.#unsent.length > 0 ? 0 : Math.max(0, this.#socket.write(bytes, 0, size));
  }

  #keep(bytes: Uint8Array, start: number, end: number): void {
    if (this.#ended) return;
    this.#unsent.push({ bytes, start, end });
    this.#unsentBytes += end - start;
  }

  #deliver(bytes: Uint8Array): void {
    if (!this.#handler || this.#paused || this.#held.length > 0) this.#hold(bytes);
    else this.#read(bytes);
  }

  /** A peer that sends much before anybody listens here has to wait. */
  #hold(bytes: Uint8Array): void {
    this.#held.push(bytes.slice());
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > HIGH_WATER_BYTES) this.#socket?.pause();
  }

  #deliverHeld(): void {
    if (!this.#handler) return;
    while (!this.#paused && this.#held.length > 0) {
      const bytes = this.#held.shift()!;
      this.#heldBytes -= bytes.length;
      this.#read(bytes);
    }
    if (!this.#paused) this.#socket?.resume();
    this.#tellEnd();
  }

  #read(bytes: Uint8Array): void {
    try {
      this.#reader.pushSpans(bytes, this.#onSpan);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  readonly #onSpan = (bytes: Uint8Array, start: number, end: number): void => {
    const handler = this.#handler;
    if (this.#broken || !handler) return;
    if (handler.span) handler.span(bytes, start, end);
    else handler.frame(bytes.subarray(start, end));
  };

  #endWhenSent(): void {
    if (this.#unsent.length === 0 && this.#closing) this.#socket?.end();
  }

  #end(): void {
    this.#ended = true;
    for (const { bytes } of this.#unsent.splice(0)) giveBuffer(bytes);
    this.#unsentBytes = 0;
    giveBuffer(this.#gathered);
    this.#gathered = NOTHING_GATHERED;
    this.#gatheredBytes = 0;
    this.#tellEnd();
  }

  #tellEnd(): void {
    if (!this.#ended || this.#told || !this.#handler || this.#held.length > 0) return;
    this.#told = true;
    if (this.#reader.pendingBytes > 0 && !this.#closing) {
      this.#error ??= new MeshError("LINK_CLOSED", `${this.label} ended in the middle of a frame`);
    }
    this.#reader.clear();
    this.#handler.closed(this.#error);
  }

  // What the socket tells; see streamHandlers.

  opened(socket: StreamSocket): void {
    this.#socket = socket;
    if (this.#paused) socket.pause();
  }

  /** As `opened`, when TLS has ended. Ends the link on a frame of over `frameLimitBytes`. */
  secured(socket: StreamSocket, certificates: LinkCertificates, frameLimitBytes?: number): void {
    this.tls = certificates;
    this.#reader = new FrameReader(frameLimitBytes);
    this.opened(socket);
  }

  received(bytes: Uint8Array): void {
    this.#hasHeard = true;
    this.#deliver(bytes);
  }

  drained(): void {
    while (this.#unsent.length > 0 && this.#socket) {
      const next = this.#unsent[0]!;
      const taken = Math.max(0, this.#socket.write(next.bytes, next.start, next.end - next.start));
      if (this.#ended) return;
      this.#unsentBytes -= taken;
      next.start += taken;
      if (next.start < next.end) return;
      this.#unsent.shift();
      giveBuffer(next.bytes);
    }
    this.#endWhenSent();
    if (!this.#wantsDrained) return;
    this.#wantsDrained = false;
    this.#handler?.drained();
  }

  ended(error?: Error): void {
    if (error && !this.#ended) this.#error ??= this.#explain(this.label, error, this.#hasHeard);
    this.#end();
  }
}

function linkClosed(label: string, error: Error): MeshError {
  return new MeshError("LINK_CLOSED", `${label}: ${error.message}`, { cause: error });
}

/** The handlers that make a Bun socket with a StreamLink as its data drive that link. */
export const streamHandlers = {
  binaryType: "uint8array",
  open(socket: BunSocket) {
    socket.data.opened(socket);
  },
  data(socket: BunSocket, bytes: Uint8Array) {
    socket.data.received(bytes);
  },
  drain(socket: BunSocket) {
    socket.data.drained();
  },
  end(socket: BunSocket) {
    socket.data.ended();
    socket.end();
  },
  error(socket: BunSocket, error: Error) {
    socket.data.ended(error);
  },
  close(socket: BunSocket, error?: Error) {
    socket.data.ended(error);
  },
} as const;
