// What is under way, by a number that travels with it. A table of places that are used again costs a third of a Map
// whose keys only grow.

const PLACE_BITS = 20;
const PLACE_MASK = (1 << PLACE_BITS) - 1;

/** Numbers are 1 to 2^32 - 1; a place's next entry gets another number, up to 4,096 times. At most 2^20 - 1 entries. */
export class SentTable<Entry extends { id: number }> {
  readonly #entries: (Entry | undefined)[] = [undefined]; // place 0 stays empty: no message has number 0
  readonly #generations: number[] = [0];
  readonly #free: number[] = [];

  /** Numbers the entry and keeps it until `remove`. */
  add(entry: Entry): void {
    const place = this.#free.pop() ?? this.#entries.length;
    if (place > PLACE_MASK) throw new Error("too many messages are under way");
    const generation = this.#generations[place] ?? 0;
    this.#generations[place] = generation + 1;
    entry.id = ((generation << PLACE_BITS) | place) >>> 0;
    this.#entries[place] = entry;
  }

  /** The entry of this number, unless it was removed. */
  get(id: number): Entry | undefined {
    const entry = this.#entries[id & PLACE_MASK];
    return entry?.id === id ? entry : undefined;
  }

  remove(entry: Entry): void {
    const place = entry.id & PLACE_MASK;
    this.#entries[place] = undefined;
    this.#free.push(place);
  }

  /** All that are under way, in no order. */
  all(): Entry[] {
    return this.#entries.filter((entry) => entry !== undefined);
  }
}
