// How fast slots are beside each other, from what they report of the same functions.

/** A slot whose speed is kept; begins as `{ speed: 1, measured: 1, measurements: 0 }`. */
export interface Measured {
  /** The average slot has 1. */
  speed: number;
  /** The same before it is divided by the average. */
  measured: number;
  measurements: number;
}

/** The newest of many measurements counts so much. */
const WEIGHT = 0.2;
const LIMIT = 8;
/** Shorter chunks say more about the moment than about the slot. */
const WORTH_MEASURING_MS = 0.05;

export class Speeds {
  readonly #all = new Set<Measured>();
  #sum = 0;

  /** A slot begins as fast as those `like` it: of the same host. */
  add(slot: Measured, like: readonly Measured[]): void {
    if (like.length > 0) slot.measured = like.reduce((sum, { measured }) => sum + measured, 0) / like.length;
    this.#all.add(slot);
    this.#refresh();
  }

  delete(slot: Measured): void {
    if (this.#all.delete(slot)) this.#refresh();
  }

  /** A chunk took `elapsedMs` there that takes the average slot `averageMs`. */
  measure(slot: Measured, averageMs: number, elapsedMs: number): void {
    if (elapsedMs < WORTH_MEASURING_MS || averageMs <= 0) return;
    const relative = Math.min(LIMIT, Math.max(1 / LIMIT, averageMs / elapsedMs));
    const weight = Math.max(WEIGHT, 1 / (2 + slot.measurements++));
    const change = weight * (relative - slot.measured);
    slot.measured += change;
    this.#sum += change;
    slot.speed = (slot.measured * this.#all.size) / this.#sum;
  }

  /** Adds up anew: small errors of many additions do not gather. */
  #refresh(): void {
    this.#sum = 0;
    for (const slot of this.#all) this.#sum += slot.measured;
    for (const slot of this.#all) slot.speed = (slot.measured * this.#all.size) / this.#sum;
  }
}
