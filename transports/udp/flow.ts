// The socket under a link: two streams of one connection, both begun by who dialed. A byte says which is which.
//
//   bytes    0, then what the link says, in both directions
//   control  1, then messages of 9 bytes, in both directions: type (u8), number (u64, big-endian)
//              1 taken: so many bytes of the other stream were handed on in all. WINDOW_BYTES more may be sent.
//              2 end:   so many were sent in all, and no more will be
//
// QUIC has windows of its own, but the runtime opens them as bytes come, read or not: so these here bound what waits for a
// reader that stands still. And only with its end a stream says that it was not cut: see quic.ts.
import { MeshError } from "../../core/errors.ts";
import { unmapped } from "../../core/ip-address.ts";
import type { StreamLink, StreamSocket } from "../stream-link.ts";
import { codeOf } from "./failures.ts";
import { Probe } from "./probe.ts";
import type { ByteStream, Connection, ConnectionEnd } from "./quic.ts";

/** What may be on its way to a reader that does not read: 80 MB/s over 100 ms. */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** So many bytes are taken before the sender is told. */
const TELL_EVERY_BYTES = WINDOW_BYTES / 8;
/** Larger writes are slower in Bun. */
const CHUNK_BYTES = 64 * 1024;
/** After the own end, how long what was sent may take to arrive; sessions above give it less. */
const FINISH_MS = 10_000;
/** After the other side's end, how long its connection may take to end. */
const LINGER_MS = 3_000;
/** After the connection has ended, how long what has come already may take. */
const DRAIN_MS = 1_000;
/** How long the other machine has to say that nothing listens there. */
const PROBE_MS = 1_000;

export const STREAM_BYTES = 0;
export const STREAM_CONTROL = 1;
const TAKEN = 1;
const END = 2;
const MESSAGE_BYTES = 9;

/** The streams of a link, their first bytes read or written. */
export interface Streams {
  bytes: ByteStream;
  control: ByteStream;
}

export class UdpSocket implements StreamSocket {
  readonly #connection: Connection;
  readonly #streams: Streams;
  readonly #link: StreamLink;
  readonly #control = new MessageReader((type, value) => this.#told(type, value));
  #sent = 0;
  #allowed = WINDOW_BYTES;
  #received = 0;
  #toldTaken = 0;
  #expected: number | undefined;
  #isWaiting = false;
  #isStalled = false;
  #isFinishing = false;
  #isOver = false;

  constructor(connection: Connection, streams: Streams, link: StreamLink) {
    this.#connection = connection;
    this.#streams = streams;
    this.#link = link;
    void connection.closed.then((end) => this.#ended(end));
  }

  /** Takes what comes on the stream of bytes. */
  received(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#received += bytes.length;
    this.#link.received(bytes);
    if (this.#link.heldBytes > WINDOW_BYTES) {
      this.#link.destroy(new MeshError("PROTOCOL", `${this.#link.label} sent more than it was allowed to`));
      return;
    }
    this.#tell();
    this.#checkEnd();
  }

  /** Takes what comes on the other one. */
  controlled(bytes: Uint8Array): void {
    try {
      if (!this.#isOver) this.#control.push(bytes);
    } catch (error) {
      this.#link.destroy(error as Error);
    }
  }

  write(bytes: Uint8Array, start: number, size: number): number {
    if (this.#isFinishing || this.#isOver) return size;
    let taken = 0;
    while (taken < size) {
      const part = Math.min(size - taken, this.#allowed - this.#sent, CHUNK_BYTES);
      if (part === 0) {
        this.#isStalled = true;
        break;
      }
      if (!this.#streams.bytes.write(bytes.subarray(start + taken, start + taken + part))) {
        this.#wait();
        break;
      }
      taken += part;
      this.#sent += part;
    }
    return taken;
  }

  pause(): void {} // the link keeps what comes, which the window bounds

  resume(): void {
    this.#tell();
  }

  // The runtime's endpoints always keep the process.
  ref(): void {}

  unref(): void {}

  probe(): void {
    if (this.#isFinishing || this.#isOver) return;
    const { host, port } = this.#connection.remote;
    const failed = (error: unknown) => {
      if (codeOf(error) === "ECONNREFUSED") this.#refused();
    };
    const probe = new Probe({ host: unmapped(host), port }, { sends: true, failed });
    setTimeout(() => probe.close(), PROBE_MS);
  }

  end(): void {
    if (this.#isFinishing || this.#isOver) return;
    this.#isFinishing = true;
    void this.#say(END, this.#sent).then(() => this.#connection.finish());
    this.#cutAfter(FINISH_MS);
  }

  terminate(): void {
    this.#isOver = true;
    this.#connection.cut("the other side broke the connection");
  }

  #refused(): void {
    if (this.#isOver) return;
    this.#break("nothing listens there any more");
    this.#connection.cut("its port was said to be closed");
  }

  #wait(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    void this.#streams.bytes.writable().then((canGoOn) => {
      this.#isWaiting = false;
      if (canGoOn && !this.#isOver) this.#link.drained();
    });
  }

  #told(type: number, value: number): void {
    if (type === END && this.#expected === undefined && value >= this.#received) {
      this.#expected = value;
      this.#checkEnd();
    } else if (type === TAKEN && value <= this.#sent) {
      this.#allowed = Math.max(this.#allowed, value + WINDOW_BYTES);
      if (!this.#isStalled) return;
      this.#isStalled = false;
      this.#link.drained();
    } else {
      throw new MeshError("PROTOCOL", `${this.#link.label} said what makes no sense about what it sent or took`);
    }
  }

  #tell(): void {
    const taken = this.#received - this.#link.heldBytes;
    if (this.#isOver || taken - this.#toldTaken < TELL_EVERY_BYTES) return;
    this.#toldTaken = taken;
    void this.#say(TAKEN, taken);
  }

  async #say(type: number, value: number): Promise<void> {
    const message = new Uint8Array(MESSAGE_BYTES);
    const view = new DataView(message.buffer);
    view.setUint8(0, type);
    view.setBigUint64(1, BigInt(value));
    const { control } = this.#streams;
    let canGoOn = true;
    while (canGoOn && !this.#isOver && !control.write(message)) canGoOn = await control.writable();
  }

  /** The other side has ended the link, and all it sent is here. */
  #checkEnd(): void {
    if (this.#isOver || this.#received !== this.#expected) return;
    this.#isOver = true;
    this.#link.ended();
    this.#cutAfter(LINGER_MS);
  }

  #cutAfter(delayMs: number): void {
    const timer = setTimeout(() => this.#connection.cut("it was over"), delayMs);
    void this.#connection.closed.then(() => clearTimeout(timer));
  }

  /** What came before may still be on its way through the streams. */
  #ended(end: ConnectionEnd): void {
    if (this.#isOver) return;
    if (this.#isFinishing && end.isClean) {
      this.#isOver = true;
      this.#link.ended();
      return;
    }
    const reason = end.reason || "the other side fell silent";
    if (end.isClean || this.#expected !== undefined) setTimeout(() => this.#break(reason), DRAIN_MS);
    else this.#break(reason);
  }

  #break(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#link.ended(new Error(reason));
  }
}

/** Cuts the control stream into its messages. */
class MessageReader {
  readonly #take: (type: number, value: number) => void;
  readonly #message = new Uint8Array(MESSAGE_BYTES);
  readonly #view = new DataView(this.#message.buffer);
  #filled = 0;

  constructor(take: (type: number, value: number) => void) {
    this.#take = take;
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.#message[this.#filled++] = byte;
      if (this.#filled < MESSAGE_BYTES) continue;
      this.#filled = 0;
      this.#take(this.#view.getUint8(0), Number(this.#view.getBigUint64(1)));
    }
  }
}
