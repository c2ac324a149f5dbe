// A link with a long way: what is sent over it arrives later, by a clock that a test moves.
import type { ManualClock } from "../../core/clock.ts";
import type { Link, LinkHandler } from "../../core/transport.ts";

/** Delivers what the link under it brings after `delayMs()`, in order. */
export class DelayedLink implements Link {
  readonly label: string;
  readonly #link: Link;
  readonly #clock: ManualClock;
  readonly #delayMs: () => number;
  #nextAt = 0;

  constructor(link: Link, clock: ManualClock, delayMs: () => number) {
    this.label = link.label;
    this.#link = link;
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  attach(handler: LinkHandler): void {
    this.#link.attach({
      frame: (frame) => {
        const kept = frame.slice();
        this.#later(() => handler.frame(kept));
      },
      drained: () => handler.drained(),
      closed: (error) => this.#later(() => handler.closed(error)),
    });
  }

  #later(happen: () => void): void {
    const delayMs = this.#delayMs();
    const now = this.#clock.now();
    if (delayMs === 0 && this.#nextAt <= now) {
      happen();
      return;
    }
    this.#nextAt = Math.max(this.#nextAt, now + delayMs);
    this.#clock.after(this.#nextAt - now, happen);
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    return this.#link.send(head, body);
  }

  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  setRef(keepsProcess: boolean): void {
    this.#link.setRef(keepsProcess);
  }

  close(): void {
    this.#link.close();
  }

  destroy(error: Error): void {
    this.#link.destroy(error);
  }
}
