// From a host's name to its addresses.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

/** All addresses of a host, the best first. Rejects with the resolver's error. */
export type Resolve = (host: string) => Promise<string[]>;

/** Asks the system: /etc/hosts, DNS, in the order of RFC 6724. */
export const systemResolve: Resolve = async (host) => {
  if (isIP(host) !== 0) return [host];
  const found = await lookup(host, { all: true, verbatim: true });
  return [...new Set(found.map(({ address }) => address))];
};

/** Families in turns, so that one of them that leads nowhere costs one step only (RFC 8305, section 4). */
export function inTurns(hosts: readonly string[]): string[] {
  const family = (host: string | undefined) => isIP(host ?? "");
  const first = hosts.filter((host) => family(host) === family(hosts[0]));
  const second = hosts.filter((host) => family(host) !== family(hosts[0]));
  const length = Math.max(first.length, second.length);
  return Array.from({ length }, (_, i) => [first[i], second[i]])
    .flat()
    .filter((host) => host !== undefined);
}
