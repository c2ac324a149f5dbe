// Which ways to a peer are better than others. The kind of a path is the scheme of the address that was dialed.
//
//   0  tcp, unix, memory, any that is not named here: straight to the peer
//   1  udp: as straight, but slower in bulk, and a peer whose process died is noticed later
//   2  punch: straight to it as well, through holes in routers that have to be kept open
//   3  relay, tcprelay, ssh: a third machine carries every byte

/** A number for each kind of path: smaller is better. */
export function rankOf(kind: string): number {
  return RANKS.get(kind) ?? BEST_RANK;
}

export const BEST_RANK = 0;
/** The last rank of paths that need nobody's help to be found: what is better is tried, but not missed. */
export const STRAIGHT_RANK = 1;
export const PUNCH_RANK = 2;

const RANKS: ReadonlyMap<string, number> = new Map([
  ["udp", STRAIGHT_RANK],
  ["punch", PUNCH_RANK],
  ["relay", 3],
  ["tcprelay", 3],
  ["ssh", 3],
]);

/** The scheme of an address; "link" for what has none. */
export function kindOf(address: string): string {
  return address.slice(0, Math.max(0, address.indexOf(":"))) || "link";
}

export function rankOfAddress(address: string): number {
  return rankOf(kindOf(address));
}

/** The same addresses, the better ones first, those of one rank in their order. */
export function byRank(addresses: readonly string[]): string[] {
  return [...addresses].sort((a, b) => rankOfAddress(a) - rankOfAddress(b));
}

/** An address as people are shown it: what follows a "?" may be a secret. */
export function shownAddress(address: string): string {
  return address.replace(/\?.*$/s, "");
}
