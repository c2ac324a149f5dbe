// Links over TCP with TLS 1.3: between the nodes of a mesh on different machines. Knows certificates of the mesh's CA;
// must not know what the frames mean, nor which node it meant to reach: that is in the certificate, for the layer above.
import { type Clock, systemClock } from "../../core/clock.ts";
import type { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import type { DialOptions, Link, Transport } from "../../core/transport.ts";
import { HANDSHAKE_LIMITS, type HandshakeLimits } from "../handshakes.ts";
import { onThisMachine } from "../ip-address.ts";
import { type Resolve, systemResolve } from "../resolve.ts";
import { parseTcpAddress } from "./address.ts";
import { dialTcp } from "./dial.ts";
import { TcpListener } from "./tcp-listener.ts";
import { strangerSide, TlsSides } from "./tls.ts";

export interface TcpOptions {
  /**
   * Asked for every connection, so that renewed ones count from the next on. Undefined for a stranger: it dials without
   * a certificate and checks none, so whoever uses its links checks what `tls.peerCertificate` shows; it cannot listen.
   */
  credentials: () => Credentials | undefined;
  /**
   * Whether listeners take links whose client shows no certificate of this mesh; their `tls.peerCertificate` is
   * undefined. Default false: they are refused in TLS.
   */
  admitsStrangers?: boolean;
  /** Limits of what has not finished TLS. */
  handshakes?: Partial<HandshakeLimits>;
  /** Hears of connections that were refused, for logs: AUTHENTICATION, TIMEOUT, PROTOCOL or LINK_CLOSED. */
  onRefused?: (error: MeshError) => void;
  /** Default: the system's. */
  resolve?: Resolve;
  clock?: Clock;
}

export class TcpTransport implements Transport {
  readonly name = "tcp";
  readonly #sides: TlsSides;
  readonly #options: TcpOptions;

  constructor(options: TcpOptions) {
    this.#options = options;
    this.#sides = new TlsSides(options.credentials, options.admitsStrangers ?? false);
  }

  /** Port 0 takes a free one; "[::]" takes IPv4 too, and that alone where there is no IPv6. */
  async listen(address: string, accept: (link: Link) => void): Promise<TcpListener> {
    return new TcpListener(onThisMachine(parseTcpAddress(address)), {
      sides: this.#sides,
      limits: { ...HANDSHAKE_LIMITS, ...this.#options.handshakes },
      clock: this.#options.clock ?? systemClock,
      onRefused: this.#options.onRefused ?? (() => {}),
      accept,
    });
  }

  /**
   * Tries all addresses of a name (RFC 8305). Throws UNREACHABLE, whose `cause.code` is "ECONNREFUSED" when nothing
   * listens there; AUTHENTICATION when what answers is not of this mesh; TIMEOUT or CANCELLED.
   */
  async dial(address: string, options: DialOptions = {}): Promise<Link> {
    return await dialTcp(
      address,
      this.#sides.current() ?? strangerSide,
      this.#options.resolve ?? systemResolve,
      options,
    );
  }
}
