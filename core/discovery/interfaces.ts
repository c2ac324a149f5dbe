// The networks this machine is in, as far as discovery is concerned: one IPv4 address of each interface.
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

/** One interface with an IPv4 address. */
export interface LanInterface {
  name: string;
  /** Its first IPv4 address. */
  address: string;
  netmask: string;
}

/** The kernel lets a socket join some 20 groups (igmp_max_memberships); more interfaces than this are left out. */
export const INTERFACE_LIMIT = 16;

/** Environment variable: names of the only interfaces that discovery may use, such as "lo,eth1". */
export const ONLY_INTERFACES = "MESH_DISCOVERY_INTERFACES";

/**
 * The interfaces to use, loopback first: it is how nodes of one machine find each other. `only` names those that may be
 * used, with commas between; by default what ONLY_INTERFACES says, else all.
 */
export function lanInterfaces(
  all: Record<string, readonly NetworkInterfaceInfo[] | undefined> = networkInterfaces(),
  only: string | undefined = process.env[ONLY_INTERFACES],
): LanInterface[] {
  const allowed = only?.split(",").map((name) => name.trim());
  const found = Object.entries(all).flatMap(([name, addresses]) => {
    if (allowed && !allowed.includes(name)) return [];
    const first = addresses?.find(({ family }) => family === "IPv4");
    return first ? [{ name, address: first.address, netmask: first.netmask, internal: first.internal }] : [];
  });
  found.sort((a, b) => Number(b.internal) - Number(a.internal));
  return found.slice(0, INTERFACE_LIMIT).map(({ name, address, netmask }) => ({ name, address, netmask }));
}

/** The address that reaches everybody in the interface's network; undefined where there is nobody but itself. */
export function broadcastOf({ address, netmask }: LanInterface): string | undefined {
  const mask = numberOf(netmask);
  // A network of one or two addresses (RFC 3021) has none.
  if (mask >= 0xfffffffe) return undefined;
  return textOf((numberOf(address) | ~mask) >>> 0);
}

/** Whether `source` is an address in one of these networks. */
export function isOnLink(source: string, interfaces: readonly LanInterface[]): boolean {
  const from = numberOf(source);
  return interfaces.some(({ address, netmask }) => {
    const mask = numberOf(netmask);
    return (from & mask) === (numberOf(address) & mask);
  });
}

function numberOf(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}
