// One connection under way, by one route, until TLS has ended.
import { MeshError } from "../../core/errors.ts";
import type { Link } from "../../core/transport.ts";
import type { DialAttempt } from "../dial-race.ts";
import { StreamLink, streamHandlers } from "../stream-link.ts";
import { linkFailure } from "./failures.ts";
import { tune } from "./socket.ts";
import { certificatesOf, type DialingSide, type TlsOptions } from "./tls.ts";

/** What a connection is opened with: TLS, and the handlers that drive its link. */
export type Opening = Bun.SocketOptions<StreamLink> & { tls: TlsOptions };

/** Bun's types lack that a client may do this, too. */
type Upgradable = Bun.Socket<undefined> & {
  upgradeTLS(options: Omit<Opening, "data"> & { data: StreamLink | undefined }): [unknown, Bun.Socket<StreamLink>];
};

/** On a connection that is there already. */
export function startTls(raw: Bun.Socket<undefined>, opening: Opening): void {
  (raw as Upgradable).upgradeTLS(opening);
}

/** How a connection comes about. */
export interface Route {
  /** "tcp://10.0.0.5:7450". */
  readonly at: string;
  /** Resolves when TLS may begin on it. Never settles once cancelled. */
  open(opening: Opening): Promise<void>;
  cancel(): void;
}

export class Attempt implements DialAttempt {
  /** As its route says. */
  readonly at: string;
  /** The link, once TLS has ended; or what went wrong, as the system or TLS told it. */
  readonly link: Promise<Link>;
  readonly #side: DialingSide;
  readonly #result = Promise.withResolvers<Link>();
  readonly #route: Route;
  #socket: Bun.Socket<StreamLink> | undefined;
  #isAbandoned = false;

  /** `label` is that of the link. */
  constructor(route: Route, label: string, side: DialingSide) {
    this.at = route.at;
    this.#route = route;
    this.#side = side;
    this.link = this.#result.promise;
    this.link.catch(() => {}); // whoever waits for it hears
    route.open(this.#opening(new StreamLink(label, linkFailure))).catch(this.#result.reject);
  }

  /** Ends it, also when it has its link already. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#route.cancel();
    this.#socket?.terminate();
    this.#result.reject(new MeshError("CANCELLED", "another address was faster"));
  }

  #opening(link: StreamLink): Opening {
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
