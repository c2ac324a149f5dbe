// What is said of items whose slot or host is gone, or that cannot be sent.
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import type { Chunk } from "./run.ts";
import type { Slot, SlotDown } from "./slots.ts";

function subjectOf(chunk: Chunk, place: number): string {
  return `${chunk.run.label}: ${chunk.items ? `item ${chunk.first + place}` : "the call"}`;
}

function attemptOf(chunk: Chunk, slot: Slot): string {
  return `(attempt ${chunk.attempt}, on ${slot.label})`;
}

/** The slot that ran an item died. */
export function lossError(chunk: Chunk, place: number, down: SlotDown, slot: Slot): MeshError {
  const [subject, attempt] = [subjectOf(chunk, place), attemptOf(chunk, slot)];
  if (down.timedOutMs !== undefined) {
    return new MeshError("TIMEOUT", `${subject} took longer than its limit of ${down.timedOutMs} ms ${attempt}`);
  }
  return new MeshError("SLOT_LOST", `${subject}: the slot that ran it ${down.cause} ${attempt}`);
}

/** The host of the slot that ran an item is lost. */
export function hostError(chunk: Chunk, place: number, loss: string, slot: Slot): MeshError {
  return new MeshError("SLOT_LOST", `${subjectOf(chunk, place)}: host ${loss} ${attemptOf(chunk, slot)}`);
}

/** Finds the item that cannot be sent, in a chunk that was refused as a whole. */
export function unsendable(error: unknown, chunk: Chunk, codec: Codec): [place: number, error: unknown] {
  for (const [i, item] of (chunk.items ?? []).entries()) {
    try {
      codec.encode(item, `${chunk.run.label}: item ${chunk.first + i}`);
    } catch (precise) {
      return [i, precise];
    }
  }
  return [0, error];
}
