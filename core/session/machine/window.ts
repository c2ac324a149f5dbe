// How much one side of a lane may send: credit in bytes, counted from the beginning of the session. A frame counts with
// its bytes and FRAME_COST_BYTES, so that many tiny ones are bounded too. A sender may begin a frame while any credit is
// left, so the receiver keeps at most its window and one frame.

/** What a frame counts besides its bytes. */
export const FRAME_COST_BYTES = 4;

/** The peer is told after so many bytes what was taken; no timer does. */
const TELL_EVERY_BYTES = 256 * 1024;

/** The receiver's side of a lane: what came and what the peer was allowed. Counters only grow; session.ts counts up. */
export class Intake {
  readonly windowBytes: number;
  /** Frames that came. */
  received = 0;
  /** Bytes that came. */
  receivedBytes = 0;
  /** Bytes that the owner of the session took; what lies between waits here. */
  deliveredBytes = 0;
  /** Bytes that the peer was told it may send in all. */
  allowedBytes = 0;
  /** An ack is due when so many bytes have come. */
  tellAtReceived = 0;
  /** An ack is due when so many bytes were taken. */
  tellAtDelivered = 0;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
    this.tell();
  }

  /** The credit to write into what is sent now: what was allowed is never taken back. */
  tell(): number {
    const every = tellEvery(this.windowBytes);
    this.tellAtReceived = this.receivedBytes + every;
    this.tellAtDelivered = this.deliveredBytes + every;
    this.allowedBytes = Math.max(this.allowedBytes, this.deliveredBytes + this.windowBytes);
    return this.allowedBytes;
  }
}

/** A quarter of small windows, so that the peer hears of room before it has used up what it has. */
function tellEvery(windowBytes: number): number {
  return Math.min(TELL_EVERY_BYTES, Math.ceil(windowBytes / 4));
}

/** Says why what a peer claims to have taken cannot be; undefined when it can. */
export function ackProblem(taken: number, known: { acked: number; sent: number }): string | undefined {
  if (taken > known.sent) return `it says it took ${taken} frames, of ${known.sent} that were sent`;
  if (taken < known.acked) return `it says it took ${taken} frames, after it had said ${known.acked}`;
  return undefined;
}
