// What the tests of TcpTransport share.
import type { Credentials } from "../../core/identity/identity.ts";
import { certificatesIn, derOf } from "../../core/identity/pem.ts";
import type { Link, Transport } from "../../core/transport.ts";
import type { TcpListener } from "../../transports/tcp/tcp-listener.ts";
import { type TcpOptions, TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { until } from "../support/until.ts";

/** A link's end, and what it was told. */
export class End {
  readonly link: Link;
  texts: string[] = [];
  ends: (Error | undefined)[] = [];

  constructor(link: Link) {
    this.link = link;
    link.attach({
      frame: (frame) => this.texts.push(new TextDecoder().decode(frame)),
      drained: () => {},
      closed: (error) => this.ends.push(error),
    });
  }

  send(text: string): void {
    this.link.send(new TextEncoder().encode(text));
  }

  /** What it was told at its end, once that has come. */
  async ended(): Promise<Error | undefined> {
    await until(() => this.ends.length === 1, { what: `the end of ${this.link.label}` });
    return this.ends[0];
  }
}

/** Whether a link from there to a listener carries a frame there and back. */
export async function carries(at: { address: string; accepted: End[] }, from: Transport): Promise<boolean> {
  const before = at.accepted.length;
  const near = new End(await from.dial(at.address));
  await until(() => at.accepted.length > before, { what: "a link" });
  const far = at.accepted.at(-1)!;
  near.send("there");
  await until(() => far.texts.length === 1, { what: "a frame there" });
  far.send("back");
  await until(() => near.texts.length === 1, { what: "a frame back" });
  near.link.close();
  await near.ended();
  return near.texts[0] === "back" && far.texts[0] === "there";
}

/** A listener on loopback, and what came to it. */
export class Server implements AsyncDisposable {
  readonly listener: TcpListener;
  readonly accepted: End[];
  readonly refusals: Error[];

  private constructor(listener: TcpListener, accepted: End[], refusals: Error[]) {
    this.listener = listener;
    this.accepted = accepted;
    this.refusals = refusals;
  }

  static async start(
    credentials: () => Credentials,
    options: Partial<TcpOptions> = {},
    at = "tcp://127.0.0.1:0",
  ): Promise<Server> {
    const accepted: End[] = [];
    const refusals: Error[] = [];
    const transport = new TcpTransport({ credentials, onRefused: (error) => refusals.push(error), ...options });
    const listener = await transport.listen(at, (link) => accepted.push(new End(link)));
    return new Server(listener, accepted, refusals);
  }

  get address(): string {
    return this.listener.address;
  }

  get port(): number {
    return Number(this.address.split(":").at(-1));
  }

  async refused(count = 1): Promise<Error> {
    await until(() => this.refusals.length >= count, { what: `refusal ${count}` });
    return this.refusals[count - 1]!;
  }

  /** Whether a link to it carries a frame there and back. */
  answers(credentials: Credentials): Promise<boolean> {
    return carries(this, new TcpTransport({ credentials: () => credentials }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
    for (const { link } of this.accepted) link.destroy(new Error("the test is over"));
  }
}

export function leafOf(credentials: Credentials): Uint8Array {
  return derOf(certificatesIn(credentials.certificatePem)[0]!);
}

/** A port of loopback that nothing listens on. */
export function freePort(hostname = "127.0.0.1"): number {
  const server = Bun.listen({ hostname, port: 0, socket: { data() {} } });
  server.stop(true);
  return server.port;
}

/** A plain TCP connection, and what became of it. */
export interface RawClient {
  /** Undefined when it was hung up on before it was there. */
  socket: Bun.Socket | undefined;
  isClosed: boolean;
  bytes: Uint8Array[];
}

export async function rawClient(port: number, hello?: Uint8Array, hostname = "127.0.0.1"): Promise<RawClient> {
  const state = { isClosed: false, bytes: [] as Uint8Array[] };
  const closed = () => {
    state.isClosed = true;
  };
  const socket = await Bun.connect({
    hostname,
    port,
    socket: {
      binaryType: "uint8array",
      open: (opened) => {
        if (hello) opened.write(hello);
      },
      data: (_, bytes) => {
        state.bytes.push(bytes.slice());
      },
      close: closed,
      error: closed,
    },
  }).catch(closed);
  return Object.assign(state, { socket: socket ?? undefined });
}

/** So many, not all at once: the kernel queues only some hundreds that nobody has accepted. */
export async function rawClients(count: number, port: number, hello?: Uint8Array): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  while (clients.length < count) {
    const batch = Array.from({ length: Math.min(250, count - clients.length) }, () => rawClient(port, hello));
    clients.push(...(await Promise.all(batch)));
  }
  return clients;
}
