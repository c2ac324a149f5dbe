// What the tests of UdpTransport share.
import type { Credentials } from "../../core/identity/identity.ts";
import type { UdpListener } from "../../transports/udp/udp-listener.ts";
import { type UdpOptions, UdpTransport } from "../../transports/udp/udp-transport.ts";
import { quic } from "./bare-quic.ts";
import { carries, End } from "./tcp-support.ts";

/** A UDP port of loopback that nothing listens on. */
export async function freeUdpPort(): Promise<number> {
  const socket = await Bun.udpSocket({ hostname: "127.0.0.1" });
  const { port } = socket;
  socket.close();
  return port;
}

/** The first packets of so many connections, each of its own, as they come from who reaches nobody. */
export async function firstPackets(count: number, { caPem }: Credentials): Promise<Uint8Array[]> {
  const options = { alpn: "mesh/1", servername: "mesh", ca: [Buffer.from(caPem)] };
  const { QuicEndpoint, connect } = quic;
  const first = new Map<string, Uint8Array>();
  const sink = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: {
      data: (_, bytes) => void first.set(Buffer.from(bytes.subarray(6, 14)).toString("hex"), new Uint8Array(bytes)),
    },
  });
  while (first.size < count) {
    const endpoint = new QuicEndpoint({ address: "127.0.0.1:0" });
    endpoint.closed.catch(() => {});
    for (let i = 0; i < 40; i++) {
      const session = await connect(`127.0.0.1:${sink.port}`, { ...options, endpoint });
      session.onerror = () => {};
      session.opened.catch(() => {});
      session.closed.catch(() => {});
    }
    await Bun.sleep(1);
    endpoint.destroy();
  }
  sink.close();
  return [...first.values()].slice(0, count);
}

/** A listener on loopback, and what came to it. */
export class UdpServer implements AsyncDisposable {
  readonly transport: UdpTransport;
  readonly accepted: End[] = [];
  readonly refusals: Error[] = [];
  #listener: UdpListener | undefined;

  private constructor(credentials: () => Credentials, options: Partial<UdpOptions>) {
    this.transport = new UdpTransport({ credentials, onRefused: (error) => this.refusals.push(error), ...options });
  }

  static async start(
    credentials: () => Credentials,
    options: Partial<UdpOptions> = {},
    at = "udp://127.0.0.1:0",
  ): Promise<UdpServer> {
    const server = new UdpServer(credentials, options);
    server.#listener = await server.transport.listen(at, (link) => server.accepted.push(new End(link)));
    return server;
  }

  get listener(): UdpListener {
    return this.#listener!;
  }

  get address(): string {
    return this.listener.address;
  }

  get port(): number {
    return Number(this.address.split(":").at(-1));
  }

  /** Whether a link to it carries a frame there and back. */
  answers(credentials: Credentials): Promise<boolean> {
    return carries(this, new UdpTransport({ credentials: () => credentials }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { link } of this.accepted) link.destroy(new Error("the test is over"));
    await this.listener.close();
  }
}
