// What befalls packets in bad weather: chosen by a seed and the number of the packet, so that a run can be had again.

export interface WeatherSettings {
  /** What each packet takes, in either direction. Milliseconds; twice of that is added to a round trip. */
  delayMs?: number;
  /** Of all packets, 0 to 1, in either direction: never arrive. */
  loss?: number;
  /** Arrive twice, the copy HELD_MS later. */
  duplicates?: number;
  /** Are overtaken by what is sent within HELD_MS. */
  reorder?: number;
  seed?: number;
}

/** How long packets are held back that are to be overtaken. */
export const HELD_MS = 3;

/** How often a packet arrives: at its time, and held back. */
export interface Fate {
  prompt: boolean;
  held: boolean;
}

const PROMPT: Fate = { prompt: true, held: false };
const HELD: Fate = { prompt: false, held: true };
const TWICE: Fate = { prompt: true, held: true };
const LOST: Fate = { prompt: false, held: false };

/** Of packet `number` of one direction. */
export function fateOf(settings: WeatherSettings, direction: number, number: number): Fate {
  const { loss = 0, duplicates = 0, reorder = 0, seed = 1 } = settings;
  const drawn = draw(seed * 2 + direction, number);
  if (drawn < loss) return LOST;
  if (drawn < loss + duplicates) return TWICE;
  return drawn < loss + duplicates + reorder ? HELD : PROMPT;
}

/** From 0 to 1, below it. The mixing is that of MurmurHash3's end. */
function draw(seed: number, number: number): number {
  let bits = Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32;
}
