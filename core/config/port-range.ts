// A range of ports as people write it: "40000-40099".
import { MeshError } from "../errors.ts";

/** From and to, both included. */
export type PortRange = readonly [from: number, to: number];

/** What a rendezvous needs for echoes, and by UDP for each pair that it relays between. */
const FOR_ECHOES = 2;
const FOR_A_PAIR = 2;
const FEWEST = FOR_ECHOES + FOR_A_PAIR;

export const PORT_RANGE_WORDS = `a range of ports such as "40000-40099", ${FEWEST} or more, from 1 to 65535`;

/** Throws USAGE. */
export function parsePortRange(text: string): PortRange {
  const [, first, last] = /^ *(\d{1,5}) *- *(\d{1,5}) *$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (from >= 1 && to <= 65_535 && to - from >= FEWEST - 1) return [from, to];
  throw new MeshError("USAGE", `expected ${PORT_RANGE_WORDS}, got ${JSON.stringify(text.slice(0, 40))}`);
}

/** How many pairs it has room for, by UDP. */
export function relayRoomOf([from, to]: PortRange): number {
  return Math.floor((to - from + 1 - FOR_ECHOES) / FOR_A_PAIR);
}
