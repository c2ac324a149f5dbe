// How long to wait before the next try to reach a peer, or to reach it by a better path.
import { STRAIGHT_RANK } from "./ladder.ts";

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;
const FIRST_CLIMB_MS = 1_000;
const LONGEST_CLIMB_MS = 60_000;
const LONGEST_STRAIGHT_CLIMB_MS = 600_000;
/** A path that was in use for so long was no mistake. */
const STEADY_MS = 60_000;

/**
 * Milliseconds to wait after `failures` tries in a row went wrong: none before the first try, then 100 ms doubling to
 * 2 s, spread by `random` (from 0 up to 1) over a quarter to both sides, so that many who lost the same peer do not all
 * come back at once.
 */
export function redialWaitMs(failures: number, random: number): number {
  return waitMs(failures, random, FIRST_WAIT_MS, LONGEST_WAIT_MS);
}

/**
 * As redialWaitMs, before the next try to find a better path than the one in use, of `rank`: 1 s doubling to 60 s; to 600 s from one
 * that is straight already, where a firewall most likely drops what the better one needs.
 */
export function climbWaitMs(tries: number, random: number, rank: number): number {
  return waitMs(tries, random, FIRST_CLIMB_MS, rank > STRAIGHT_RANK ? LONGEST_CLIMB_MS : LONGEST_STRAIGHT_CLIMB_MS);
}

/**
 * How many tries to find a better path count as failed, now that there is a link by a path of `rank`; `before` is the last
 * link's path, and how long it was in use. A better path that broke early was not worth finding; one that lasted is.
 */
export function triesAfterLink(
  tries: number,
  before: { rank: number; forMs: number } | undefined,
  rank: number,
): number {
  if (!before || rank <= before.rank) return tries;
  return before.forMs < STEADY_MS ? tries + 1 : 0;
}

/** Milliseconds all addresses of a peer get in one round: longer when earlier rounds took too long. */
export function roundLimitMs(failures: number): number {
  return Math.min(5_000, 2_500 * (failures + 1));
}

/**
 * Milliseconds from one address to the next in a round of `count`. RFC 8305, "Connection Attempt Delay": 250 and never below
 * 10, but all are under way within a second; within half of one where the peer was reached before, and is waited for.
 */
export function staggerMs(count: number, wasReached: boolean): number {
  const [longest, withinMs] = wasReached ? [100, 500] : [250, 1_000];
  return Math.max(10, Math.min(longest, Math.floor(withinMs / Math.max(1, count - 1))));
}

function waitMs(failures: number, random: number, firstMs: number, longestMs: number): number {
  if (failures <= 0) return 0;
  const wait = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return wait * (0.75 + 0.5 * random);
}
