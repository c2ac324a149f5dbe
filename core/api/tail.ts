// Near the end of a run: whether a slot is so slow or so far that the others are better left to do what remains. Pure.
import type { Run } from "./run.ts";
import type { Slot } from "./slots.ts";

/** A slot that is done within this time is not worth the question. */
const SOON_MS = 20;

/** Whether `slot` would be done with the least it could be given so soon that it is not worth to ask about others. */
export function isSoonDone(slot: Slot, run: Run): boolean {
  const { itemMs } = run.estimate;
  return itemMs === undefined || doneIn(slot, (run.chunkSize ?? 1) * itemMs) < SOON_MS;
}

/**
 * Whether the slots that could each be done sooner than `slot` would have all that is left of the run done by then, so
 * that `slot` had better not begin any of it. All are compared by the least each could be given, so the soonest of them
 * never gets true and somebody always goes on.
 */
export function othersAreSooner(slot: Slot, run: Run, slots: Iterable<Slot>): boolean {
  const { itemMs } = run.estimate;
  const { left } = run;
  if (itemMs === undefined || left === undefined) return false;
  const leastMs = (run.chunkSize ?? 1) * itemMs;
  const ownMs = doneIn(slot, leastMs);
  // All slots together have a speed of one each: they cannot do what is left sooner than this.
  if (left * itemMs > ownMs * run.seats.size) return false;
  return wouldBeDone(slot, run, slots, left * itemMs, leastMs, ownMs);
}

function doneIn(slot: Slot, workMs: number): number {
  return slot.loadMs + workMs / slot.speed + slot.way.wayMs;
}

function wouldBeDone(
  slot: Slot,
  run: Run,
  slots: Iterable<Slot>,
  leftMs: number,
  leastMs: number,
  withinMs: number,
): boolean {
  let speed = 0;
  let workMs = leftMs;
  for (const other of slots) {
    if (other === slot || !other.isUsable || other.isOverdue || !run.seats.has(other.seat)) continue;
    if (doneIn(other, leastMs) >= withinMs) continue;
    speed += other.speed;
    // Work does not divide into less than a chunk: the last one may begin when all others are done.
    workMs += other.loadMs * other.speed + leastMs;
  }
  return workMs < withinMs * speed;
}
