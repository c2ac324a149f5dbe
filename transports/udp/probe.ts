// Whether the system knows at once that an address cannot be reached: QUIC waits for an answer, whatever ICMP says.
import { isIP } from "node:net";
import type { IpAddress } from "../ip-address.ts";
import { codeOf } from "./failures.ts";

/** What the system says of the address, and not of the probe. */
const TELLING = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "EPERM"]);

/** One datagram that no QUIC takes for its own, from a port of its own; `failed` gets the system's error, if one comes. */
export class Probe {
  #socket: { close(): void } | undefined;
  #isOver = false;

  constructor({ host, port }: IpAddress, failed: (error: unknown) => void) {
    const tell = (error: unknown) => {
      if (!this.#isOver && TELLING.has(codeOf(error))) failed(error);
    };
    void this.#send(host, port, tell).catch(tell);
  }

  close(): void {
    this.#isOver = true;
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #send(hostname: string, port: number, failed: (error: unknown) => void): Promise<void> {
    const socket = await Bun.udpSocket({
      hostname: isIP(hostname) === 6 ? "::" : "0.0.0.0",
      connect: { hostname, port },
      // Bun calls it with the error alone; its types say that the socket comes first.
      socket: { error: (first: unknown, second?: unknown) => failed(second ?? first) },
    });
    if (this.#isOver) return socket.close();
    this.#socket = socket;
    socket.send(new Uint8Array(1));
  }
}
