// Near the end of a run: whether a slot is so slow or so far that the others are better left to do what remains. Pure.
import type { Run } from "./run.ts";
import type { Slot } from "./slots.ts";

/** A slot that is done within this time is not worth the question. */
const SOON_MS = 20;

/**
 * Whether the slots that could each be done sooner than `slot` would have all that is left of the run done by then, so
 * that `slot` had better not begin any of it. All are compared by the least each could be given, so the soonest of them
 * never gets true and somebody always goes on. `speedOf` as Speeds.of.
 */
export function othersAreSooner(slot: Slot, run: Run, slots: Iterable<Slot>, speedOf: (slot: Slot) => number): boolean {
  const { itemMs } = run.estimate;
  const { left } = run;
  if (itemMs === undefined || left === undefined) return false;
  const leastMs = Math.min(run.chunkSize ?? 1, left) * itemMs;
  const doneIn = (each: Slot) => each.loadMs + leastMs / speedOf(each) + each.seat.host.way.wayMs;
  const ownMs = doneIn(slot);
  // All slots together have a speed of one each: they cannot do what is left sooner than this.
  if (ownMs < SOON_MS || left * itemMs > ownMs * run.seats.size) return false;
  let speed = 0;
  let loadMs = 0;
  let count = 0;
  for (const other of slots) {
    if (other === slot || !other.isUsable || other.isStalled || !run.seats.has(other.seat)) continue;
    if (doneIn(other) >= ownMs) continue;
    speed += speedOf(other);
    loadMs += other.loadMs * speedOf(other);
    count++;
  }
  // Work does not divide into less than that: the last piece may begin when all others are done.
  return count > 0 && (loadMs + left * itemMs + count * leastMs) / speed < ownMs;
}
