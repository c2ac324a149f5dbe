// What one side of a lane receives: hands frames to who uses the session, or keeps them while that one wants nothing.
import type { LinkHandler } from "../transport.ts";
import { FrameStore } from "./frame-store.ts";
import { FRAME_COST_BYTES, Intake } from "./machine/window.ts";

export class Incoming {
  readonly intake: Intake;
  readonly #held = new FrameStore();
  #handler: LinkHandler | undefined;
  #paused = false;
  #delivering = false;
  /** Frames go straight to the handler: it is there, wants them, and none came before that it has not got. */
  #direct = false;
  #end: { error: Error | undefined } | undefined;
  #told = false;

  constructor(windowBytes: number) {
    this.intake = new Intake(windowBytes);
  }

  attach(handler: LinkHandler): void {
    if (this.#handler) throw new Error("a session takes one handler");
    this.#handler = handler;
    this.#deliverHeld();
  }

  pause(): void {
    this.#paused = true;
    this.#direct = false;
  }

  resume(): void {
    this.#paused = false;
    this.#deliverHeld();
  }

  /** Memory of frames that wait for the handler. */
  get heldBytes(): number {
    return this.#held.heldBytes;
  }

  /** Takes the frame that lies in `bytes` from `start` to before `end`. */
  take(bytes: Uint8Array, start: number, end: number): void {
    const intake = this.intake;
    intake.received++;
    intake.receivedBytes += end - start + FRAME_COST_BYTES;
    if (this.#direct) {
      intake.deliveredBytes = intake.receivedBytes;
      this.#deliver(bytes, start, end);
    } else {
      this.#held.addSpan(bytes, start, end);
    }
  }

  /** An earlier `send` of the handler's owner may go on. */
  tellRoom(): void {
    if (!this.#end) this.#handler?.drained();
  }

  /** Nothing more comes. The handler hears so, after all it has not got yet. */
  end(error: Error | undefined): void {
    this.#end ??= { error };
    this.#tellEnd();
  }

  /** As `end`, at once: what the handler has not got is dropped. */
  cut(error: Error): void {
    this.#held.clear();
    this.end(error);
  }

  #deliver(bytes: Uint8Array, start: number, end: number): void {
    const handler = this.#handler!;
    if (handler.span) handler.span(bytes, start, end);
    else handler.frame(bytes.subarray(start, end));
  }

  #deliverHeld(): void {
    if (this.#delivering) return;
    const held = this.#held;
    this.#delivering = true;
    try {
      while (this.#handler && !this.#paused && held.next()) {
        this.intake.deliveredBytes += held.end - held.start + FRAME_COST_BYTES;
        this.#deliver(held.at, held.start, held.end);
        held.release(held.readFrames);
      }
    } finally {
      this.#delivering = false;
      this.#direct = this.#handler !== undefined && !this.#paused && this.#isEmpty;
    }
    this.#tellEnd();
  }

  get #isEmpty(): boolean {
    return this.#held.readFrames === this.#held.frames;
  }

  #tellEnd(): void {
    if (!this.#end || this.#told || !this.#handler || this.#delivering || !this.#isEmpty) return;
    this.#told = true;
    this.#direct = false;
    this.#handler.closed(this.#end.error);
  }
}
