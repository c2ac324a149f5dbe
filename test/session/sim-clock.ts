// Time of a simulation, and clocks that show it to processes which may be stopped or dead.
import type { Clock, Timer } from "../../core/clock.ts";

interface Due {
  at: number;
  order: number;
  run: (() => void) | undefined;
}

export class SimClock implements Clock {
  #now = 0;
  #order = 0;
  /** A binary heap, the earliest first. */
  readonly #heap: Due[] = [];

  now(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): Timer {
    const due: Due = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run: callback };
    this.#push(due);
    return {
      cancel: () => {
        due.run = undefined;
      },
    };
  }

  /** Runs the next timer, if it is due until `end`; false when none is, and it is `end` then. */
  step(end: number): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.at > end) {
        this.#now = Math.max(this.#now, end);
        return false;
      }
      this.#pop();
      if (!next.run) continue;
      this.#now = Math.max(this.#now, next.at);
      next.run();
      return true;
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, due)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A process's view of the time: its timers wait while it is stopped, and never fire once it is dead. */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  #isStopped = false;
  #isDead = false;
  #timers: (() => void)[] = [];
  #inputs: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(delayMs: number, callback: () => void): Timer {
    let isCancelled = false;
    const timer = this.#clock.after(delayMs, () => {
      this.#act(this.#timers, () => {
        if (!isCancelled) callback();
      });
    });
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  /** Runs `act` now, or when the process goes on; never when it is dead. */
  whenRunning(act: () => void): void {
    this.#act(this.#inputs, act);
  }

  #act(waiting: (() => void)[], act: () => void): void {
    if (this.#isDead) return;
    if (this.#isStopped) waiting.push(act);
    else act();
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Goes on, as after SIGCONT: first the timers that fell due meanwhile, then what came in. */
  proceed(): void {
    this.#isStopped = false;
    for (const act of [...this.#timers.splice(0), ...this.#inputs.splice(0)]) act();
  }

  die(): void {
    this.#isDead = true;
    this.#timers = [];
    this.#inputs = [];
  }
}
