// What a slot has begun, and what it is not to begin any more, in memory it shares with its agent: so that what waits in a
// slot can be given to another one while user code holds the slot's loop, and nothing is begun in both.
//
// Who gives chunks to slots counts them: each has a turn, higher than the one before. Those of one process begin in that
// order at each depth, so the last turn that began tells of all.
//
//   0  how many rows of begun turns are in use     (the slot writes)
//   1  how many turns were recalled, ever          (the agent writes)
//   2  how many of them the slot knows             (the slot writes)
//   3  the last turn of those for whom there is no row; nobody reads it
//   4  256 rows of begun turns:      node | slot << 16 | depth | last turn that began
// 772  the last 256 recalled turns:  node | slot << 16 | depth | turn
//
// The slot says what it begins, and then looks for recalls; the agent recalls, and then looks what has begun. Both do it by
// atomics, which have one order for all, so at least one of them sees the other: a chunk that begins while it is recalled
// is either run, and known to have begun; or not run, and answered as dropped.
import type { Address } from "../wire/message.ts";

const ROWS = 0;
const RECALLS = 1;
const KNOWN = 2;
const NO_ROW = 3;
const ROWS_AT = 4;
const ENTRY_WORDS = 3;
const ENTRIES = 256;
const RECALLS_AT = ROWS_AT + ENTRY_WORDS * ENTRIES;

export const RECALL_BOARD_WORDS = RECALLS_AT + ENTRY_WORDS * ENTRIES;

/** Turns are counted modulo 2^24: so much room has a run message. */
export const TURN_MASK = 0xffffff;

/** A chunk that waits in a slot, as who gave it knows it. */
export interface Waiting {
  depth: number;
  turn: number;
}

/** Whether `turn` came no later than `last`. */
function isUpTo(last: number, turn: number): boolean {
  return ((last - turn) & TURN_MASK) <= TURN_MASK >>> 1;
}

/** The second word of an entry. Depths beyond all reason share one. */
function placeOf(slot: number, depth: number): number {
  return ((slot << 16) | Math.min(depth, 0xffff)) >>> 0;
}

/** The slot's side. */
export class BegunTurns {
  readonly #words: Uint32Array;
  /** The word that has the last turn, by owner and depth. */
  readonly #rows = new Map<string, number>();
  /** Turns that are not to begin, by owner and depth. */
  readonly #recalled = new Map<string, Set<number>>();
  #known = 0;
  /** Of the last one that began: nearly always the next one's too. */
  #node = 0;
  #place = 0;
  #row = NO_ROW;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** To be called before a chunk begins; false when it was recalled: then it must not. */
  begin({ node, slot }: Address, depth: number, turn: number): boolean {
    const place = placeOf(slot, depth);
    if (place !== this.#place || node !== this.#node) this.#turnTo(node, place, turn);
    Atomics.exchange(this.#words, this.#row, turn);
    if (Atomics.load(this.#words, RECALLS) !== this.#known) this.#look();
    return this.#recalled.size === 0 || !this.#isRecalled(node, place, turn);
  }

  /** A process is gone: nothing of it begins any more. */
  forget({ node, slot }: Address): void {
    for (const key of this.#recalled.keys()) if (key.startsWith(`${node}/${slot}/`)) this.#recalled.delete(key);
  }

  #turnTo(node: number, place: number, turn: number): void {
    this.#node = node;
    this.#place = place;
    this.#row = this.#rows.get(keyOf(node, place)) ?? this.#addRow(node, place, turn);
  }

  /** Of whom there is no room for a row, nothing can be recalled. */
  #addRow(node: number, place: number, turn: number): number {
    const words = this.#words;
    const count = words[ROWS]!;
    if (count === ENTRIES) return NO_ROW;
    const at = ROWS_AT + ENTRY_WORDS * count;
    words.set([node, place, turn], at);
    Atomics.add(words, ROWS, 1);
    this.#rows.set(keyOf(node, place), at + 2);
    return at + 2;
  }

  #look(): void {
    const words = this.#words;
    const recalls = Atomics.load(words, RECALLS);
    for (; this.#known !== recalls; this.#known = (this.#known + 1) >>> 0) {
      const at = RECALLS_AT + ENTRY_WORDS * (this.#known % ENTRIES);
      this.#note(words[at]!, words[at + 1]!, words[at + 2]!);
    }
    Atomics.exchange(words, KNOWN, recalls);
  }

  #note(node: number, place: number, turn: number): void {
    const key = keyOf(node, place);
    const row = this.#rows.get(key);
    const last = row === undefined ? undefined : this.#words[row]!;
    if (last !== undefined && last !== turn && isUpTo(last, turn)) return; // it began before
    const turns = this.#recalled.get(key) ?? new Set<number>();
    this.#recalled.set(key, turns.add(turn));
  }

  #isRecalled(node: number, place: number, turn: number): boolean {
    const key = keyOf(node, place);
    const turns = this.#recalled.get(key);
    if (!turns?.delete(turn)) return false;
    if (turns.size === 0) this.#recalled.delete(key);
    return true;
  }
}

function keyOf(node: number, place: number): string {
  return `${node}/${place >>> 16}/${place & 0xffff}`;
}

/** The agent's side. */
export class Recalls {
  readonly #words: Uint32Array;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /**
   * Has the slot not begin any more what waits in it for `owner`; returns the places in `waiting` of those that have not
   * begun and never will. Of the others nothing is known.
   */
  recall(owner: Address, waiting: readonly Waiting[]): number[] {
    const words = this.#words;
    const room = ENTRIES - ((Atomics.load(words, RECALLS) - Atomics.load(words, KNOWN)) >>> 0);
    const open = this.#notBegun(owner, waiting, [...waiting.keys()]);
    const recalled = room > 0 ? open.slice(-room) : []; // the last ones are begun last
    let next = words[RECALLS]!;
    for (const i of recalled) {
      const { depth, turn } = waiting[i]!;
      words.set([owner.node, placeOf(owner.slot, depth), turn], RECALLS_AT + ENTRY_WORDS * (next++ % ENTRIES));
    }
    Atomics.add(words, RECALLS, recalled.length);
    return this.#notBegun(owner, waiting, recalled);
  }

  #notBegun({ node, slot }: Address, waiting: readonly Waiting[], among: readonly number[]): number[] {
    const last = new Map<number, number | "unknown" | "none">();
    return among.filter((i) => {
      const { depth, turn } = waiting[i]!;
      const begun = last.get(depth) ?? this.#lastBegun(node, placeOf(slot, depth));
      last.set(depth, begun);
      return begun === "none" || (begun !== "unknown" && !isUpTo(begun, turn));
    });
  }

  #lastBegun(node: number, place: number): number | "unknown" | "none" {
    const words = this.#words;
    const rows = Atomics.load(words, ROWS);
    for (let row = 0; row < rows; row++) {
      const at = ROWS_AT + ENTRY_WORDS * row;
      if (words[at] === node && words[at + 1] === place) return Atomics.load(words, at + 2);
    }
    return rows === ENTRIES ? "unknown" : "none";
  }
}
