// IP addresses as text: alone, with a port, and inside the address of a node ("tcp://[fd00::5]:7450"). Pure.
import { isIP } from "node:net";

const MAPPED = "::ffff:";
const PLACE = /^(?:[a-z]+:\/\/)?(?:\[([^[\]]*)\]|([^[\]:]*)):(\d+)(?:\?.*)?$/;

/** The address as the family it is of: a socket that takes both shows IPv4 ones as "::ffff:10.0.0.5". */
export function unmapped(ip: string): string {
  return ip.startsWith(MAPPED) && ip.includes(".") ? ip.slice(MAPPED.length) : ip;
}

/** What a socket says of where something came from, as the family it is of, and without the zone of "fe80::1%eth0". */
export function plainIp(ip: string): string {
  return unmapped(ip.split("%", 1)[0]!);
}

/** "10.0.0.5:40001", "[2001:db8::5]:40001". */
export function hostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host of "tcp://gpu1:7450" or "[2001:db8::5]:40001", without brackets; "" when there is none. */
export function hostOf(address: string): string {
  const [, ipv6, other] = PLACE.exec(address) ?? [];
  return ipv6 ?? other ?? "";
}

/** The port of "tcp://gpu1:7450" or "[2001:db8::5]:40001"; NaN when there is none. */
export function portOf(address: string): number {
  return Number(PLACE.exec(address)?.[3]);
}

/** Whether every machine means itself by that host: "localhost", "::1", "127.0.0.1". */
export function isLoopback(host: string): boolean {
  return host === "::1" || host === "localhost" || host.startsWith("127.");
}

/**
 * What connections are counted by: an IPv4 address, or the first 64 bits of an IPv6 one, because whoever has one of
 * those has all addresses that begin so.
 */
export function countedHost(host: string): string {
  const plain = plainIp(host);
  if (isIP(plain) !== 6) return plain;
  const [head = "", tail] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  return [...groups, ...new Array<string>(missing).fill("0"), ...(tail?.split(":") ?? [])].slice(0, 4).join(":");
}
