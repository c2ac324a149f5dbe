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

/** The interfaces to use, loopback first: it is how nodes of one machine find each other. */
export function lanInterfaces(
  all: Record<string, readonly NetworkInterfaceInfo[] | undefined> = networkInterfaces(),
): LanInterface[] {
  const found = Object.entries(all).flatMap(([name, addresses]) => {
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
