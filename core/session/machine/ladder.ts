// Which of several paths to a peer is the better one.

/** Punched through routers: direct, by UDP. */
const PUNCHED = 1;
/** A third machine passes everything on. */
const PASSED_ON = 2;
const RANKS: Record<string, number> = { punch: PUNCHED, relay: PASSED_ON, tcprelay: PASSED_ON, ssh: PASSED_ON };

/** The rank of a path by the scheme of its address: 0 is best, for whatever is dialed directly. */
export function rankOf(kind: string): number {
  return RANKS[kind] ?? 0;
}

/** Orders addresses by rank, the best first. */
export function byRank(a: string, b: string): number {
  return rankOf(schemeOf(a)) - rankOf(schemeOf(b));
}

/** "tcp://host:1" -> "tcp"; "link" for what is no address. */
export function schemeOf(address: string): string {
  return address.slice(0, Math.max(0, address.indexOf(":"))) || "link";
}
