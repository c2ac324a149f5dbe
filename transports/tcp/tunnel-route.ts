// The route through a tunnel: a Unix socket of this host, behind which the tether of the user's machine makes the connection,
// at the other end of its SSH connection. TLS runs through it to who is dialed.
import { askLine, LineReader, readAnswer } from "../../core/tether/tunnel-words.ts";
import { type Opening, type Route, startTls } from "./attempt.ts";
import { codeOf } from "./failures.ts";

/** While the tether is away or on its way: how often to look for it. */
const LOOK_AGAIN_MS = 100;

export class TunnelRoute implements Route {
  readonly at: string;
  readonly #path: string;
  readonly #target: string;
  readonly #result = Promise.withResolvers<void>();
  #opening: Opening | undefined;
  #timer: NodeJS.Timeout | undefined;
  #raw: Bun.Socket<undefined> | undefined;
  /** Answered, failed or cancelled. */
  #isOver = false;

  /** To `target` ("tcp://10.0.0.1:7450") by the socket at `path`. */
  constructor(path: string, target: string, at: string) {
    this.#path = path;
    this.#target = target;
    this.at = at;
  }

  open(opening: Opening): Promise<void> {
    this.#opening = opening;
    this.#try();
    return this.#result.promise;
  }

  cancel(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#raw?.terminate();
  }

  #try(): void {
    const reader = new LineReader();
    Bun.connect<undefined>({
      unix: this.#path,
      socket: {
        binaryType: "uint8array",
        open: (socket) => this.#connected(socket),
        data: (socket, bytes) => this.#heard(socket, reader, bytes),
        close: () => this.#later(), // before it answered: the tether went away
        error: () => {},
        connectError: () => {}, // the promise tells
      },
    }).catch((error) => {
      if (isAway(error)) this.#later();
      else this.#fail(error);
    });
  }

  #connected(socket: Bun.Socket<undefined>): void {
    this.#raw = socket;
    if (this.#isOver) socket.terminate();
    else socket.write(askLine(this.#target));
  }

  #heard(socket: Bun.Socket<undefined>, reader: LineReader, bytes: Uint8Array): void {
    if (this.#isOver) return;
    try {
      const answer = reader.push(bytes);
      if (!answer) return;
      readAnswer(answer.line);
      startTls(socket, this.#opening!);
      this.#isOver = true;
      this.#result.resolve();
    } catch (error) {
      this.#fail(error);
      socket.terminate();
    }
  }

  #fail(error: unknown): void {
    this.#isOver = true;
    this.#result.reject(error);
  }

  #later(): void {
    if (!this.#isOver) this.#timer = setTimeout(() => this.#try(), LOOK_AGAIN_MS);
  }
}

/** Nobody listens there at the moment. */
function isAway(error: unknown): boolean {
  return ["ENOENT", "ECONNREFUSED"].includes(codeOf(error));
}
