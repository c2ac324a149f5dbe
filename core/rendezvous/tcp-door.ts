// Who comes to the TCP port of a relay: a connection says its token first, and soon, or it is closed. There is room for so
// many that have not, from one address and in all.
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { countedHost, hostAndPort } from "../ip-address.ts";
import { Admission } from "../session/admission.ts";

export const TOKEN_BYTES = 16;
/** How long a connection may take to say its token. */
const SILENT_MS = 5_000;
const LIMITS = { perAddress: 64, inAll: 1_000 };

/** How many connections were closed, and why. */
export interface RefusedConnections {
  /** Too many that had said nothing. */
  full: number;
  /** Said no token in time, or went. */
  silent: number;
  /** Said something else. */
  unknown: number;
}

export class TcpDoor {
  readonly refused: RefusedConnections = { full: 0, silent: 0, unknown: 0 };
  readonly #clock: Clock;
  readonly #admission: Admission;
  readonly #admit: (token: Uint8Array, socket: Socket) => boolean;
  readonly #silent = new Set<Socket>();

  /** `admit` gets who said a token, paused; false when it is none. */
  constructor(clock: Clock, admit: (token: Uint8Array, socket: Socket) => boolean) {
    this.#clock = clock;
    this.#admission = new Admission(LIMITS, clock);
    this.#admit = admit;
  }

  enter(socket: Socket): void {
    socket.on("error", () => {}); // it closes, too
    const label = hostAndPort(countedHost(socket.remoteAddress ?? ""), socket.remotePort ?? 0);
    const leave = this.#admission.enter(label, () => socket.destroy());
    if (!leave) {
      this.refused.full++;
      socket.destroy();
      return;
    }
    this.#listen(socket, leave);
  }

  close(): void {
    for (const socket of this.#silent) socket.destroy();
  }

  #listen(socket: Socket, leave: () => void): void {
    const timer = this.#clock.after(SILENT_MS, () => socket.destroy());
    this.#silent.add(socket);
    const over = () => {
      timer.cancel();
      leave();
      this.#silent.delete(socket);
      socket.off("readable", read);
      socket.off("close", gone);
    };
    const gone = () => {
      over();
      this.refused.silent++;
    };
    const read = () => {
      const token = socket.read(TOKEN_BYTES) as Uint8Array | null;
      if (!token) return; // not all of it yet
      over();
      if (token.length === TOKEN_BYTES && this.#admit(token, socket)) return;
      this.refused.unknown++;
      socket.destroy();
    };
    socket.on("readable", read);
    socket.on("close", gone);
  }
}
