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

/**
 * Schemes that a node adds to the addresses of others by itself, which are in no mesh.toml and told to nobody: with a tunnel "ssh://HOST:PORT",
 * through routers "punch://HOST:PORT?from=PORT", "relay://HOST:PORT" and "tcprelay://HOST:PORT?token=HEX". A name stands for that transport.
 */
export const addedWays: Record<
  string,
  keyof typeof builtinTransports | ((options: TransportOptions) => Transport | undefined)
> = {
  ssh: ({ credentials, tunnel }) =>
    tunnel === undefined ? undefined : new TunnelTransport({ credentials, path: tunnel }),
  punch: "udp",
  relay: "udp",
  tcprelay: (options) => new RelayTransport(options),
};
