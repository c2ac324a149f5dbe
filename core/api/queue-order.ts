// Puts numbered things in order again. Messages between two processes keep theirs, but for the moment in which a direct
// link takes over from the way through a node.

export class InOrder<T> {
  #next = 1;
  readonly #early = new Map<number, T>();

  /** How many came, without a gap. */
  get count(): number {
    return this.#next - 1;
  }

  /**
   * Takes the item of this number, of which the low 32 bits are enough, and calls `take` with what is next now, in order.
   * What came before is dropped.
   */
  put(low32: number, item: T, take: (item: T, number: number) => void): void {
    const number = this.#next + ((low32 - this.#next) | 0);
    if (number > this.#next) this.#early.set(number, item);
    if (number !== this.#next) return;
    this.#next++;
    take(item, number);
    while (this.#early.size > 0 && this.#early.has(this.#next)) {
      const early = this.#early.get(this.#next) as T;
      this.#early.delete(this.#next);
      take(early, this.#next++);
    }
  }
}
