// What a slot is doing, in memory it shares with its agent: readable while user code blocks the slot's loop, and after
// the slot died. So the agent can enforce limits and name the item a slot died in.
//
// A page has one row per nesting depth, of 8 words (u32, this machine's byte order):
//   0 sequence: odd while an item runs   1 slot that asked   2 run   3 chunk   4 place in the chunk   5 limit in ms
//   6 node of the slot that asked
// Only the slot writes; a reader that sees the same sequence before and after has read one moment. Behind the rows is a
// recall board; see there.
import { writeFileSync } from "node:fs";
import { MeshError } from "../errors.ts";
import type { Address } from "../wire/message.ts";
import { BegunTurns, RECALL_BOARD_WORDS, Recalls } from "./recall-board.ts";

const ROWS = 8;
const WORDS = 8;
const BOARD_AT = ROWS * WORDS;
const PAGE_BYTES = 4096 * Math.ceil((4 * (BOARD_AT + RECALL_BOARD_WORDS)) / 4096); // mmap hands out 4096 at least

/** The item a slot works on, or worked on when it died. */
export interface RunningItem {
  /** The process that asked for it. */
  owner: Address;
  run: number;
  chunk: number;
  place: number;
  depth: number;
  timeoutMs: number;
  /** Grows with every item of this depth. */
  sequence: number;
}

function rowOf(depth: number): number {
  return Math.min(depth, ROWS - 1) * WORDS;
}

export class StatusPage {
  /** For the slot. */
  readonly begun: BegunTurns;
  /** For its agent. */
  readonly recalls: Recalls;
  readonly #words: Uint32Array;

  private constructor(words: Uint32Array) {
    const board = words.subarray(BOARD_AT, BOARD_AT + RECALL_BOARD_WORDS);
    this.#words = words;
    this.begun = new BegunTurns(board);
    this.recalls = new Recalls(board);
  }

  /** Makes the file and maps it. Throws UNREACHABLE when the folder is full or gone. */
  static create(path: string): StatusPage {
    try {
      // Written and not just made long: on a full disk, writing to a hole of a mapped file ends the process (SIGBUS).
      writeFileSync(path, new Uint8Array(PAGE_BYTES), { flag: "wx", mode: 0o600 });
    } catch (cause) {
      throw new MeshError("UNREACHABLE", `cannot write a slot's page: ${(cause as Error).message}`, { cause });
    }
    return StatusPage.open(path);
  }

  static open(path: string): StatusPage {
    const bytes = Bun.mmap(path, { shared: true });
    return new StatusPage(new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_BYTES / 4));
  }

  /** Notes whose items come next at this depth. Depths beyond the last row share it. */
  beginChunk(depth: number, owner: Address, run: number, chunk: number, timeoutMs: number): void {
    const words = this.#words;
    const row = rowOf(depth);
    words[row + 1] = owner.slot;
    words[row + 6] = owner.node;
    words[row + 2] = run;
    words[row + 3] = chunk;
    words[row + 5] = timeoutMs;
  }

  /** Notes that an item of the chunk begins, and with it that the one before is over. */
  beginItem(depth: number, place: number): void {
    const words = this.#words;
    const row = rowOf(depth);
    words[row + 4] = place;
    words[row] = (words[row]! + 2) | 1;
  }

  /** Notes that the last item of the chunk is over. */
  endChunk(depth: number): void {
    const row = rowOf(depth);
    this.#words[row] = (this.#words[row]! | 1) + 1;
  }

  /** Whether an item ever began. */
  get wasUsed(): boolean {
    return this.#words[0] !== 0;
  }

  /** What runs now, the outermost first. */
  read(): RunningItem[] {
    const running: RunningItem[] = [];
    const words = this.#words;
    for (let depth = 0; depth < ROWS; depth++) {
      const row = depth * WORDS;
      const sequence = words[row]!;
      if ((sequence & 1) === 0) continue;
      const [slot, run, chunk, place, timeoutMs, node] = words.subarray(row + 1, row + 7) as unknown as number[];
      if (words[row] !== sequence) continue;
      const owner = { node, slot };
      running.push({ owner, run, chunk, place, timeoutMs, depth, sequence } as RunningItem);
    }
    return running;
  }
}
