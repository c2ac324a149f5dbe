// The transports that ship. Static imports only: a computed one would be missing from the compiled binary.
import type { Transport } from "../core/transport.ts";
import { RelayTransport } from "./tcp/relay-transport.ts";
import { spliceRelay } from "./tcp/splice-relay.ts";
import { type TcpOptions, TcpTransport } from "./tcp/tcp-transport.ts";
import { TunnelTransport } from "./tcp/tunnel-transport.ts";
import { UdpTransport } from "./udp/udp-transport.ts";

export { spliceRelay };

/** What every transport between nodes is given. */
export type TransportOptions = Pick<TcpOptions, "credentials" | "admitsStrangers" | "onRefused"> & {
  /** The socket of this node's tunnel, where it may have one. */
  tunnel?: string;
};

/** Makes a transport between the nodes of a mesh; its key is the scheme of its addresses and its name in mesh.toml. */
export type TransportFactory = (options: TransportOptions) => Transport;

/** What `transports = [...]` of mesh.toml may name. Unix sockets and memory join processes of one machine: not here. */
export const builtinTransports = {
  tcp: (options) => new TcpTransport(options),
  udp: (options) => new UdpTransport(options),
} satisfies Record<string, TransportFactory>;

/** A scheme that a node adds to the addresses of others by itself: it is in no mesh.toml, and told to nobody. */
export interface AddedWay {
  /** The transport that carries it: where mesh.toml rules that out, it rules this out. None: nothing does. */
  carrier?: keyof typeof builtinTransports;
  /** Without it, the carrier reads its addresses itself. Undefined where the node has no such way. */
  make?: (options: TransportOptions) => Transport | undefined;
}

/**
 * With a tunnel "ssh://HOST:PORT", through routers "punch://HOST:PORT?from=PORT", "relay://HOST:PORT" and
 * "tcprelay://HOST:PORT?token=HEX".
 */
export const addedWays: Record<string, AddedWay> = {
  ssh: { make: ({ credentials, tunnel }) => (tunnel ? new TunnelTransport({ credentials, path: tunnel }) : undefined) },
  punch: { carrier: "udp" },
  relay: { carrier: "udp" },
  tcprelay: { carrier: "tcp", make: (options) => new RelayTransport(options) },
};
