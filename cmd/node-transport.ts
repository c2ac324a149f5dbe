// The transport of a node whose mesh.toml may rule some out: what other nodes say of themselves changes nothing about that.
import { MeshError } from "../core/errors.ts";
import type { MeshTransport } from "../core/transport.ts";
import type { TransportOptions } from "../transports/builtin.ts";
import { carrierOf, meshTransport } from "./transport.ts";

export interface NodeTransportOptions extends TransportOptions {
  /** Names of those that may be used. */
  transports: readonly string[];
}

/** Its `dial` throws UNREACHABLE for an address of a transport that is not among them. */
export function nodeTransport({ transports, ...options }: NodeTransportOptions): MeshTransport {
  const inner = meshTransport(options);
  const check = (address: string): void => {
    const carrier = carrierOf(address);
    if (carrier === undefined || transports.includes(carrier)) return;
    throw new MeshError("UNREACHABLE", `not dialing ${address}: ${carrier} is not among the transports of mesh.toml`);
  };
  return {
    ...inner,
    dial: async (address, dialOptions) => {
      check(address);
      return await inner.dial(address, dialOptions);
    },
  };
}
