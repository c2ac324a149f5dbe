// What the system says at once of an address: QUIC would wait for an answer, whatever comes; and where the system takes no packets to it,
// the runtime stops sending altogether, also to everybody else on that port, until the dial is given up.
import { isIP } from "node:net";
import type { IpAddress } from "../ip-address.ts";
import { codeOf } from "./failures.ts";

/** What the system says of the address, and not of the probe. */
const TELLING = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "EINVAL", "EACCES", "EPERM"]);

export interface ProbeOptions {
  /** Sends one datagram that no QUIC takes for its own, from a port of its own; else only the routes of this machine are asked. */
  sends: boolean;
  /** Gets the system's error, if one comes; also after `asked`, when the other machine refused. */
  failed: (error: unknown) => void;
}

export class Probe {
  /** Resolves when the system has taken it, or has told `failed` why it does not. */
  readonly asked: Promise<void>;
  #socket: { close(): void } | undefined;
  #isOver = false;

  constructor(to: IpAddress, { sends, failed }: ProbeOptions) {
    const tell = (error: unknown) => {
      if (!this.#isOver && TELLING.has(codeOf(error))) failed(error);
    };
    this.asked = this.#ask(to, sends, tell).catch(tell);
  }

  close(): void {
    this.#isOver = true;
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #ask({ host, port }: IpAddress, sends: boolean, failed: (error: unknown) => void): Promise<void> {
    const socket = await Bun.udpSocket({
      hostname: isIP(host) === 6 ? "::" : "0.0.0.0",
      connect: { hostname: host, port },
      // Bun calls it with the error alone; its types say that the socket comes first.
      socket: { error: (first: unknown, second?: unknown) => failed(second ?? first) },
    });
    if (this.#isOver) return socket.close();
    this.#socket = socket;
    if (sends) socket.send(new Uint8Array(1));
  }
}
