// A rendezvous' echo ports, as plain as can be.
import { randomBytes } from "node:crypto";
import type { EchoPlace } from "../../core/punch/hole.ts";
import { encodeEchoAnswer, isEchoRequest, isEchoSigned, readEchoRequest } from "../../core/rendezvous/echo.ts";

type Socket = Bun.udp.Socket<"buffer">;

export interface EchoOptions {
  /** Asks for answers from the other port are ignored. */
  isRestricted?: boolean;
  /** Ports answer only if their position is in here. */
  answering?: readonly number[];
  /** What to tell instead of what is seen. */
  lie?: (position: number, port: number) => { host: string; port: number };
}

export class EchoServer implements Disposable {
  readonly place: EchoPlace;
  readonly #sockets: Socket[];
  /** Requests that came, by the port's position. */
  readonly asked = [0, 0];

  private constructor(place: EchoPlace, sockets: Socket[]) {
    this.place = place;
    this.#sockets = sockets;
  }

  static async start(host: string, options: EchoOptions = {}): Promise<EchoServer> {
    const id = randomBytes(16);
    const key = randomBytes(32);
    const sockets: Socket[] = [];
    for (const position of [0, 1]) {
      const data = (_socket: Socket, bytes: Uint8Array, port: number, from: string) =>
        server.#answer(position, bytes, { host: from, port }, options);
      sockets.push(await Bun.udpSocket({ hostname: host, port: 0, socket: { data, error: () => {} } }));
    }
    const server = new EchoServer({ host, ports: sockets.map(({ port }) => port), id, key }, sockets);
    return server;
  }

  #answer(position: number, bytes: Uint8Array, from: { host: string; port: number }, options: EchoOptions): void {
    const { key } = this.place;
    if (!isEchoRequest(bytes) || !isEchoSigned(bytes, key)) return;
    this.asked[position]!++;
    const { transaction, fromOtherPort } = readEchoRequest(bytes);
    if (options.answering && !options.answering.includes(position)) return;
    if (fromOtherPort && options.isRestricted) return;
    const seen = options.lie?.(position, from.port) ?? from;
    const answer = encodeEchoAnswer({ transaction, ...seen, fromOtherPort }, key);
    this.#sockets[fromOtherPort ? 1 - position : position]!.send(answer, from.port, from.host);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.close();
  }
}
