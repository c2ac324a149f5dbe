// Both nodes of a session may dial each other at the same moment. Both must come to the same conclusion about which of
// the two links stays, and neither may cling to a link that the other has given up.

/** What a node knows when a greeting for one of its sessions comes in. */
export interface Claim {
  ownNode: number;
  peerNode: number;
  /** The rank of the path on which a greeting of our own for the same lane is under way; undefined: none is, or it should have been answered by now. */
  greetedRank: number | undefined;
  /** The rank of the path on which the peer's greeting came. */
  peerRank: number;
  /** Number of the last link that both sides have seen established. */
  sharedGeneration: number;
  /** Number of the last link that the peer had seen established when it sent its greeting. */
  peerGeneration: number;
}

/**
 * Tells whether the link of the greeting is refused as a duplicate; otherwise it takes the place of whatever is there,
 * since whoever dials again knows that the old one is worth nothing, or that the new one goes a better way.
 *
 * - The greeting was sent before the last link that the peer has seen as well: it is old, and the peer has dropped it.
 * - Two greetings cross: the one on the better path stays, on equal ones that of the lower node. Both sides know both, and only
 *   one of them refuses, so one always goes through.
 *
 * How the path compares with the link in use does not matter: a peer that dials on a worse one has lost that link, even if this
 * side still hears it.
 */
export function isDuplicate(claim: Claim): boolean {
  const { ownNode, peerNode, greetedRank, peerRank, sharedGeneration, peerGeneration } = claim;
  if (peerGeneration < sharedGeneration) return true;
  if (greetedRank === undefined) return false;
  return greetedRank === peerRank ? ownNode < peerNode : greetedRank < peerRank;
}

/** The number of a new link: higher than all that either side has seen. Acceptor and dialer both take it. */
export function nextGeneration(ownGeneration: number, peerGeneration: number): number {
  return Math.max(ownGeneration, peerGeneration) + 1;
}
