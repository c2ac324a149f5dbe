// The transports that ship. Static imports only: a computed one would be missing from the compiled binary.
import type { Transport } from "../core/transport.ts";
import { type TcpOptions, TcpTransport } from "./tcp/tcp-transport.ts";
import { TunnelTransport } from "./tcp/tunnel-transport.ts";
import { UdpTransport } from "./udp/udp-transport.ts";

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

/** The way of "ssh://HOST:PORT": no address to listen on or to write down, but what a node adds to others' when it has a tunnel. */
export function tunnelTransport({ credentials, tunnel }: TransportOptions): Transport | undefined {
  return tunnel === undefined ? undefined : new TunnelTransport({ credentials, path: tunnel });
}
