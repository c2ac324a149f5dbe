// Where a node can be dialed: what it listens on, as others see it.
import { networkInterfaces } from "node:os";
import { hostAndPort, hostOf, isLoopback, portOf } from "../ip-address.ts";

/** A machine may have dozens of interfaces: others are told of no more addresses than the coordinator takes. */
const ADVERTISED_LIMIT = 32;

const ANY_HOSTS = new Set(["0.0.0.0", "::"]);

interface Interface {
  address: string;
  family: string;
  internal: boolean;
  scopeid?: number;
}

/**
 * The addresses to tell others: those given on purpose, else for each address listened on its own host, or all hosts of
 * this machine's interfaces where it listens on any ("tcp://[::]:7450"). Loopback comes last: it is of use to nodes of
 * this machine only. Link-local addresses of IPv6 are left out, as they mean nothing without an interface. At most 32,
 * of each that is listened on about as many.
 */
export function advertisedAddresses(
  listening: readonly string[],
  given: readonly string[] = [],
  interfaces: Record<string, readonly Interface[] | undefined> = networkInterfaces(),
): string[] {
  const found = given.length > 0 ? given : inTurn(listening.map((address) => spread(address, interfaces)));
  const sorted = [...new Set(found)].sort((a, b) => Number(isInside(a)) - Number(isInside(b)));
  return sorted.slice(0, ADVERTISED_LIMIT);
}

/** The first of each list, then the second of each, and so on. */
function inTurn(lists: readonly (readonly string[])[]): string[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat();
}

/** Of another node's addresses those that make sense from here: loopback only for nodes of the same machine. */
export function reachableAddresses(addresses: readonly string[], isSameMachine: boolean): string[] {
  if (!isSameMachine) return addresses.filter((address) => !isInside(address));
  return [...addresses].sort((a, b) => Number(isInside(b)) - Number(isInside(a)));
}

function spread(address: string, interfaces: Record<string, readonly Interface[] | undefined>): string[] {
  const host = hostOf(address);
  if (!ANY_HOSTS.has(host)) return [address];
  const isDual = host === "::";
  const all = Object.values(interfaces).flatMap((each) => each ?? []);
  const usable = all.filter(({ family, scopeid }) => family === "IPv4" || (isDual && !scopeid));
  const [scheme] = address.split("://");
  return usable.map(({ address: ip }) => `${scheme}://${hostAndPort(ip, portOf(address))}`);
}

/** Of use on this machine only. */
function isInside(address: string): boolean {
  return isLoopback(hostOf(address));
}
