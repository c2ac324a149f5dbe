// Where a UDP port of this machine may be reached: addresses of its interfaces, and those that others see.
import { networkInterfaces } from "node:os";
import { hostAndPort, hostOf, isLoopback } from "../ip-address.ts";
import { CANDIDATE_LIMIT } from "../rendezvous/bodies.ts";

/** So many outside addresses are named to the other node: more means a NAT that gives a new one each time. */
const OUTSIDE_LIMIT = 8;

export type Interfaces = Record<
  string,
  readonly { address: string; family: string; internal: boolean; scopeid?: number }[] | undefined
>;

/** Addresses of this machine that mean something elsewhere, IPv6 first; those of loopback when there are no others. */
export function ownHosts(interfaces: Interfaces = networkInterfaces()): string[] {
  const all = Object.values(interfaces).flatMap((each) => each ?? []);
  const named = all.filter(({ scopeid, address }) => !scopeid && !isLinkLocal(address));
  const outer = named.filter(({ internal }) => !internal);
  const usable = outer.length > 0 ? outer : named;
  return usable.map(({ address }) => address).sort((a, b) => Number(isV6(b)) - Number(isV6(a)));
}

/**
 * Candidates of a port, best first: IPv6, IPv4 of the local networks, and last where echoes see it. What they see is one of
 * this machine's own addresses where there is no NAT; it comes last all the same, so that the last one is always outside.
 */
export function candidatesOf(port: number, hosts: readonly string[], seen: readonly string[]): string[] {
  const own = hosts.map((host) => hostAndPort(host, port));
  const outside = outsideSeen(own, seen).slice(0, OUTSIDE_LIMIT);
  const inside = own.filter((remote) => !outside.includes(remote)).slice(0, CANDIDATE_LIMIT - outside.length);
  return [...inside, ...outside];
}

/** The address from which the world sees whoever sent these candidates. */
export function outsideHost(candidates: readonly string[]): string | undefined {
  const last = candidates.at(-1);
  return last === undefined ? undefined : hostOf(last);
}

function outsideSeen(own: readonly string[], seen: readonly string[]): string[] {
  const places = [...new Set(seen)].filter((remote) => !isLinkLocal(hostOf(remote)));
  const useful = places.filter((remote) => !isLoopback(hostOf(remote)) || own.includes(remote));
  const translated = useful.filter((remote) => !own.includes(remote));
  const v4 = translated.filter((remote) => !isV6(remote));
  // Of an IPv6 address there is nothing to learn where it is the machine's own: it stays first.
  const plain = v4.length > 0 ? [] : useful.filter((remote) => own.includes(remote) && !isV6(remote));
  return [...translated.filter(isV6), ...v4, ...plain];
}

/** Such an address of IPv6 means nothing without its interface. */
function isLinkLocal(host: string): boolean {
  return /^fe[89ab]/i.test(host);
}

function isV6(address: string): boolean {
  return address.indexOf(":") !== address.lastIndexOf(":");
}
