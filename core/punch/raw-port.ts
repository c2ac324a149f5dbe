// A plain UDP port, before QUIC takes it over: it sends and receives single packets.
import { MeshError } from "../errors.ts";
import { hostOf, portOf } from "../ip-address.ts";
import { remoteOf } from "./remote.ts";

type Socket = Bun.udp.Socket<"buffer">;

export class RawPort implements Disposable {
  #socket: Socket | undefined;
  /** Hears what comes and where from; while it is not set, that is dropped. The bytes are valid during the call only. */
  received: ((from: string, bytes: Uint8Array) => void) | undefined;

  private constructor() {}

  /** Takes any free port on all addresses, of both families where there are both. Throws UNREACHABLE when there is none to be had. */
  static async open(): Promise<RawPort> {
    const port = new RawPort();
    try {
      port.#socket = await port.#bind("::").catch(() => port.#bind("0.0.0.0"));
      return port;
    } catch (cause) {
      const words = `no UDP port could be opened (${(cause as Error).message})`;
      throw new MeshError("UNREACHABLE", `${words}: this machine is short of ports or open files`, { cause });
    }
  }

  /** Number of the port; 0 when it is closed. */
  get number(): number {
    return this.#socket?.port ?? 0;
  }

  /** A packet that cannot be sent is lost, as many are on their way. */
  send(to: string, bytes: Uint8Array): void {
    try {
      this.#socket?.send(bytes, portOf(to), hostOf(to));
    } catch {
      // no route to there, or no IPv6 here
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #bind(hostname: string): Promise<Socket> {
    return Bun.udpSocket({
      hostname,
      port: 0,
      socket: {
        data: (_socket, bytes, port, host) => this.received?.(remoteOf(host, port), bytes),
        // Without a handler one ICMP message would end the process.
        error: () => {},
      },
    });
  }
}
