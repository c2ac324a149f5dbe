// The route through a tunnel: a Unix socket of this host, behind which the tether of the user's machine makes the connection,
// at the other end of its SSH connection. TLS runs through it to who is dialed.
import { askLine, LineReader, readAnswer } from "../../core/tether/tunnel-words.ts";
import type { StreamLink } from "../stream-link.ts";
import type { Opening, Route } from "./attempt.ts";
import { codeOf } from "./failures.ts";

/** While the tether is away or on its way: how often to look for it. */
const LOOK_AGAIN_MS = 100;

/** Bun's types lack that a client may do this, too. */
type Upgradable = Bun.Socket<unknown> & {
  upgradeTLS(options: Omit<Opening, "data"> & { data: StreamLink | undefined }): [unknown, Bun.Socket<StreamLink>];
};

export class TunnelRoute implements Route {
  readonly at: string;
  readonly #path: string;
  readonly #target: string;
  #timer: NodeJS.Timeout | undefined;
  #raw: Bun.Socket<unknown> | undefined;
  #isCancelled = false;

  /** To `target` ("tcp://10.0.0.1:7450") by the socket at `path`. */
  constructor(path: string, target: string, at: string) {
    this.#path = path;
    this.#target = target;
    this.at = at;
  }

  open(opening: Opening): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#try(opening, resolve, reject);
    return promise;
  }

  cancel(): void {
    this.#isCancelled = true;
    clearTimeout(this.#timer);
    this.#raw?.terminate();
  }

  #try(opening: Opening, resolve: () => void, reject: (error: unknown) => void): void {
    const reader = new LineReader();
    let isSettled = false;
    const settle = (act: () => void) => {
      if (isSettled || this.#isCancelled) return;
      isSettled = true;
      act();
    };
    const again = () => {
      this.#timer = setTimeout(() => this.#try(opening, resolve, reject), LOOK_AGAIN_MS);
    };
    const answered = (socket: Bun.Socket<unknown>, bytes: Uint8Array) => {
      try {
        const answer = reader.push(bytes);
        if (!answer) return;
        readAnswer(answer.line);
        (socket as Upgradable).upgradeTLS(opening);
        settle(resolve);
      } catch (error) {
        settle(() => reject(error));
        socket.terminate();
      }
    };
    Bun.connect<undefined>({
      unix: this.#path,
      socket: {
        binaryType: "uint8array",
        open: (socket) => {
          this.#raw = socket;
          if (this.#isCancelled) socket.terminate();
          else socket.write(askLine(this.#target));
        },
        data: (socket, bytes) => {
          if (!isSettled) answered(socket, bytes);
        },
        close: () => settle(again), // before it answered: the tether went away
        error: () => {},
        connectError: () => {}, // the promise tells
      },
    }).catch((error) => settle(() => (isAway(error) ? again() : reject(error))));
  }
}

/** Nobody listens there at the moment. */
function isAway(error: unknown): boolean {
  return ["ENOENT", "ECONNREFUSED"].includes(codeOf(error));
}
