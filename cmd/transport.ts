// The transport between the nodes of a mesh: of those that ship, the one that an address names.
import { MeshError } from "../core/errors.ts";
import type { MeshTransport, Transport } from "../core/transport.ts";
import {
  addedWays,
  builtinTransports,
  spliceRelay,
  type TransportFactory,
  type TransportOptions,
} from "../transports/builtin.ts";

const factories = new Map<string, TransportFactory>(Object.entries(builtinTransports));
const ways = new Map(Object.entries(addedWays));

/** By which transport an address goes, under its name in mesh.toml. Undefined when none is named there. */
export function carrierOf(address: string): string | undefined {
  const scheme = schemeOf(address);
  return factories.has(scheme) ? scheme : ways.get(scheme)?.carrier;
}

/** Its `listen` and `dial` throw UNREACHABLE for an address of a scheme that this build does not have. */
export function meshTransport(options: TransportOptions): MeshTransport {
  const made = new Map<string, Transport>();
  const make = (scheme: string): Transport | undefined => {
    const way = ways.get(scheme);
    if (way?.carrier && !way.make) return of(way.carrier);
    return (way?.make ?? factories.get(scheme))?.(options);
  };
  const of = (scheme: string): Transport | undefined => {
    const transport = made.get(scheme) ?? make(scheme);
    if (transport) made.set(scheme, transport);
    return transport;
  };
  const on = (address: string): Transport => of(schemeOf(address)) ?? noWayTo(address);
  return {
    name: "mesh",
    listen: async (address, accept) => await on(address).listen(address, accept),
    dial: async (address, dialOptions) => await on(address).dial(address, dialOptions),
    spliceRelay,
  };
}

function schemeOf(address: string): string {
  return address.slice(0, Math.max(0, address.indexOf("://")));
}

function noWayTo(address: string): never {
  const known = [...factories.keys()].map((name) => `${name}://HOST:PORT`);
  throw new MeshError("UNREACHABLE", `there is no way to ${address}: addresses of this build are ${known.join(", ")}`);
}
