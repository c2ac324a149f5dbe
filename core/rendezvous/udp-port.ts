// Raw UDP ports of this machine: plain datagrams in and out, and no error that anybody would have to wait for.
import type { PortRange } from "../config/port-range.ts";
import { allTaken, bindHost, isTaken, notBound } from "./binding.ts";

/** Gets each datagram; the bytes are the receiver's. */
export type TakeDatagram = (bytes: Uint8Array, fromPort: number, fromHost: string) => void;

export type UdpPort = Bun.udp.Socket<"buffer">;

/** Opens UDP ports, of a range if there is one. */
export class UdpPorts {
  readonly #host: string | undefined;
  readonly #range: PortRange | undefined;
  /** Where to look first: a port that was closed just now may still be sent to. */
  #next: number;

  /** `host`: the address to bind; default all of this machine, of both families if it has both. */
  constructor(host: string | undefined, range: PortRange | undefined) {
    this.#host = host;
    this.#range = range;
    this.#next = range?.[0] ?? 0;
  }

  /** Throws FULL when the whole range is taken, UNREACHABLE when the address cannot be bound. */
  async open(take: TakeDatagram): Promise<UdpPort> {
    if (!this.#range) return await this.#bind(0, take);
    const [from, to] = this.#range;
    for (let tried = from; tried <= to; tried++) {
      const port = this.#next;
      this.#next = port === to ? from : port + 1;
      const opened = await this.#bind(port, take).catch(unlessTaken);
      if (opened) return opened;
    }
    throw allTaken("UDP", this.#range);
  }

  async #bind(port: number, take: TakeDatagram): Promise<UdpPort> {
    try {
      return await bindHost(this.#host, (host) => bind(host, port, take));
    } catch (cause) {
      throw isTaken(cause) ? cause : notBound("UDP", port, this.#host, cause);
    }
  }
}

async function bind(hostname: string, port: number, take: TakeDatagram): Promise<UdpPort> {
  return await Bun.udpSocket({
    hostname,
    port,
    socket: {
      data: (_, bytes, fromPort, fromHost) => take(bytes, fromPort, fromHost),
      // What ICMP says about packets that were sent; without a handler one such answer ends the process.
      error: () => {},
    },
  });
}

/**
 * Sends if that is possible now: a datagram may get lost anyway. What ICMP said of an earlier one comes as an error of the next,
 * which is not sent: so it is tried twice.
 */
export function sendDatagram(port: UdpPort, bytes: Uint8Array, toPort: number, toHost: string): boolean {
  try {
    return port.send(bytes, toPort, toHost);
  } catch {
    return sendAgain(() => port.send(bytes, toPort, toHost)) ?? false;
  }
}

/** Sends several, each followed by its port and host; how many the system took. */
export function sendDatagrams(port: UdpPort, batch: readonly (Uint8Array | number | string)[]): number {
  if (port.closed) return 0;
  try {
    return port.sendMany(batch);
  } catch {
    return sendAgain(() => port.sendMany(batch)) ?? 0;
  }
}

function sendAgain<T>(send: () => T): T | undefined {
  try {
    return send();
  } catch {
    return undefined; // no route there, or the port is closed
  }
}

function unlessTaken(error: unknown): undefined {
  if (!isTaken(error)) throw error;
}
