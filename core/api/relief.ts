// Takes back what waits in slots behind long items, for slots that have nothing to do. A chunk is given to another slot only
// when the agent of the one that has it says that it has not begun there and never will: the slot itself may be held by user
// code, and one that is out of reach may have begun it.
import type { Recalled } from "../worker/control.ts";
import type { Waiting } from "../worker/recall-board.ts";
import { type Sent, type Slot, turnOf } from "./slots.ts";

export interface ReliefOptions {
  /** What a slot was sent and has not answered, in that order. */
  sentTo(slot: Slot): Sent[];
  /** Asks the agent of a slot to keep these from beginning; rejects when it is gone. */
  recall(slot: Slot, waiting: Waiting[]): Promise<Recalled>;
  /** These can be given to others. */
  free(sent: Sent[]): void;
}

export class Relief {
  readonly #options: ReliefOptions;
  /** Slots whose agents have not answered yet. */
  readonly #asked = new Set<Slot>();

  constructor(options: ReliefOptions) {
    this.#options = options;
  }

  /** To be called every LOOK_MS. Returns whether some slot has nothing to do. */
  look(slots: readonly Slot[]): boolean {
    for (const slot of slots) slot.look();
    const idle = slots.filter((slot) => slot.chunks === 0 && slot.isUsable);
    if (idle.length === 0) return false;
    for (const slot of slots) {
      if (!slot.isStalled || slot.chunks < 2 || !slot.linkOpen || this.#asked.has(slot)) continue;
      const isWanted = ({ chunk }: Sent) => idle.some(({ seat }) => chunk.run.seats.has(seat));
      const waiting = waitingAmong(this.#options.sentTo(slot)).filter(isWanted);
      if (waiting.length > 0) void this.#relieve(slot, waiting);
    }
    return true;
  }

  async #relieve(slot: Slot, waiting: Sent[]): Promise<void> {
    this.#asked.add(slot);
    try {
      const turns = waiting.map((sent) => ({ depth: sent.chunk.run.depth, turn: turnOf(sent) }));
      const { free } = await this.#options.recall(slot, turns);
      this.#options.free(free.map((i) => waiting[i]!));
    } catch {
      // Its agent is gone, or knows of no such job: what becomes of its slots is told otherwise.
    } finally {
      this.#asked.delete(slot);
    }
  }
}

/** What has not begun in a slot, as far as can be told from here: all but the oldest of each depth. */
export function waitingAmong(sent: readonly Sent[]): Sent[] {
  const begun = new Set<number>();
  return sent.filter(({ chunk }) => {
    if (begun.has(chunk.run.depth)) return true;
    begun.add(chunk.run.depth);
    return false;
  });
}
