// A connection to a relay that waits for one of the other side. What it says in the meantime is read, up to a limit, because
// a connection that nobody reads from does not show that it has ended.
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";

/** So much is read; the first message of TLS, after which a node waits for an answer, is shorter. */
const EARLY_BYTES = 64 * 1024;

export class WaitingConnection {
  readonly socket: Socket;
  readonly #early: Uint8Array[] = [];
  #earlyBytes = 0;
  readonly #stop: () => void;

  /** Closes it after `limitMs`; `gone` is called unless it was taken before. */
  constructor(socket: Socket, clock: Clock, limitMs: number, gone: (waiting: WaitingConnection) => void) {
    this.socket = socket;
    const close = () => void socket.destroy();
    const read = () => this.#read();
    const closed = () => {
      this.#stop();
      gone(this);
    };
    const timer = clock.after(limitMs, close);
    this.#stop = () => {
      timer.cancel();
      socket.off("readable", read).off("end", close).off("close", closed);
    };
    socket.on("readable", read).on("end", close).on("close", closed);
    read(); // what came with its token
  }

  /** Waits no more: the connection, and what it has said. */
  take(): { socket: Socket; early: readonly Uint8Array[] } {
    this.#stop();
    return { socket: this.socket, early: this.#early };
  }

  #read(): void {
    while (this.#earlyBytes < EARLY_BYTES) {
      const chunk = this.socket.read() as Uint8Array | null;
      if (!chunk) return;
      this.#early.push(chunk);
      this.#earlyBytes += chunk.length;
    }
  }
}
