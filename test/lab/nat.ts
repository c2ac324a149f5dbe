// Routers that translate addresses, as RFC 4787 names what they do to UDP: which outside port they give to a host's port, and whose
// packets to that port they let in.
import { run } from "./namespaces.ts";

/**
 * "full": one outside port for each port inside, open to everybody once it was used; "address": open to hosts that were sent to;
 * "port": to ports that were sent to; "symmetric": another outside port for each port that is sent to, open to that one alone.
 */
export const NAT_KINDS = ["full", "address", "port", "symmetric"] as const;
export type NatKind = (typeof NAT_KINDS)[number];

export interface NatOptions {
  kind: NatKind;
  inner: string;
  outer: string;
  /** The router's own address outside. */
  outerIp: string;
  /** Addresses of the hosts inside. */
  hosts: readonly string[];
  /** Hosts inside reach each other by their outside addresses, too. */
  hairpin: boolean;
}

/** Lays a router's rules, in its network namespace. Its FORWARD chain is to let pass what was translated (DNAT). */
export function translate(namespace: string, options: NatOptions): void {
  const { kind, outer } = options;
  const inside = (...command: string[]) => run("ip", "netns", "exec", namespace, ...command);
  const nat = (...rule: string[]) => inside("iptables", "-w", "-t", "nat", "-A", ...rule);
  const mangle = (...rule: string[]) => inside("iptables", "-w", "-t", "mangle", "-A", ...rule);
  if (kind === "symmetric") nat("POSTROUTING", "-o", outer, "-p", "udp", "-j", "MASQUERADE", "--random-fully");
  nat("POSTROUTING", "-o", outer, "-j", "MASQUERADE"); // keeps a free port: the same one whoever is sent to
  if (kind === "port" || kind === "symmetric") return;
  // Linux lets in replies only. What each host has opened is kept in a set, and what comes to it is led there.
  for (const [index, host] of options.hosts.entries()) {
    const set = `opened${index}`;
    const [type, sent, come] =
      kind === "full" ? [["bitmap:port", "range", "0-65535"], "src", "dst"] : [["hash:ip,port"], "dst,src", "src,dst"];
    inside("ipset", "create", set, ...type, "timeout", "300");
    mangle("FORWARD", "-s", host, "-o", outer, "-p", "udp", "-j", "SET", "--add-set", set, sent, "--exist");
    const isOpen = ["-p", "udp", "-m", "set", "--match-set", set, come, "-j", "DNAT", "--to-destination", host];
    nat("PREROUTING", "-i", outer, ...isOpen);
    if (options.hairpin) nat("PREROUTING", "-i", options.inner, "-d", options.outerIp, ...isOpen);
  }
  // From the outside address (RFC 4787, REQ-9a): it is the one that the other's own router was sent to.
  const isLedBack = ["-m", "conntrack", "--ctstate", "DNAT"];
  if (options.hairpin)
    nat("POSTROUTING", "-o", options.inner, ...isLedBack, "-j", "SNAT", "--to-source", options.outerIp);
}

/** Bytes that a router has passed on between two addresses, there and back, of connections that it still knows. */
export function bytesBetween(namespace: string, own: string, other: string): number {
  const table = run("ip", "netns", "exec", namespace, "conntrack", "-L");
  let sum = 0;
  for (const flow of table.split("\n")) {
    const ways = [...flow.matchAll(/\bsrc=(\S+) dst=(\S+)/g)];
    const isBetween = ways.some(([, from, to]) => (from === own && to === other) || (from === other && to === own));
    if (!isBetween) continue;
    for (const [, bytes] of flow.matchAll(/\bbytes=(\d+)/g)) sum += Number(bytes);
  }
  return sum;
}
