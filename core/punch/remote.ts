// Where packets go to and come from, as text: "198.51.100.7:51820", "[2001:db8::5]:51820". One place is always the same text.
import { isIP } from "node:net";

export interface Remote {
  /** IP address, without brackets. */
  host: string;
  /** From 1 to 65535. */
  port: number;
}

const FORM = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** Undefined when it is no address to which one node sends: also for multicast, broadcast and none at all. */
export function parseRemote(text: string): Remote | undefined {
  const [, ipv6, ipv4, digits] = FORM.exec(text) ?? [];
  const port = Number(digits);
  if (!(port >= 1 && port <= 65_535)) return undefined;
  const host = plain(ipv6 ?? ipv4 ?? "");
  return host === undefined || isForMany(host) ? undefined : { host, port };
}

export function formatRemote({ host, port }: Remote): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What a socket says of a packet's source. */
export function remoteOf(host: string, port: number): string {
  return formatRemote({ host: plain(host) ?? host, port });
}

/** The host of an address that is well formed. */
export function hostOf(remote: string): string {
  const end = remote.lastIndexOf(":");
  return remote.startsWith("[") ? remote.slice(1, end - 1) : remote.slice(0, end);
}

export function portOf(remote: string): number {
  return Number(remote.slice(remote.lastIndexOf(":") + 1));
}

export function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}

/** Sockets that take both families write IPv4 as "::ffff:10.0.0.5"; IPv6 has many spellings (RFC 5952 names one). */
function plain(host: string): string | undefined {
  const unmapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1] ?? host;
  const family = isIP(unmapped);
  if (family === 6) return new URL(`udp://[${unmapped}]`).hostname.slice(1, -1);
  return family === 4 ? unmapped : undefined;
}

function isForMany(host: string): boolean {
  if (host.includes(":")) return host === "::" || host.startsWith("ff");
  const first = Number(host.split(".", 1)[0]);
  return first === 0 || first >= 224;
}
