// How much a pair may send through a relay in a second, as people write it: "10M".
import { MeshError } from "../errors.ts";
import { parseSize, SIZE_WORDS } from "./units.ts";

/** With less the two connections of a session keep each other waiting until it is taken for dead. */
const LEAST_BYTES = 128 * 1024;

export const RELAY_RATE_WORDS = `${SIZE_WORDS}, at least 128K`;

/** In bytes. Throws USAGE. */
export function parseRelayRate(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= LEAST_BYTES) return bytes;
  throw new MeshError("USAGE", `expected ${RELAY_RATE_WORDS}, got ${JSON.stringify(text)}`);
}

/** The most pairs that a rendezvous may be told to relay at once: by UDP each has two of the 65,535 ports. */
export const RELAY_PAIRS_LIMIT = 30_000;
