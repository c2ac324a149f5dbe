// A port that accepts links. Connections come in as plain TCP, are counted, and only then get TLS: whoever is over a
// limit costs no more than a socket, and each new connection gets the credentials of now.
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { countedHost, unmapped } from "../../core/ip-address.ts";
import type { Link, Listener } from "../../core/transport.ts";
import { type AbortReason, type Handshake, type HandshakeLimits, Handshakes } from "../handshakes.ts";
import { StreamLink, streamHandlers } from "../stream-link.ts";
import { formatTcpAddress, type TcpAddress } from "./address.ts";
import { certificateRefusal, codeOf, failureWords, linkFailure, listenFailure } from "./failures.ts";
import { tune } from "./socket.ts";
import { certificatesOf, type TlsOptions, type TlsSide, type TlsSides } from "./tls.ts";

export interface ListenerSettings {
  sides: TlsSides;
  limits: HandshakeLimits;
  clock: Clock;
  onRefused: (error: MeshError) => void;
  accept: (link: Link) => void;
}

/** A link whose TLS has not ended. */
class IncomingLink extends StreamLink {
  handshake?: Handshake;
  side?: TlsSide;
  tlsSocket?: Bun.Socket<IncomingLink>;
}

/** Bun's types lack what node:tls uses to be a server on a connection that is there already. */
type Upgradable = Bun.Socket<unknown> & {
  upgradeTLS(options: {
    data: IncomingLink;
    isServer: true;
    tls: TlsOptions;
    socket: Bun.SocketHandler<IncomingLink, "uint8array">;
  }): [raw: Bun.Socket<unknown>, tls: Bun.Socket<IncomingLink>];
};

/** What a stranger may send in one frame: enough to ask for a certificate. */
const STRANGER_FRAME_BYTES = 4 * 1024;

const NOTHING = () => {};

export class TcpListener implements Listener {
  readonly address: string;
  /** Connections refused so far: over a limit, out of time, or without a right certificate. */
  refused = 0;
  readonly #settings: ListenerSettings;
  readonly #handshakes: Handshakes;
  readonly #handlers = this.#makeHandlers();
  readonly #server: Bun.TCPSocketListener<unknown>;

  constructor(at: TcpAddress, settings: ListenerSettings) {
    this.#settings = settings;
    this.#handshakes = new Handshakes(settings.limits, settings.clock);
    if (!settings.sides.current()) {
      throw new MeshError(
        "AUTHENTICATION",
        `cannot listen on ${formatTcpAddress(at)} without a certificate: join first`,
      );
    }
    this.#server = this.#bind(at);
    this.#server.unref();
    this.address = formatTcpAddress({ host: at.host, port: this.#server.port });
  }

  /** Connections that have not finished TLS. */
  get unfinished(): number {
    return this.#handshakes.count;
  }

  async close(): Promise<void> {
    this.#server.stop(false);
    this.#handshakes.clear();
  }

  #bind({ host, port }: TcpAddress): Bun.TCPSocketListener<unknown> {
    try {
      return Bun.listen<unknown>({
        hostname: host,
        port,
        socket: {
          open: (socket) => this.#connected(socket as Upgradable),
          drain: NOTHING,
          error: NOTHING,
        },
      });
    } catch (error) {
      throw listenFailure(formatTcpAddress({ host, port }), error);
    }
  }

  #connected(raw: Upgradable): void {
    const host = unmapped(raw.remoteAddress ?? ""); // undefined when it is gone already
    const label = formatTcpAddress({ host, port: raw.remotePort });
    const link = new IncomingLink(label, linkFailure);
    const handshake = this.#handshakes.begin(countedHost(host), (reason) => this.#abort(link, reason));
    if (!handshake) {
      this.#refuse("LINK_CLOSED", `${label}: closed at once, too many connections are in TLS's handshake`);
      raw.terminate();
      return;
    }
    link.handshake = handshake;
    tune(raw);
    try {
      this.#startTls(raw, link);
    } catch (error) {
      this.#handshakes.end(handshake);
      this.#refuse("AUTHENTICATION", `${label}: ${failureWords(error)}`, error);
      raw.terminate();
    }
  }

  #startTls(raw: Upgradable, link: IncomingLink): void {
    const side = this.#settings.sides.current();
    if (!side) throw new Error("this side has no certificate any more");
    link.side = side;
    const [, tls] = raw.upgradeTLS({ data: link, isServer: true, tls: side.server, socket: this.#handlers });
    link.tlsSocket = tls;
  }

  #abort(link: IncomingLink, reason: AbortReason): void {
    const { timeoutMs } = this.#settings.limits;
    if (reason === "timeout") this.#refuse("TIMEOUT", `${link.label}: TLS was not finished within ${timeoutMs} ms`);
    else this.#refuse("LINK_CLOSED", `${link.label}: closed to make room for others`);
    link.tlsSocket?.terminate();
  }

  #makeHandlers(): Bun.SocketHandler<IncomingLink, "uint8array"> {
    return {
      ...streamHandlers,
      open: NOTHING,
      handshake: (socket, success, error) => {
        if (this.#handshakes.end(socket.data.handshake!)) this.#secured(socket, success, error);
      },
      close: (socket, error) => {
        if (this.#handshakes.end(socket.data.handshake!)) this.#wentAway(socket.data.label);
        else socket.data.ended(error);
      },
    };
  }

  #secured(socket: Bun.Socket<IncomingLink>, success: boolean, error: Error | null): void {
    const link = socket.data;
    // `success` says that the handshake ended; whether the certificate holds, `authorized` says.
    if (!success || !(socket.authorized || this.#settings.sides.admitsStrangers)) {
      this.#refuseTls(link.label, error ?? socket.getAuthorizationError());
      socket.terminate();
      return;
    }
    const certificates = certificatesOf(socket, link.side!);
    link.secured(socket, certificates, certificates.peerCertificate ? undefined : STRANGER_FRAME_BYTES);
    this.#settings.accept(link);
  }

  #refuseTls(label: string, error: unknown): void {
    const refusal = certificateRefusal(error);
    if (refusal) this.#refuse("AUTHENTICATION", `${label}: ${refusal}`, error);
    else if (codeOf(error) === "ECONNRESET") this.#wentAway(label);
    else this.#refuse("PROTOCOL", `${label}: TLS failed: ${failureWords(error)}`, error);
  }

  #wentAway(label: string): void {
    this.#refuse("LINK_CLOSED", `${label}: it went away before TLS had ended`);
  }

  #refuse(code: "AUTHENTICATION" | "TIMEOUT" | "LINK_CLOSED" | "PROTOCOL", message: string, cause?: unknown): void {
    this.refused++;
    this.#settings.onRefused(new MeshError(code, message, { cause }));
  }
}
