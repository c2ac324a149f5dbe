// Links over UDP with QUIC: between the nodes of a mesh on different machines, also where only UDP gets through. Knows certificates of
// the mesh's CA; must not know what the frames mean, nor which node it meant to reach: that is in the certificate, for the layer above.
import { type Clock, systemClock } from "../../core/clock.ts";
import type { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import type { DialOptions, Link, Transport } from "../../core/transport.ts";
import { HANDSHAKE_LIMITS, type HandshakeLimits } from "../handshakes.ts";
import { onThisMachine } from "../ip-address.ts";
import { type Resolve, systemResolve } from "../resolve.ts";
import { parseUdpPlace } from "./address.ts";
import { type DialSettings, dialUdp } from "./dial.ts";
import { Endpoints } from "./endpoints.ts";
import { TRUSTS_ANYBODY, UdpIdentity } from "./identity.ts";
import { UdpListener } from "./udp-listener.ts";

export interface UdpOptions {
  /**
   * Asked for every connection, so that renewed ones count from the next on. Undefined for a stranger: it checks no certificate,
   * so whoever uses its links checks what `tls.peerCertificate` shows; it cannot listen.
   */
  credentials: () => Credentials | undefined;
  /** Limits of what is no link yet; of those whose TLS has not ended `total` alone counts. */
  handshakes?: Partial<HandshakeLimits>;
  /** Hears of connections that were refused, for logs: AUTHENTICATION, TIMEOUT or LINK_CLOSED. */
  onRefused?: (error: MeshError) => void;
  /** Default: the system's. */
  resolve?: Resolve;
  clock?: Clock;
  /** Connections that a port may have before the next dial takes another one. Default 250. */
  perEndpoint?: number;
}

/**
 * Accepted links are of anybody: `tls.greetingDecides` says that whoever uses them asks for proof. Links keep the process from
 * ending as long as they live, whatever `setRef` says, and so do listeners: those that use them end on purpose, and processes of jobs, which
 * end by themselves, have Unix sockets alone.
 */
export class UdpTransport implements Transport {
  readonly name = "udp";
  readonly #options: UdpOptions;
  readonly #identity: UdpIdentity;
  readonly #endpoints: Endpoints;

  constructor(options: UdpOptions) {
    this.#options = options;
    this.#identity = new UdpIdentity(options.credentials);
    this.#endpoints = new Endpoints(options.perEndpoint);
  }

  /** UDP ports in use, for listening and dialing. */
  get ports(): number {
    return this.#endpoints.count;
  }

  /**
   * Port 0 takes a free one; "[::]" takes IPv4 too, and that alone where there is no IPv6. With "punch://" it is the port of a hole:
   * `dial` goes from there only where its address says so.
   */
  async listen(address: string, accept: (link: Link) => void): Promise<UdpListener> {
    const place = parseUdpPlace(address);
    const at = onThisMachine(place.at);
    const endpoint = this.#endpoints.add(at, place.isHole);
    const { handshakes, clock = systemClock, onRefused = () => {} } = this.#options;
    const settings = {
      identity: this.#identity,
      limits: { ...HANDSHAKE_LIMITS, ...handshakes },
      clock,
      onRefused,
      accept,
    };
    try {
      return await UdpListener.start(endpoint, at, { ...settings, closed: () => this.#endpoints.release(endpoint) });
    } catch (error) {
      await this.#endpoints.release(endpoint);
      throw error;
    }
  }

  /**
   * Tries all addresses of a name (RFC 8305); what the schemes mean, address.ts says. Throws UNREACHABLE, whose `cause.code` is "ECONNREFUSED" when nothing
   * listens there and its machine says so; AUTHENTICATION when what answers is not of this mesh; TIMEOUT or CANCELLED.
   */
  async dial(address: string, options: DialOptions = {}): Promise<Link> {
    const settings: DialSettings = {
      connect: (...target) => this.#endpoints.connect(...target),
      trust: this.#identity.current()?.trust ?? TRUSTS_ANYBODY,
      resolve: this.#options.resolve ?? systemResolve,
    };
    return await dialUdp(address, settings, options);
  }
}
