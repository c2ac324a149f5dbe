// A port that accepts links. Connections come in as plain TCP, are counted, and only then get TLS: whoever is over a
// limit costs no more than a socket, and each new connection gets the credentials of now.
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { Link, Listener } from "../../core/transport.ts";
import { StreamLink, streamHandlers } from "../stream-link.ts";
import { countedHost, formatTcpAddress, plainHost, type TcpAddress } from "./address.ts";
import { certificateRefusal, codeOf, failureWords, linkFailure } from "./failures.ts";
import { type AbortReason, type Handshake, type HandshakeLimits, Handshakes } from "./handshakes.ts";
import { tune } from "./socket.ts";
import { certificatesOf, type TlsOptions, type TlsSide, type TlsSides } from "./tls.ts";

export interface ListenerSettings {
  sides: TlsSides;
  limits: HandshakeLimits;
  clock: Clock;
  onRefused: (error: MeshError) => void;
  accept: (link: Link) => void;
}

/** Bun's types lack what node:tls uses to be a server on a connection that is there already. */
type Upgradable = Bun.Socket<unknown> & {
  upgradeTLS(options: {
    data: StreamLink;
    isServer: true;
    tls: TlsOptions;
    socket: Bun.SocketHandler<StreamLink, "uint8array">;
  }): [raw: Bun.Socket<unknown>, tls: Bun.Socket<StreamLink>];
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
    const host = plainHost(raw.remoteAddress ?? ""); // undefined when it is gone already
    const label = formatTcpAddress({ host, port: raw.remotePort });
    const tlsSide = this.#side(label);
    let abort: (reason: AbortReason) => void = NOTHING;
    const handshake = tlsSide && this.#handshakes.begin(countedHost(host), (reason) => abort(reason));
    if (!tlsSide || !handshake) {
      if (tlsSide) this.#refuse("LINK_CLOSED", `${label}: closed at once, too many connections are in TLS's handshake`);
      raw.terminate();
      return;
    }
    tune(raw);
    const link = new StreamLink(label, linkFailure);
    const [, tls] = raw.upgradeTLS({
      data: link,
      isServer: true,
      tls: tlsSide.server,
      socket: this.#handlers(handshake, tlsSide),
    });
    abort = (reason) => {
      const { timeoutMs } = this.#settings.limits;
      const why =
        reason === "timeout" ? `TLS was not finished within ${timeoutMs} ms` : "closed to make room for others";
      this.#refuse(reason === "timeout" ? "TIMEOUT" : "LINK_CLOSED", `${label}: ${why}`);
      tls.terminate();
    };
  }

  #side(label: string): TlsSide | undefined {
    try {
      return this.#settings.sides.current();
    } catch (error) {
      this.#refuse("AUTHENTICATION", `${label}: this side's own credentials cannot be used`, error);
      return undefined;
    }
  }

  #handlers(handshake: Handshake, side: TlsSide): Bun.SocketHandler<StreamLink, "uint8array"> {
    const handshakes = this.#handshakes;
    return {
      ...streamHandlers,
      open: NOTHING,
      handshake: (socket, success, error) => {
        handshakes.end(handshake);
        this.#secured(socket, side, success, error);
      },
      close(socket, error) {
        handshakes.end(handshake);
        socket.data.ended(error);
      },
    };
  }

  #secured(socket: Bun.Socket<StreamLink>, side: TlsSide, success: boolean, error: Error | null): void {
    const link = socket.data;
    // `success` says that the handshake ended; whether the certificate holds, `authorized` says.
    if (!success || !(socket.authorized || this.#settings.sides.admitsStrangers)) {
      this.#refuseTls(link.label, error ?? socket.getAuthorizationError());
      socket.terminate();
      return;
    }
    const certificates = certificatesOf(socket, side);
    link.secured(socket, certificates, certificates.peerCertificate ? undefined : STRANGER_FRAME_BYTES);
    this.#settings.accept(link);
  }

  #refuseTls(label: string, error: unknown): void {
    const refusal = certificateRefusal(error);
    if (refusal) this.#refuse("AUTHENTICATION", `${label}: ${refusal}`, error);
    else if (codeOf(error) === "ECONNRESET") this.#refuse("LINK_CLOSED", `${label}: it went away before TLS had ended`);
    else this.#refuse("PROTOCOL", `${label}: TLS failed: ${failureWords(error)}`, error);
  }

  #refuse(code: "AUTHENTICATION" | "TIMEOUT" | "LINK_CLOSED" | "PROTOCOL", message: string, cause?: unknown): void {
    this.refused++;
    this.#settings.onRefused(new MeshError(code, message, { cause }));
  }
}

function listenFailure(address: string, error: unknown): MeshError {
  const code = codeOf(error);
  const why =
    code === "EADDRINUSE"
      ? "the port is taken: stop what listens there, or use another one (0 for any free one)"
      : code === "EADDRNOTAVAIL"
        ? "this machine has no such address: use one of its own, or [::] for all"
        : code === "EACCES"
          ? "ports below 1024 need more rights: use a higher one"
          : (error as Error).message;
  return new MeshError("UNREACHABLE", `cannot listen on ${address}: ${why}`, { cause: error });
}
