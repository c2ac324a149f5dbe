// F35: links by way of a relay that splices two TCP connections, and never sees what is said.
import { randomBytes } from "node:crypto";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { splice } from "../../core/tether/splice.ts";
import type { Transport } from "../../core/transport.ts";
import { RelayTransport } from "../../transports/tcp/relay-transport.ts";
import { spliceRelay } from "../../transports/tcp/splice-relay.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { transportConformance } from "../conformance/transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, freePort, leafOf, Server } from "./tcp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const MIB = 1024 * 1024;
const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Splices whoever brings the two tokens of a pair. */
class FakeRelay {
  readonly sockets = new Set<Socket>();
  readonly #pairs: [string, string][] = [];
  readonly #waiting = new Map<string, Socket>();
  readonly #server: NetServer = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get place(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  pair(): { dialing: string; token: Uint8Array } {
    const [dialing, token] = [randomBytes(16), randomBytes(16)];
    this.#pairs.push([dialing.toString("hex"), token.toString("hex")]);
    return { dialing: `tcprelay://${this.place}?token=${dialing.toString("hex")}`, token };
  }

  close(): void {
    this.#server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  #take(socket: Socket): void {
    this.sockets.add(socket.on("error", () => {}).once("close", () => this.sockets.delete(socket)));
    socket.once("readable", () => {
      const token = socket.read(16)?.toString("hex") ?? "";
      const pair = this.#pairs.find((each) => each.includes(token));
      const other = this.#waiting.get(pair?.find((each) => each !== token) ?? "");
      if (!pair) socket.destroy();
      else if (other) void splice(socket, other);
      else this.#waiting.set(token, socket);
    });
  }
}

async function relayOf(): Promise<FakeRelay> {
  const relay = await new FakeRelay().listen();
  cleanUps.push(() => relay.close());
  return relay;
}

/** The other side of the dial: waits at the relay for it. */
function waitAt(relay: FakeRelay, token: Uint8Array, to: string) {
  const abort = new AbortController();
  const over = spliceRelay({ relay: relay.place, token, to, signal: abort.signal });
  over.catch(() => {});
  cleanUps.push(() => abort.abort());
  return { over, abort };
}

const byRelay = () => new RelayTransport({ credentials: () => client });

transportConformance("RelayTransport", {
  make: async () => {
    const relay = await new FakeRelay().listen();
    const abort = new AbortController();
    const tcp = new TcpTransport({ credentials: () => server });
    const transport: Transport = {
      name: "tcprelay",
      listen: (address, accept) => tcp.listen(address, accept),
      dial: (address, options) => {
        const { dialing, token } = relay.pair();
        const other = spliceRelay({ relay: relay.place, token, to: address, signal: abort.signal });
        const link = byRelay().dial(dialing, options);
        return Promise.race([link, other.then(() => link)]);
      },
    };
    const cleanUp = async () => {
      abort.abort();
      relay.close();
    };
    return { transport, address: "tcp://127.0.0.1:0", nowhere: `tcp://127.0.0.1:${freePort()}`, cleanUp };
  },
});

it("F35 RelayTransport: TLS is between the two nodes, each sees the other's certificate, and an end passes on", async () => {
  await using far = await Server.start(() => server);
  const relay = await relayOf();
  const { dialing, token } = relay.pair();
  const { over } = waitAt(relay, token, far.address);
  const near = new End(await byRelay().dial(dialing));
  expect(near.link.tls?.peerCertificate).toEqual(leafOf(server));
  expect(near.link.label).not.toContain("token");
  await until(() => far.accepted.length === 1, { what: "a link" });
  expect(far.accepted[0]!.link.tls?.peerCertificate).toEqual(leafOf(client));
  far.accepted[0]!.send("bye");
  far.accepted[0]!.link.close();
  await near.ended();
  expect(near.texts).toEqual(["bye"]);
  await over;
  await until(() => relay.sockets.size === 0, { what: "the relay to be left" });
});

it("F35 RelayTransport: who is no node of this mesh is refused, whatever place it has at the relay", async () => {
  const other = await (await TestCa.make()).issue("server");
  await using far = await Server.start(() => other);
  const relay = await relayOf();
  const { dialing, token } = relay.pair();
  waitAt(relay, token, far.address);
  const error = await byRelay()
    .dial(dialing)
    .catch((caught) => caught);
  expect(error).toMatchObject({ code: "AUTHENTICATION" });
  expect(error.message).not.toContain("token=");
});

it("F35 RelayTransport: nobody at the other place, a wrong token, no relay, and no address each say what they are", async () => {
  const relay = await relayOf();
  await expect(byRelay().dial(relay.pair().dialing, { timeoutMs: 100 })).rejects.toMatchObject({ code: "TIMEOUT" });
  const wrong = `tcprelay://${relay.place}?token=${"0".repeat(32)}`;
  await expect(byRelay().dial(wrong)).rejects.toMatchObject({ code: "UNREACHABLE" });
  const nowhere = `tcprelay://127.0.0.1:${freePort()}?token=${"0".repeat(32)}`;
  await expect(byRelay().dial(nowhere)).rejects.toMatchObject({ code: "UNREACHABLE", cause: { code: "ECONNREFUSED" } });
  const short = await byRelay()
    .dial("tcprelay://127.0.0.1:1?token=beef")
    .catch((error) => error);
  expect(short).toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("tcprelay://HOST:PORT?token=") });
  expect(short.message).not.toContain("beef");
  await until(() => relay.sockets.size === 0, { what: "the relay to be left" });
});

it("F35 spliceRelay: holds back who sends to a listener that does not read, and ends with it", async () => {
  const relay = await relayOf();
  let reader: Socket | undefined;
  const listener = createServer((socket) => {
    reader = socket.pause();
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  cleanUps.push(() => listener.close());
  const { dialing, token } = relay.pair();
  const { over } = waitAt(relay, token, `tcp://127.0.0.1:${(listener.address() as { port: number }).port}`);
  const { connect } = await import("node:net");
  const [host, port] = relay.place.split(":");
  const sender = connect({ host: host!, port: Number(port) }).on("error", () => {});
  cleanUps.push(() => sender.destroy());
  sender.write(Buffer.from(dialing.split("token=")[1]!, "hex"));
  let taken = 0;
  let standsStill = 0;
  while (standsStill < 100 && taken < 256) {
    standsStill = sender.writableLength === 0 ? 0 : standsStill + 1;
    if (standsStill === 0) sender.write(new Uint8Array(MIB), () => taken++);
    await Bun.sleep(1);
  }
  expect(taken).toBeLessThan(64);
  await until(() => reader !== undefined, { what: "the reader" });
  reader!.destroy();
  await over;
});

it("F35 spliceRelay: ends when it is told to, before and after somebody came, and says when there is no relay or listener", async () => {
  const relay = await relayOf();
  const quiet = await relayOf();
  const early = waitAt(quiet, quiet.pair().token, "tcp://127.0.0.1:1");
  await until(() => quiet.sockets.size === 1, { what: "the place to be taken" });
  early.abort.abort();
  await early.over;
  await using far = await Server.start(() => server);
  const { dialing, token } = relay.pair();
  const late = waitAt(relay, token, far.address);
  const near = new End(await byRelay().dial(dialing));
  late.abort.abort();
  await Promise.all([late.over, near.ended()]);
  const signal = new AbortController().signal;
  const nowhere = `127.0.0.1:${freePort()}`;
  await expect(spliceRelay({ relay: nowhere, token, to: far.address, signal })).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringContaining(nowhere),
  });
  const gone = relay.pair();
  const noListener = waitAt(relay, gone.token, `tcp://${nowhere}`);
  await expect(byRelay().dial(gone.dialing)).rejects.toMatchObject({ code: "UNREACHABLE" });
  await expect(noListener.over).rejects.toMatchObject({ code: "UNREACHABLE" });
  await until(() => relay.sockets.size === 0, { what: "the relay to be left" });
});
