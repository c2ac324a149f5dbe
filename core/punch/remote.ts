// Where packets go to and come from, as text: "198.51.100.7:51820", "[2001:db8::5]:51820". One place is always the same text.
import { isIP } from "node:net";
import { hostAndPort, plainIp } from "../ip-address.ts";

const FORM = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** What somebody wrote, as it is written here. Undefined when it is no address of one node: also for multicast, broadcast and none at all. */
export function readRemote(text: string): string | undefined {
  const [, ipv6, ipv4, digits] = FORM.exec(text) ?? [];
  const port = Number(digits);
  if (!(port >= 1 && port <= 65_535)) return undefined;
  const host = spelled(ipv6 ?? ipv4 ?? "");
  return host === undefined || isForMany(host) ? undefined : hostAndPort(host, port);
}

/** What a socket says of a packet's source. */
export function remoteOf(host: string, port: number): string {
  return hostAndPort(spelled(host) ?? host, port);
}

/** IPv6 has many spellings (RFC 5952 names one). */
function spelled(host: string): string | undefined {
  const ip = plainIp(host);
  const family = isIP(ip);
  if (family === 6) return new URL(`udp://[${ip}]`).hostname.slice(1, -1);
  return family === 4 ? ip : undefined;
}

function isForMany(host: string): boolean {
  if (host.includes(":")) return host === "::" || host.startsWith("ff");
  const first = Number(host.split(".", 1)[0]);
  return first === 0 || first >= 224;
}
