// One side of a relay: a UDP port for one node. It takes packets of that node alone, and sends it those of the other.
//
// Where the node is it learns from packets, and only from those that the node has signed (echoes to this very port) or that
// come from an IP address which the node has shown by a signed echo before. All else is dropped: who spoofs an address gets
// nothing sent there, and what goes out is never more than what came in.
import { plainIp } from "../ip-address.ts";
import { isEchoRequest } from "./echo.ts";
import type { Echo } from "./echo-gate.ts";
import { sendDatagram, sendDatagrams, type UdpPort, type UdpPorts } from "./udp-port.ts";

/** Kept for a node until it is known where it is. */
const HELD_PACKETS = 16;
const HELD_BYTES = 24 * 1024;
/**
 * A node that sends from one port keeps it: another port of its address gets the other's packets when this one has said
 * nothing for so long. A router that changes the outside port does it for good, so that costs so long at most.
 */
const REBINDS_AFTER_MS = 300;
/** A node that lives sends something every second. One that does not gets no more. */
const SILENT_AFTER_MS = 15_000;
/** Packets that the system hands over by one call come closer together than this. */
const CLOSE_MS = 0.02;
/** Packets that go out by one call. */
const BATCH_PACKETS = 64;

/** How often packets were dropped, and why. */
export interface DroppedPackets {
  /** From an address that the node has not shown to be its own. */
  stranger: number;
  /** From another port of its address while the first is in use. */
  contested: number;
  /** For a node that has not said where it is, over what is kept. */
  early: number;
  /** For a node that says nothing any more. */
  silent: number;
  /** Over the bytes that a pair may send in a second. */
  overQuota: number;
  /** The system did not take it. */
  unsent: number;
}

export interface SideContext {
  dropped: DroppedPackets;
  now(): number;
  /** Whether that address has shown itself to be the node's. */
  isOwn(host: string): boolean;
  /** The echo in a packet, if the node has signed it. */
  echoOf(bytes: Uint8Array, port: number, host: string): Echo | undefined;
  /** For the other side. */
  forward(bytes: Uint8Array, now: number): void;
}

export class RelaySide {
  readonly #context: SideContext;
  #socket!: UdpPort;
  /** Where the node is; no port as long as that is not known. */
  #host = "";
  #port = 0;
  /** When it sent the last packet, and the last that was not an echo. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #usedAt = Number.NEGATIVE_INFINITY;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #batch: (Uint8Array | number | string)[] = [];
  #isBatching = false;
  #sentAt = Number.NEGATIVE_INFINITY;
  readonly #flush = () => {
    this.#isBatching = false;
    this.#sendBatch();
  };

  private constructor(context: SideContext) {
    this.#context = context;
  }

  static async open(ports: UdpPorts, context: SideContext): Promise<RelaySide> {
    const side = new RelaySide(context);
    side.#socket = await ports.open((bytes, port, host) => side.#take(bytes, port, host));
    return side;
  }

  get port(): number {
    return this.#socket.port;
  }

  /** The next packet from another port of the node is not contested. */
  renew(): void {
    this.#usedAt = Number.NEGATIVE_INFINITY;
  }

  /** Sends the node a packet of the other. */
  deliver(bytes: Uint8Array, now: number): void {
    if (this.#port === 0) this.#hold(bytes);
    else if (now - this.#heardAt > SILENT_AFTER_MS) this.#context.dropped.silent++;
    else this.#send(bytes, now);
  }

  close(): void {
    this.#socket.close();
  }

  #take(bytes: Uint8Array, port: number, host: string): void {
    const now = this.#context.now();
    if (isEchoRequest(bytes)) this.#takeEcho(bytes, port, host, now);
    else if (this.#isNode(port, host, now)) {
      this.#heardAt = now;
      this.#usedAt = now;
      this.#context.forward(bytes, now);
    }
  }

  /** Whether packets from there are the node's; it may have moved there. */
  #isNode(port: number, host: string, now: number): boolean {
    if (port === this.#port && host === this.#host) return true;
    const { dropped, isOwn } = this.#context;
    if (!isOwn(plainIp(host))) dropped.stranger++;
    else if (now - this.#usedAt < REBINDS_AFTER_MS) dropped.contested++;
    else {
      this.#bind(port, host, now);
      return true;
    }
    return false;
  }

  #takeEcho(bytes: Uint8Array, port: number, host: string, now: number): void {
    const echo = this.#context.echoOf(bytes, port, host);
    if (!echo) {
      this.#context.dropped.stranger++;
      return;
    }
    sendDatagram(this.#socket, echo.answer, port, host);
    this.#bind(port, host, now);
  }

  #bind(port: number, host: string, now: number): void {
    this.#heardAt = now;
    this.#port = port;
    this.#host = host;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const bytes of held) this.#send(bytes, now);
  }

  #hold(bytes: Uint8Array): void {
    const hasRoom = this.#held.length < HELD_PACKETS && this.#heldBytes + bytes.length <= HELD_BYTES;
    if (!hasRoom) {
      this.#context.dropped.early++;
      return;
    }
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }

  /**
   * At once, or, when it follows closely on another, with all that come in this turn of the event loop: a call for each costs
   * more, and waiting for the end of the turn costs a lonely packet time.
   */
  #send(bytes: Uint8Array, now: number): void {
    if (!this.#isBatching && now - this.#sentAt > CLOSE_MS) {
      this.#sentAt = now;
      if (!sendDatagram(this.#socket, bytes, this.#port, this.#host)) this.#context.dropped.unsent++;
      return;
    }
    if (!this.#isBatching) setImmediate(this.#flush);
    this.#isBatching = true;
    this.#batch.push(bytes, this.#port, this.#host);
    if (this.#batch.length >= 3 * BATCH_PACKETS) this.#sendBatch();
  }

  #sendBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#context.dropped.unsent += batch.length / 3 - sendDatagrams(this.#socket, batch);
  }
}
