// Whether addresses of any transport can be listened on, and dialed, for `mesh doctor`.
import type { MeshError } from "../core/errors.ts";
import type { DialOutcome } from "../core/provider.ts";
import { tryDialTcp } from "./tcp/try-dial.ts";
import { tryListenTcp } from "./tcp/try-listen.ts";
import { tryDialUdp, tryListenUdp } from "./udp/try-address.ts";

/** Never rejects. */
export function tryDial(address: string, timeoutMs: number): Promise<DialOutcome> {
  return address.startsWith("udp:") ? tryDialUdp(address, timeoutMs) : tryDialTcp(address, timeoutMs);
}

/** Why it cannot; undefined when it can. Throws UNREACHABLE for what is no address. */
export function tryListen(address: string): Promise<MeshError | undefined> {
  return address.startsWith("udp:") ? tryListenUdp(address) : tryListenTcp(address);
}
