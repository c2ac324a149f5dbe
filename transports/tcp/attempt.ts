// One connection under way to one IP address.
import { MeshError } from "../../core/errors.ts";
import type { Link } from "../../core/transport.ts";
import { StreamLink, streamHandlers } from "../stream-link.ts";
import { formatTcpAddress, type TcpAddress } from "./address.ts";
import { linkFailure } from "./failures.ts";
import { canConnectBySystem, closeDescriptor } from "./libc.ts";
import { tune } from "./socket.ts";
import { SystemConnection } from "./system-connect.ts";
import { certificatesOf, type DialingSide, type TlsOptions } from "./tls.ts";

export class Attempt {
  /** "tcp://10.0.0.5:7450". */
  readonly at: string;
  /** The link, once TLS has ended; or what went wrong, as the system or TLS told it. */
  readonly link: Promise<Link>;
  /** Resolves when `link` did, either way. */
  readonly settled: Promise<void>;
  readonly #side: DialingSide;
  readonly #result = Promise.withResolvers<Link>();
  #connection: SystemConnection | undefined;
  #socket: Bun.Socket<StreamLink> | undefined;
  #isAbandoned = false;

  /** `label` is that of the link. */
  constructor(target: TcpAddress, label: string, side: DialingSide) {
    this.at = formatTcpAddress(target);
    this.#side = side;
    this.link = this.#result.promise;
    this.settled = this.link.then(
      () => {},
      () => {},
    );
    this.#connect(target, new StreamLink(label, linkFailure)).catch(this.#result.reject);
  }

  /** Ends it, also when it has its link already. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#connection?.cancel();
    this.#socket?.terminate();
    this.#result.reject(new MeshError("CANCELLED", "another address was faster"));
  }

  async #connect(target: TcpAddress, link: StreamLink): Promise<void> {
    if (!canConnectBySystem()) {
      await Bun.connect<StreamLink>({ ...this.#options(link), hostname: target.host, port: target.port }).catch(
        neverRefused,
      );
      return;
    }
    this.#connection = new SystemConnection(target);
    const fd = await this.#connection.descriptor;
    if (this.#isAbandoned) return closeDescriptor(fd);
    const options: Bun.FdSocketOptions<StreamLink> = { ...this.#options(link), fd };
    // Bun's types have these options and forget them in the signature.
    await Bun.connect(options as unknown as Bun.UnixSocketOptions<StreamLink>).catch((error) => {
      closeDescriptor(fd); // Bun fails before it takes it, on credentials that cannot be read
      throw error;
    });
  }

  #options(link: StreamLink): Bun.SocketOptions<StreamLink> & { tls: TlsOptions } {
    return {
      data: link,
      tls: this.#side.client,
      socket: {
        ...streamHandlers,
        open: (socket) => {
          this.#socket = socket;
          if (this.#isAbandoned) socket.terminate();
          else tune(socket);
        },
        handshake: (socket, success, error) => this.#secured(socket, success, error),
        connectError: () => {}, // the promise tells
        close: (socket, error) => {
          this.#result.reject(error ?? new Error("the connection was closed")); // unless TLS had ended
          socket.data.ended(error);
        },
      },
    };
  }

  #secured(socket: Bun.Socket<StreamLink>, success: boolean, error: Error | null): void {
    if (success && (socket.authorized || this.#side.trustsAny)) {
      socket.data.secured(socket, certificatesOf(socket, this.#side));
      this.#result.resolve(socket.data);
      return;
    }
    this.#result.reject(error ?? socket.getAuthorizationError() ?? new Error("TLS failed"));
    socket.terminate();
  }
}

/** See system-connect.ts: to Bun, everything is a refusal. */
function neverRefused(error: Error): never {
  throw Object.assign(new Error(error.message, { cause: error }), { code: "ENOTCONN" });
}
