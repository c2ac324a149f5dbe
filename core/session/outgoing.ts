// What one side of a lane sends: every frame is kept until the peer confirms it, and goes out over whatever link there is.
import type { Link } from "../transport.ts";
import { FrameStore } from "./frame-store.ts";
import type { Ack } from "./machine/control-frames.ts";
import { ackProblem } from "./machine/window.ts";

export interface OutgoingLimits {
  /** Memory of unconfirmed frames from which on `send` asks to wait; it goes on when half of that is free again. */
  markBytes: number;
  /** Memory of unconfirmed frames that is never exceeded by more than one frame. */
  limitBytes: number;
}

export class Outgoing {
  /** Frames the peer confirmed. */
  acked = 0;
  readonly #limits: OutgoingLimits;
  readonly #store = new FrameStore();
  readonly #onRoom: () => void;
  #link: Link | undefined;
  #linkFull = false;
  #allowedBytes = 0;
  /** The link has got all there is and takes more: frames pass through. The store's cursor is not kept up meanwhile. */
  #flowing = false;
  #wantsRoom = false;

  /** `onRoom` is called when a `send` that returned false may be followed by others. */
  constructor(limits: OutgoingLimits, onRoom: () => void) {
    this.#limits = limits;
    this.#onRoom = onRoom;
  }

  /** Frames taken to be sent. */
  get frames(): number {
    return this.#store.frames;
  }

  get bytes(): number {
    return this.#store.bytes;
  }

  /** Memory of frames that are not confirmed. */
  get heldBytes(): number {
    return this.#store.heldBytes;
  }

  get isFull(): boolean {
    return this.#store.heldBytes >= this.#limits.limitBytes;
  }

  /** Everything was confirmed. */
  get isSettled(): boolean {
    return this.acked === this.#store.frames;
  }

  /** Somebody waits for `onRoom`, which only a link can bring. */
  get wantsRoom(): boolean {
    return this.#wantsRoom;
  }

  /** The link has got everything. */
  get isSent(): boolean {
    return this.#link !== undefined && this.#sent === this.#store.frames;
  }

  get #sent(): number {
    return this.#flowing ? this.#store.frames : this.#store.readFrames;
  }

  /** Takes a frame. False asks to wait for `onRoom`. */
  send(head: Uint8Array, body?: Uint8Array): boolean {
    const store = this.#store;
    store.add(head, body);
    if (!this.#flowing) return this.#queued();
    const hasRoom = this.#link!.send(head, body);
    if (hasRoom && store.bytes < this.#allowedBytes && store.heldBytes < this.#limits.markBytes) return true;
    if (this.#flowing && (!hasRoom || store.bytes >= this.#allowedBytes)) this.#stop(!hasRoom);
    this.#wantsRoom = true;
    return false;
  }

  /** A frame was turned away because this is full: its sender waits for `onRoom` as others do. */
  turnAway(): void {
    this.#wantsRoom = true;
  }

  /** Sends over `link` from now on, beginning with the first frame the peer has not taken. Says what is wrong with `ack`. */
  connect(link: Link, ack: Ack): string | undefined {
    const problem = ackProblem(ack.taken, { acked: this.acked, sent: this.#store.frames });
    if (problem) return problem;
    this.#link = link;
    this.#linkFull = false;
    this.#flowing = false;
    this.#count(ack);
    this.#store.rewind(ack.taken);
    this.#pump();
    return undefined;
  }

  /** The link is gone. */
  disconnect(): void {
    this.#link = undefined;
    this.#flowing = false;
  }

  /** The peer took frames and allows more. Says what is wrong with that. */
  acknowledge(ack: Ack): string | undefined {
    const problem = ackProblem(ack.taken, { acked: this.acked, sent: this.#sent });
    if (problem) return problem;
    this.#count(ack);
    this.#pump();
    return undefined;
  }

  linkDrained(): void {
    this.#linkFull = false;
    this.#pump();
  }

  /** Forgets all: the session is over. */
  clear(): void {
    this.disconnect();
    this.#store.clear();
  }

  #queued(): boolean {
    if (!this.#link && this.#store.heldBytes < this.#limits.markBytes) return true;
    this.#wantsRoom = true;
    return false;
  }

  #stop(isLinkFull: boolean): void {
    this.#linkFull = isLinkFull;
    this.#flowing = false;
    this.#store.readAll();
  }

  #count({ taken, allowedBytes }: Ack): void {
    this.acked = taken;
    this.#store.release(taken);
    this.#allowedBytes = Math.max(this.#allowedBytes, allowedBytes);
  }

  #pump(): void {
    const link = this.#link;
    if (!link) return;
    const store = this.#store;
    while (!this.#flowing && !this.#linkFull) {
      if (store.readBytes >= this.#allowedBytes) return;
      if (!store.next()) {
        this.#flowing = true;
        break;
      }
      this.#linkFull = !link.send(store.at.subarray(store.start, store.end), store.body);
      if (this.#link !== link) return; // it ended under our hands
    }
    this.#tellRoom();
  }

  #tellRoom(): void {
    if (!this.#wantsRoom || !this.#flowing || this.#store.heldBytes > this.#limits.markBytes / 2) return;
    this.#wantsRoom = false;
    this.#onRoom();
  }
}
