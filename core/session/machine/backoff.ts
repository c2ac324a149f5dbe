// How long to wait before the next try to reach a peer.

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;

/**
 * Milliseconds to wait after `failures` tries in a row went wrong: none before the first try, then 100 ms doubling to
 * 2 s, spread by `random` (from 0 up to 1) over a quarter to both sides, so that many who lost the same peer do not all
 * come back at once.
 */
export function redialWaitMs(failures: number, random: number): number {
  if (failures <= 0) return 0;
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 30));
  return wait * (0.75 + 0.5 * random);
}

/** Milliseconds all addresses of a peer get in one round: longer when earlier rounds took too long. */
export function roundLimitMs(failures: number): number {
  return Math.min(5_000, 2_500 * (failures + 1));
}
