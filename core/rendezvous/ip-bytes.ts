// IP addresses as the 16 bytes of IPv6, in which those of IPv4 are "mapped": ::ffff:a.b.c.d. Pure.
import { isIP } from "node:net";
import { plainIp } from "../ip-address.ts";

/** 16 bytes. Throws Error for what is no IP address. */
export function ipBytes(text: string): Uint8Array {
  const address = plainIp(text);
  const family = isIP(address);
  if (family === 0) throw new Error(`${JSON.stringify(text)} is no IP address`);
  const bytes = new Uint8Array(16);
  if (family === 4) {
    bytes.fill(0xff, 10, 12);
    bytes.set(address.split(".").map(Number), 12);
    return bytes;
  }
  const [front = "", back] = address.split("::");
  bytes.set(groupBytes(front), 0);
  if (back !== undefined) {
    const tail = groupBytes(back);
    bytes.set(tail, 16 - tail.length);
  }
  return bytes;
}

/** Text of 16 bytes, the shortest that there is. */
export function ipText(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  if (groups.slice(0, 5).every((group) => group === "0") && groups[5] === "ffff") return bytes.slice(12).join(".");
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** The bytes of some groups: "2001:db8", or with IPv4 at the end. */
function groupBytes(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
