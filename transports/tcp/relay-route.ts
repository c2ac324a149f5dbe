// The route by a relay: a connection to it that begins with the token of this side's place, and from there on leads to the other node.
import { formatTcpAddress, type TcpAddress } from "./address.ts";
import { type Opening, type Route, startTls } from "./attempt.ts";
import { DirectRoute } from "./direct-route.ts";

export class RelayRoute implements Route {
  readonly at: string;
  readonly #token: Uint8Array;
  readonly #toRelay: DirectRoute;
  #raw: Bun.Socket<undefined> | undefined;
  #isCancelled = false;

  constructor(relay: TcpAddress, token: Uint8Array) {
    this.at = formatTcpAddress(relay);
    this.#token = token;
    this.#toRelay = new DirectRoute(relay);
  }

  async open(opening: Opening): Promise<void> {
    const begun = Promise.withResolvers<void>();
    const connected = this.#toRelay.open<undefined>({
      data: undefined,
      socket: {
        open: (socket) => {
          this.#raw = socket;
          if (this.#isCancelled) socket.terminate();
          else this.#begin(socket, opening).then(begun.resolve, begun.reject);
        },
        data: () => {}, // what TLS takes
        error: () => {},
        connectError: () => {}, // the promise tells
      },
    });
    await Promise.all([connected, begun.promise]);
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#toRelay.cancel();
    this.#raw?.terminate();
  }

  async #begin(socket: Bun.Socket<undefined>, opening: Opening): Promise<void> {
    if (socket.write(this.#token) !== this.#token.length) throw new Error("the connection takes nothing");
    startTls(socket, opening);
  }
}
