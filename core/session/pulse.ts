// Whether the peer of a lane lives: machine/liveness.ts, run on a clock.
import type { Clock, Timer } from "../clock.ts";
import {
  beginLiveness,
  type LivenessEffect,
  type LivenessEvent,
  type Phase,
  stepLiveness,
  type Timing,
} from "./machine/liveness.ts";

/** What is called when; `ticked` after each look at the time. */
export type PulseEvents = Readonly<Record<LivenessEffect | "ticked", () => void>>;

export class Pulse {
  readonly #clock: Clock;
  readonly #timing: Timing;
  readonly #events: PulseEvents;
  #life: ReturnType<typeof beginLiveness>;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** The peer was heard since the last tick. */
  #heard = false;

  /** `isIdle`: of a lane that needs no link yet. */
  constructor(clock: Clock, timing: Timing, isIdle: boolean, events: PulseEvents) {
    this.#clock = clock;
    this.#timing = timing;
    this.#events = events;
    this.#life = beginLiveness(clock.now(), timing, isIdle);
    this.#arm();
  }

  get phase(): Phase {
    return this.#life.phase;
  }

  /** How long it has been in that phase. */
  get forMs(): number {
    return this.#clock.now() - this.#life.since;
  }

  /** Something came from the peer. Costs nothing, unless it was suspected: the next tick counts it. */
  hear(): void {
    if (this.#heard) return;
    this.#heard = true;
    if (this.#life.phase === "suspect") this.step("heard");
  }

  step(event: LivenessEvent): void {
    this.#apply(event);
    this.#arm();
  }

  /** Begins anew, as if there never was a link. */
  restart(isIdle: boolean): void {
    this.#life = beginLiveness(this.#clock.now(), this.#timing, isIdle);
    this.#arm();
  }

  #apply(event: LivenessEvent): void {
    const [life, effects] = stepLiveness(this.#life, event, this.#clock.now(), this.#timing);
    this.#life = life;
    for (const effect of effects) this.#events[effect]();
  }

  #arm(): void {
    const { wakeAt } = this.#life;
    if (wakeAt === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = wakeAt;
    if (wakeAt === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.after(Math.ceil(wakeAt - this.#clock.now()), () => this.#tick());
  }

  #tick(): void {
    this.#timerAt = Number.NaN; // it has to be set again
    if (this.#heard) this.#apply("heard");
    this.#heard = false;
    this.step("tick");
    this.#events.ticked();
  }
}
