// What two nodes share on one lane. It looks like a link and outlives them: when the link under it breaks, the next one
// goes on with the first frame that did not arrive. Must not know how links are made (peers.ts) nor what frames mean.
import type { Clock, Timer } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Link, LinkHandler } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import { checkFrameSize } from "../wire/frame.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { CurrentLink, type NewLink } from "./current-link.ts";
import { type Goodbye, type GoodbyeCode, readGoodbye, writeGoodbye } from "./goodbye.ts";
import { Incoming } from "./incoming.ts";
import type { Receiver } from "./link-end.ts";
import { type Ack, isControl, readAck, readHeartbeat, writeAck, writeHeartbeat } from "./machine/control-frames.ts";
import type { Phase, Timing } from "./machine/liveness.ts";
import { microsOf } from "./machine/round-trip.ts";
import { Outgoing, type OutgoingLimits } from "./outgoing.ts";
import { Pulse } from "./pulse.ts";
import { Refusal, readRefused } from "./refusal.ts";

export interface SessionLimits extends OutgoingLimits {
  /** Bytes the peer may send beyond what was taken here; the most that is kept while this side is paused. */
  windowBytes: number;
  /**
   * What happens to a frame that is sent when `limitBytes` of memory wait already: "end" ends the session with an error,
   * "drop" drops the frame and counts it.
   */
  whenFull: "end" | "drop";
}

export const DEFAULT_LIMITS: SessionLimits = {
  windowBytes: 8 * 1024 * 1024,
  markBytes: 16 * 1024 * 1024,
  limitBytes: 64 * 1024 * 1024,
  whenFull: "end",
};

/** Who provides a session with links. */
export interface SessionOwner {
  /** A link is needed: look for one until `settle`. */
  seek(session: Session): void;
  /** None is needed any longer. */
  settle(session: Session): void;
  /** The peer has taken the link: frames may follow. */
  confirmed(session: Session): void;
  /** The peer asks for the bulk lane. */
  peerWantsBulk(session: Session): void;
  /** Whether the other lane is done, so that this session may say goodbye; `mayEnd` again when that changes. */
  mayEnd(session: Session): boolean;
  /** The peer confirmed something, or the link got what it had not. */
  progressed(session: Session): void;
  /** Nobody answered in time: the error to end with; undefined: wait as long again. */
  expired(session: Session): MeshError | undefined;
  /** The peer was not heard for a heartbeat. */
  doubted(session: Session): void;
  /** The link is gone. */
  unlinked(session: Session): void;
  /** It is over; the handler is told next. */
  ended(session: Session, error: Error | undefined): void;
}

export interface SessionOptions {
  clock: Clock;
  timing: Timing;
  limits: SessionLimits;
  codec: Codec;
  /** "node gpu1", for errors. */
  peer: () => string;
  /** A link is made when there is something to send, and given up after `idleAfterMs` without data. */
  isLazy: boolean;
  idleAfterMs: number;
  /** How long the peer may take to confirm the end. */
  closeTimeoutMs: number;
  owner: SessionOwner;
}

export interface SessionStatus {
  phase: Phase;
  /** How long ago that began. */
  forMs: number;
  /** What happened last, for people. */
  why: string;
  rttMs: number | undefined;
  framesSent: number;
  bytesSent: number;
  framesReceived: number;
  bytesReceived: number;
  /** Frames that were sent and not confirmed, and the memory they take. */
  framesWaiting: number;
  heldBytes: number;
  /** Memory of frames that came and were not taken. */
  unreadBytes: number;
  /** Frames that were dropped because too many waited. */
  framesDropped: number;
}

export class Session implements Link {
  /** The peer ended the session on purpose, and got through with all it had to say. */
  peerLeft = false;
  readonly #options: SessionOptions;
  readonly #out: Outgoing;
  readonly #in: Incoming;
  readonly #link: CurrentLink;
  readonly #pulse: Pulse;
  #why = "no link was made yet";
  #wantsPeerToDial = false;
  /** Up to which frame this link's peer was asked for an ack. */
  #askedFrames = -1;
  /** Takes no more frames. */
  #isClosed = false;
  #closing: Timer | undefined;
  #saidGoodbye = false;
  #isConfirmed = false;
  #isOver = false;
  #dropped = 0;
  // Of a lane that is made when it is needed: when data last went over it, and how much that was.
  #busyAt = 0;
  #busyFrames = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#in = new Incoming(options.limits.windowBytes);
    this.#out = new Outgoing(options.limits, () => this.#in.tellRoom());
    this.#link = new CurrentLink(options.clock);
    this.#pulse = new Pulse(options.clock, options.timing, options.isLazy, {
      doubt: () => options.owner.doubted(this),
      beat: () => this.#beat(),
      seek: () => this.#seek(),
      settle: () => options.owner.settle(this),
      expire: () => this.#expire(),
      ticked: () => this.#parkIfIdle(),
    });
  }

  get label(): string {
    return `${this.#options.peer()} (${this.address || "no link yet"})`;
  }

  /** Number of the last link; 0 before the first. */
  get generation(): number {
    return this.#link.generation;
  }

  /** Number of the last link of which both sides know that it was made. */
  get sharedGeneration(): number {
    return this.#link.sharedGeneration;
  }

  /** Where the link in use, or the last one, leads. */
  get address(): string {
    return this.#link.address;
  }

  /** A link is there and the peer was heard lately. */
  get isUp(): boolean {
    return this.#pulse.phase === "up";
  }

  /** Both sides have agreed on the session: its epoch stays. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get phase(): Phase {
    return this.#pulse.phase;
  }

  get hasLink(): boolean {
    return this.#link.end !== undefined;
  }

  /** The link in use works in both directions, as far as is known. */
  get hasGoodLink(): boolean {
    return this.hasLink && this.isUp && this.sharedGeneration === this.generation;
  }

  /** How long ago the link in use, or the last one, was made. */
  get linkedForMs(): number {
    return this.#link.forMs;
  }

  /** The link in use was dialed from here. */
  get hasOwnLink(): boolean {
    return this.hasLink && this.#link.isOwn;
  }

  /** The last link, whether it is there or not, was dialed from here. */
  get wasOwnLink(): boolean {
    return this.#link.isOwn;
  }

  /** Frames of data that came, from the beginning of the session. */
  get received(): number {
    return this.#in.intake.received;
  }

  /** The credit that the peer gets with a welcome. */
  allow(): number {
    return this.#in.intake.tell();
  }

  /** Nothing waits to be confirmed by the peer. */
  get isSettled(): boolean {
    return this.#out.isSettled;
  }

  get status(): SessionStatus {
    const { intake } = this.#in;
    return {
      phase: this.#pulse.phase,
      forMs: this.#pulse.forMs,
      why: this.#why,
      rttMs: this.#link.roundTrip.ms,
      framesSent: this.#out.frames,
      bytesSent: this.#out.bytes,
      framesReceived: intake.received,
      bytesReceived: intake.receivedBytes,
      framesWaiting: this.#out.frames - this.#out.acked,
      heldBytes: this.#out.heldBytes,
      unreadBytes: this.#in.heldBytes,
      framesDropped: this.#dropped,
    };
  }

  attach(handler: LinkHandler): void {
    this.#in.attach(handler);
    this.#tellTaken();
  }

  /**
   * Takes one frame; it is kept until the peer has confirmed it, whatever becomes of links. False asks to wait for
   * `drained`: the link is full, the peer allows no more, or SessionLimits.markBytes wait. The frame was taken all the
   * same, unless SessionLimits.limitBytes wait: then `whenFull` says what happens. Throws as Link.send does, and an error
   * when the first byte is one of the session's own types.
   */
  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.#isOver || this.#isClosed) return true;
    checkFrameSize(body ? head.length + body.length : head.length);
    const type = head[0] ?? body![0]!;
    if (isControl(type)) throw new Error(`frames of type ${type} are the session's own`);
    if (this.#out.isFull) return this.#overflow();
    const hasRoom = this.#out.send(head, body);
    if (this.#pulse.phase === "idle") this.want("there is something to send");
    return hasRoom;
  }

  pause(): void {
    this.#in.pause();
  }

  resume(): void {
    this.#in.resume();
    this.#tellTaken();
  }

  setRef(keepsProcess: boolean): void {
    this.#link.setRef(keepsProcess);
  }

  /** Sends what was taken, then says goodbye; `closed` comes when the peer has confirmed that, or after a limit. */
  close(): void {
    if (this.#isOver || this.#isClosed) return;
    this.#isClosed = true;
    if (this.#options.isLazy) return; // ends with the main lane, which waits until this one has sent what it took
    const { clock, closeTimeoutMs, peer } = this.#options;
    this.#closing = clock.after(closeTimeoutMs, () => {
      const waiting = this.#out.frames - this.#out.acked;
      const what = `${peer()} did not confirm the end of the session within ${closeTimeoutMs} ms`;
      this.fail(new MeshError("LINK_CLOSED", `${what}: ${waiting} messages may not have arrived`), "ERROR");
    });
    if (this.generation === 0 && this.#out.isSettled) this.#finish(undefined);
    else this.mayEnd();
  }

  /** Ends the session at once, on both sides; the own handler hears `error` and gets no more frames. */
  destroy(error: Error): void {
    if (this.#isOver) return;
    this.#in.cut(error);
    this.fail(error, isMeshError(error, "PROTOCOL") ? "PROTOCOL" : "ERROR");
  }

  /** Ends the session: the peer is told `code` and the error's message, the handler `error`, after what came before. */
  fail(error: Error, code: GoodbyeCode): void {
    if (this.#isOver) return;
    this.#sayGoodbye({ code, reason: error.message, taken: this.received, answer: false });
    this.#finish(error);
  }

  /** Ends the session without a word to the peer, which hears of it on the other lane, or never knew of it. */
  stop(error: Error | undefined): void {
    this.#finish(error);
  }

  /** Goes on over another link, in place of the one in use. */
  adopt(link: NewLink): void {
    const { end, ack } = link;
    this.#link.replace(link);
    this.#out.disconnect();
    this.#saidGoodbye = false;
    this.#wantsPeerToDial = false;
    this.#askedFrames = -1;
    this.#why = `linked over ${end.link.label}`;
    this.#markBusy();
    end.receiver = ack ? this.#receiver : this.#unconfirmed;
    if (ack) this.#sendAck();
    this.#pulse.step("linked");
    if (ack) this.#confirm(ack);
  }

  /** Looks for a link, if there is none. */
  want(why: string): void {
    if (this.#pulse.phase !== "idle") return;
    this.#why = why;
    this.#pulse.step("wanted");
  }

  /** As Link.probe, of the link in use. */
  probe(): void {
    this.#link.end?.link.probe?.();
  }

  /** Asks the peer, over this session, to dial the bulk lane. */
  askForBulk(): void {
    this.#wantsPeerToDial = true;
    this.#beat();
  }

  /** Asks the peer to confirm now what it took, once all was sent: the end of the other lane waits for that. */
  askForAck(): void {
    if (!this.#out.isSent || this.#askedFrames === this.#out.frames) return;
    this.#askedFrames = this.#out.frames;
    this.#beat(true);
  }

  /** To be called when SessionOwner.mayEnd may have changed. */
  mayEnd(): void {
    if (!this.#closing || this.#saidGoodbye || this.#isOver || !this.#out.isSent) return;
    if (!this.#options.owner.mayEnd(this)) return;
    this.#saidGoodbye = true;
    this.#sayGoodbye({ code: "END", reason: "", taken: this.received, answer: false });
  }

  /** The peer says it gave this session up, having taken `taken` frames. */
  gone(taken: number | undefined, reason: string): void {
    if (this.#isOver) return;
    const isDone = this.#closing && taken === this.#out.frames;
    const message = `${this.#options.peer()} has given up this session: ${reason}`;
    this.#finish(isDone ? undefined : new MeshError("LINK_CLOSED", message));
  }

  // What comes over the link in use.

  readonly #receiver: Receiver = {
    span: (bytes, start, end) => {
      this.#pulse.hear();
      const type = bytes[start]!;
      if (isControl(type)) this.#control(type, bytes, start, end);
      else this.#take(bytes, start, end);
    },
    drained: () => {
      this.#out.linkDrained();
      this.#options.owner.progressed(this);
      this.mayEnd();
    },
    closed: (error) => this.#linkClosed(error),
  };

  /** Of a link the peer dialed: its first frame says what it has taken so far, and that it took our welcome. */
  readonly #unconfirmed: Receiver = {
    span: (bytes, start, end) => {
      const type = bytes[start]!;
      if (type === MessageType.refused) {
        this.#control(type, bytes, start, end);
        return;
      }
      this.#guard(() => {
        if (type !== MessageType.ack) throw new MeshError("PROTOCOL", `it began with ${messageTypeName(type)}, no ack`);
        const ack = readAck(bytes, start, end);
        this.#link.end!.receiver = this.#receiver;
        this.#confirm(ack);
      });
    },
    drained: () => {},
    closed: (error) => this.#linkClosed(error),
  };

  #take(bytes: Uint8Array, start: number, end: number): void {
    const { intake } = this.#in;
    if (intake.receivedBytes >= intake.allowedBytes) {
      this.#violated(`it sent more than the ${intake.allowedBytes} bytes that it was allowed`);
      return;
    }
    this.#in.take(bytes, start, end);
    if (intake.receivedBytes >= intake.tellAtReceived && !this.#isOver) this.#sendAck();
  }

  #control(type: number, bytes: Uint8Array, start: number, end: number): void {
    this.#guard(() => {
      if (type === MessageType.ack) this.#acked(readAck(bytes, start, end));
      else if (type === MessageType.heartbeat) this.#heartbeat(bytes, start, end);
      else if (type === MessageType.goodbye) this.#goodbye(readGoodbye(this.#options.codec, bytes, start, end));
      else if (type === MessageType.refused) this.#refused(bytes, start, end);
      else throw new MeshError("PROTOCOL", `it sent a ${messageTypeName(type)} in the middle of a session`);
    });
  }

  /** What is wrong with what the peer sent ends the session. */
  #guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!isMeshError(error)) throw error;
      this.#violated(error.message);
    }
  }

  #violated(what: string): void {
    this.fail(new MeshError("PROTOCOL", `${this.#options.peer()} broke the protocol: ${what}`), "PROTOCOL");
  }

  #acked(ack: Ack): void {
    const problem = this.#out.acknowledge(ack);
    if (problem) throw new MeshError("PROTOCOL", problem);
    this.#options.owner.progressed(this);
    this.mayEnd();
  }

  #confirm(ack: Ack): void {
    const end = this.#link.end!;
    this.#isConfirmed = true;
    this.#link.confirm();
    this.#options.owner.confirmed(this);
    if (this.#link.end !== end) return; // the owner ended it
    const problem = this.#out.connect(end.link, ack);
    if (problem) {
      this.#violated(problem);
      return;
    }
    this.#options.owner.progressed(this);
    this.mayEnd();
  }

  #heartbeat(bytes: Uint8Array, start: number, end: number): void {
    const { stamp, echo, wantsBulk, wantsAck, ...ack } = readHeartbeat(bytes, start, end);
    const now = this.#options.clock.now();
    this.#link.roundTrip.heard(stamp, now);
    if (echo) this.#link.roundTrip.measure(echo.stamp, echo.heldUs, now);
    this.#pulse.step("heard");
    if (wantsAck) this.#sendAck();
    this.#acked(ack);
    if (wantsBulk && !this.#isOver) this.#options.owner.peerWantsBulk(this);
  }

  #goodbye({ code, reason, taken, answer }: Goodbye): void {
    const problem = this.#out.acknowledge({ taken, allowedBytes: 0 });
    if (problem) throw new MeshError("PROTOCOL", problem);
    const peer = this.#options.peer();
    if (answer) {
      const isDone = this.#closing && this.#saidGoodbye && this.#out.isSettled;
      this.#finish(isDone ? undefined : new MeshError("LINK_CLOSED", `${peer} ended`));
    } else if (code !== "END") {
      const why = code === "DOWN" ? `${peer} had given this node up` : `${peer} ended the session`;
      this.#finish(new MeshError(code === "REVOKED" ? "AUTHENTICATION" : "LINK_CLOSED", `${why}: ${reason}`));
    } else {
      this.#sayGoodbye({ code, reason: "", taken: this.received, answer: true });
      this.peerLeft = true;
      // Who says goodbye as well still waits for its answer, which says that all arrived.
      if (!this.#saidGoodbye) this.#finish(new MeshError("LINK_CLOSED", `${peer} ended`));
    }
  }

  #refused(bytes: Uint8Array, start: number, end: number): void {
    const { code, reason } = readRefused(this.#options.codec, bytes, start, end);
    this.#finish(new Refusal(code, `${this.#options.peer()} refused this node: ${reason}`, { isRemote: true }));
  }

  #linkClosed(error?: Error): void {
    this.#link.gone();
    this.#out.disconnect();
    this.#why = `its link ended: ${error?.message ?? "the other side closed it"}`;
    this.#pulse.step(this.#needsLink ? "lost" : "released");
    this.#options.owner.unlinked(this);
  }

  /** Whether a link that is gone has to be replaced now. */
  get #needsLink(): boolean {
    return !this.#options.isLazy || !this.#out.isSettled || this.#out.wantsRoom;
  }

  // Ways out.

  #sendAck(): void {
    const { intake } = this.#in;
    this.#link.tell(writeAck({ taken: intake.received, allowedBytes: intake.tell() }));
  }

  /** Tells the peer of room, when the handler took enough of what was kept. */
  #tellTaken(): void {
    const { intake } = this.#in;
    if (intake.deliveredBytes >= intake.tellAtDelivered) this.#sendAck();
  }

  #beat(wantsAck = false): void {
    const { intake } = this.#in;
    const now = this.#options.clock.now();
    const beat = {
      taken: intake.received,
      allowedBytes: intake.tell(),
      stamp: microsOf(now),
      echo: this.#link.roundTrip.echo(now),
      wantsBulk: this.#wantsPeerToDial,
      wantsAck,
    };
    this.#wantsPeerToDial = false;
    this.#link.tell(writeHeartbeat(beat));
  }

  #sayGoodbye(goodbye: Goodbye): void {
    this.#link.tell(writeGoodbye(this.#options.codec, goodbye));
  }

  #overflow(): boolean {
    const { limits, peer } = this.#options;
    if (limits.whenFull === "drop") {
      this.#dropped++;
      this.#out.turnAway();
      return false;
    }
    const message = `over ${limits.limitBytes} bytes wait for ${peer()}, which does not take them`;
    const advice = "whoever sends must wait for `drained` when `send` returns false";
    this.fail(new MeshError("LINK_CLOSED", `${message}: ${advice}`), "ERROR");
    return true;
  }

  #finish(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#why = error?.message ?? "it was closed";
    this.#closing?.cancel();
    this.#link.close();
    this.#out.clear();
    this.#pulse.step("ended");
    this.#options.owner.ended(this, error);
    this.#in.end(error);
  }

  // Time.

  #seek(): void {
    const { phase } = this.#pulse;
    if (phase === "suspect") this.#why = "it was not heard lately";
    if (this.#needsLink || phase === "connecting") this.#options.owner.seek(this);
    else this.#park();
  }

  /** Gives up the link of a lane that carries nothing; the next frame makes another. */
  #park(): void {
    this.#link.close();
    this.#out.disconnect();
    this.#why = "nothing to send";
    this.#pulse.step("released");
    this.#options.owner.unlinked(this);
  }

  #expire(): void {
    const { owner } = this.#options;
    const error = this.#needsLink ? owner.expired(this) : undefined;
    if (error) {
      this.fail(error, "DOWN");
      return;
    }
    this.#link.cut();
    this.#out.disconnect();
    this.#pulse.restart(!this.#needsLink);
    if (this.#needsLink) owner.seek(this);
  }

  #parkIfIdle(): void {
    if (this.#options.isLazy && this.hasLink && this.#isIdle) this.#park();
  }

  /** Nothing went over a lane that is made when it is needed, for long enough. */
  get #isIdle(): boolean {
    if (this.#busyFrames !== this.#out.frames + this.received || this.#needsLink) this.#markBusy();
    return this.#options.clock.now() - this.#busyAt >= this.#options.idleAfterMs;
  }

  #markBusy(): void {
    this.#busyAt = this.#options.clock.now();
    this.#busyFrames = this.#out.frames + this.received;
  }
}
