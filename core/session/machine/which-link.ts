// Both nodes of a session may dial each other at the same moment. Both must come to the same conclusion about which of
// the two links stays, and neither may cling to a link that the other has given up.

/** What a node knows when a greeting for one of its sessions comes in. */
export interface Claim {
  ownNode: number;
  peerNode: number;
  /** A greeting of our own for the same lane is under way and unanswered. */
  hasGreeted: boolean;
  /** The link in use is there, and we dialed it. */
  hasOwnLink: boolean;
  /** Number of the last link we have seen established. */
  ownGeneration: number;
  /** The same of the peer, when it sent its greeting. */
  peerGeneration: number;
}

/**
 * Tells whether the link of the greeting is refused as a duplicate; otherwise it takes the place of whatever is there,
 * since whoever dials again knows that the old one is worth nothing.
 *
 * - Two greetings cross: the dial of the lower node stays. Only that node refuses, so one of the two always goes through.
 * - The greeting was sent before the peer accepted the link that we dialed: it is old, and the peer has dropped it.
 */
export function isDuplicate(claim: Claim): boolean {
  if (claim.hasGreeted) return claim.ownNode < claim.peerNode;
  return claim.hasOwnLink && claim.peerGeneration < claim.ownGeneration;
}

/** The number of a new link: higher than all that either side has seen. Acceptor and dialer both take it. */
export function nextGeneration(ownGeneration: number, peerGeneration: number): number {
  return Math.max(ownGeneration, peerGeneration) + 1;
}
