// Whether an address can be listened on, and reached, without a word to whoever is there: for `mesh doctor`.
import { MeshError } from "../../core/errors.ts";
import type { DialOutcome } from "../../core/provider.ts";
import { onThisMachine, parseIpAddress } from "../ip-address.ts";
import { systemResolve } from "../resolve.ts";
import { type DialSettings, dialUdp } from "./dial.ts";
import { Endpoints } from "./endpoints.ts";
import { codeOf, listenFailure } from "./failures.ts";
import { TRUSTS_ANYBODY } from "./identity.ts";

/** Why it cannot; undefined when it can. Throws UNREACHABLE for what is no address. */
export async function tryListenUdp(address: string): Promise<MeshError | undefined> {
  const { host, port } = onThisMachine(parseIpAddress("udp", address));
  try {
    (await Bun.udpSocket({ hostname: host, port })).close();
    return undefined;
  } catch (error) {
    return listenFailure(address, error);
  }
}

/** QUIC's handshake with whoever is there, and no more. Never rejects. */
export async function tryDialUdp(address: string, timeoutMs: number): Promise<DialOutcome> {
  const begin = performance.now();
  const endpoints = new Endpoints();
  const connect: DialSettings["connect"] = (...target) => endpoints.connect(...target);
  try {
    const link = await dialUdp(address, { connect, trust: TRUSTS_ANYBODY, resolve: systemResolve }, { timeoutMs });
    const tookMs = performance.now() - begin;
    link.destroy(new MeshError("CANCELLED", "it was only tried"));
    return { address, tookMs };
  } catch (error) {
    const { code, cause } = error as MeshError;
    return { address, code: code === "TIMEOUT" ? "ETIMEDOUT" : codeOf(cause) || "EUNKNOWN" };
  }
}
