// How fast slots are beside each other, from what they report of the same functions.

/** A slot whose speed is kept; begins as `{ measured: 1, measurements: 0 }`. */
export interface Measured {
  /** On a scale that all share. */
  measured: number;
  measurements: number;
}

/** The newest of many measurements counts so much. */
const WEIGHT = 0.2;
const LIMIT = 8;

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

  /** How fast it is: the average slot has 1. */
  of(slot: Measured): number {
    return (slot.measured * this.#all.size) / this.#sum;
  }

  /** An item took `itemMs` there that takes the average slot `averageMs`. */
  measure(slot: Measured, averageMs: number | undefined, itemMs: number): void {
    if (!averageMs || itemMs <= 0) return;
    const relative = Math.min(LIMIT, Math.max(1 / LIMIT, averageMs / itemMs));
    const weight = Math.max(WEIGHT, 1 / (2 + slot.measurements++));
    const change = weight * (relative - slot.measured);
    slot.measured += change;
    this.#sum += change;
  }

  /** Adds up anew: small errors of many additions do not gather. */
  #refresh(): void {
    this.#sum = 0;
    for (const slot of this.#all) this.#sum += slot.measured;
  }
}
