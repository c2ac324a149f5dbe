// Addresses of this transport: "udp://gpu1:7450", and two that a node makes for itself and tells nobody:
//
//   punch://198.51.100.7:51820?from=40001   through a hole that was made from the own port 40001, which is listened on
//   relay://203.0.113.9:42000               a port of a relay, behind which another node's port is; from where this side listens, as
//                                           the other one dials, too
import { MeshError } from "../../core/errors.ts";
import { type IpAddress, parseIpAddress } from "../ip-address.ts";

export interface UdpTarget {
  to: IpAddress;
  /** Whether a refusal from there is that of the node; else it is that of a router, or of a relay that is not ready yet. */
  isDirect: boolean;
  /** The own port to dial from; undefined: that of ordinary dials. */
  from: number | undefined;
}

const FROM = /^(punch:\/\/[^?]*)\?from=(\d{1,5})$/;

/** Throws UNREACHABLE for what is none. */
export function parseUdpTarget(text: string): UdpTarget {
  if (text.startsWith("relay:")) return { to: parseIpAddress("relay", text), isDirect: false, from: undefined };
  if (!text.startsWith("punch:")) return { to: parseIpAddress("udp", text), isDirect: true, from: undefined };
  const [, address = "", port] = FROM.exec(text) ?? [];
  const from = Number(port);
  if (from >= 1 && from <= 65_535) return { to: parseIpAddress("punch", address), isDirect: false, from };
  throw new MeshError(
    "UNREACHABLE",
    `${JSON.stringify(text)} is no way through a hole: write punch://HOST:PORT?from=PORT, the last one a port of this side`,
  );
}

/** Where to listen: "udp://[::]:7450", or "punch://[::]:40001" on the port of a hole, which nothing else is dialed from. */
export function parseUdpPlace(text: string): { at: IpAddress; isHole: boolean } {
  if (text.startsWith("relay:"))
    throw new MeshError("UNREACHABLE", `cannot listen on ${text}: a relay's port is not of this side`);
  const isHole = text.startsWith("punch:");
  return { at: parseIpAddress(isHole ? "punch" : "udp", text), isHole };
}
