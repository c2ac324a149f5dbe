// A range of ports as people write it: "40000-40099".
import { MeshError } from "../errors.ts";

/** From and to, both included. */
export type PortRange = readonly [from: number, to: number];

/** A rendezvous needs two for echoes, and two for each pair that it relays between. */
const FEWEST = 4;

export const PORT_RANGE_WORDS = `a range of ports such as "40000-40099", ${FEWEST} or more, from 1 to 65535`;

/** Throws USAGE. */
export function parsePortRange(text: string): PortRange {
  const [, first, last] = /^ *(\d{1,5}) *- *(\d{1,5}) *$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (from >= 1 && to <= 65_535 && to - from >= FEWEST - 1) return [from, to];
  throw new MeshError("USAGE", `expected ${PORT_RANGE_WORDS}, got ${JSON.stringify(text.slice(0, 40))}`);
}
