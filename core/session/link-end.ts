// One end of a link, whose frames go to one receiver after the other: the handshake, then a session, then nobody.
import type { Clock } from "../clock.ts";
import type { Link, LinkHandler } from "../transport.ts";

/** Gets what a link delivers. */
export interface Receiver {
  span(bytes: Uint8Array, start: number, end: number): void;
  drained(): void;
  closed(error?: Error): void;
}

const NOBODY: Receiver = { span: () => {}, drained: () => {}, closed: () => {} };

/** How long a link may take to send what is left, before it is cut. */
const LINGER_MS = 2_000;

export class LinkEnd implements LinkHandler {
  readonly link: Link;
  receiver: Receiver;

  /** Attaches itself to the link, for good. */
  constructor(link: Link, receiver: Receiver) {
    this.link = link;
    this.receiver = receiver;
    link.attach(this);
  }

  frame(frame: Uint8Array): void {
    this.receiver.span(frame, 0, frame.length);
  }

  span(bytes: Uint8Array, start: number, end: number): void {
    this.receiver.span(bytes, start, end);
  }

  drained(): void {
    this.receiver.drained();
  }

  closed(error?: Error): void {
    this.receiver.closed(error);
  }

  /** Sends what was taken, then ends the link, which is cut when that takes over 2 s. Nobody hears of it. */
  close(clock: Clock): void {
    const cut = clock.after(LINGER_MS, () => this.link.destroy(new Error("it took too long to end")));
    this.receiver = { ...NOBODY, closed: () => cut.cancel() };
    this.link.close();
  }

  /** Nobody here hears of the link any more; it stays. */
  mute(): void {
    this.receiver = NOBODY;
  }

  /** Cuts the link. Nobody here hears of it. */
  cut(error: Error): void {
    this.mute();
    this.link.destroy(error);
  }
}
