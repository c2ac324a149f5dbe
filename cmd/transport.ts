// The transport between the nodes of a mesh: of those that ship, the one that an address names.
import { MeshError } from "../core/errors.ts";
import type { Transport } from "../core/transport.ts";
import {
  builtinTransports,
  type TransportFactory,
  type TransportOptions,
  tunnelTransport,
} from "../transports/builtin.ts";

const factories: Record<string, TransportFactory | undefined> = builtinTransports;

/** Its `listen` and `dial` throw UNREACHABLE for an address of a scheme that this build does not have. */
export function meshTransport(options: TransportOptions): Transport {
  const made = new Map<string, Transport>();
  const of = (address: string): Transport => {
    const scheme = address.slice(0, Math.max(0, address.indexOf("://")));
    const transport = made.get(scheme) ?? (scheme === "ssh" ? tunnelTransport(options) : factories[scheme]?.(options));
    if (!transport) {
      const known = Object.keys(factories).map((name) => `${name}://HOST:PORT`);
      throw new MeshError(
        "UNREACHABLE",
        `there is no way to ${address}: addresses of this build are ${known.join(", ")}`,
      );
    }
    made.set(scheme, transport);
    return transport;
  };
  return {
    name: "mesh",
    listen: async (address, accept) => await of(address).listen(address, accept),
    dial: async (address, dialOptions) => await of(address).dial(address, dialOptions),
  };
}
