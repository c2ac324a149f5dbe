// Whoever reaches the port without a certificate of this mesh: silent, dripping, flooding, talking garbage.
import { expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { End, freePort, type RawClient, rawClient, rawClients, Server } from "./tcp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const dial = (address: string) => new TcpTransport({ credentials: () => client }).dial(address);

/** A listener whose time stands still, with a link that was there before the strangers. */
async function besieged() {
  const clock = new ManualClock();
  const at = await Server.start(() => server, { clock });
  const near = new End(await dial(at.address));
  await until(() => at.accepted.length === 1, { what: "the link" });
  let answered = 0;
  /** Throws unless the link still carries a frame there and back. */
  const checkLink = async () => {
    const far = at.accepted[0]!;
    const [there, back] = [far.texts.length, near.texts.length];
    near.send("there");
    await until(() => far.texts.length === there + 1, { what: "a frame there" });
    far.send("back");
    await until(() => near.texts.length === back + 1, { what: "a frame back" });
    answered++;
  };
  return { at, clock, checkLink, answered: () => answered, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

/** The first bytes a client sends: its ClientHello. */
async function clientHello(): Promise<Uint8Array> {
  const bytes = Promise.withResolvers<Uint8Array>();
  using listener = Bun.listen({
    hostname: "127.0.0.1",
    port: freePort(),
    socket: { binaryType: "uint8array", data: (_, chunk) => bytes.resolve(chunk.slice()) },
  });
  dial(`tcp://127.0.0.1:${listener.port}`).catch(() => {});
  return await bytes.promise;
}

const open = (clients: RawClient[]) => clients.filter(({ isClosed }) => !isClosed).length;

it("X20: of 2,000 silent connections 64 stay, all are gone after 5 s, and a real client gets in meanwhile", async () => {
  await using siege = await besieged();
  const { at, clock } = siege;
  const silent = await rawClients(2_000, at.port);
  await until(() => at.refusals.length === 1_936, { what: "the refusals" });
  await until(() => open(silent) === 64, { what: "64 to be left" });
  expect(at.listener.unfinished).toBe(64);
  await expect(dial(at.address)).rejects.toMatchObject({ code: "UNREACHABLE", cause: { code: "ECONNRESET" } });
  clock.advance(600);
  const late = new End(await dial(at.address));
  await until(() => at.accepted.length === 2, { what: "the real client" });
  await siege.checkLink();
  late.link.close();
  clock.advance(4_400);
  await until(() => open(silent) === 0, { what: "all to be gone" });
  expect(at.listener.unfinished).toBe(0);
  expect(at.refusals.at(-1)).toMatchObject({ code: "TIMEOUT", message: expect.stringMatching(/within 5000 ms/) });
  expect(at.listener.refused).toBe(at.refusals.length);
});

it("X20: dripping bytes of a real handshake buys no time", async () => {
  await using siege = await besieged();
  const { at, clock } = siege;
  const hello = await clientHello();
  const dripping = await rawClients(20, at.port, hello.slice(0, 1));
  await until(() => at.listener.unfinished === 20, { what: "the connections" });
  for (let second = 1; second < 5; second++) {
    clock.advance(1_000);
    for (const { socket } of dripping) socket?.write(hello.slice(second, second + 1));
    await siege.checkLink();
  }
  expect(open(dripping)).toBe(20);
  clock.advance(1_000);
  await until(() => open(dripping) === 0, { what: "all to be gone" });
});

it("X21: in a flood of 5,000 dials from one address never more than 64 are in TLS's handshake", async () => {
  await using siege = await besieged();
  const { at } = siege;
  let most = 0;
  for (let round = 0; round < 20; round++) {
    const clients = await rawClients(250, at.port);
    await until(() => open(clients) <= 64, { what: "the cap to hold" });
    most = Math.max(most, at.listener.unfinished);
    await siege.checkLink();
    for (const { socket } of clients) socket?.terminate();
    await until(() => at.listener.unfinished === 0, { what: "the end of the round" });
  }
  expect([most, siege.answered()]).toEqual([64, 20]);
});

const SEED = Number(process.env.SEED ?? 17);

it(`X17: 600 connections of garbage, cut, flipped and repeated handshakes do no harm (seed ${SEED})`, async () => {
  await using siege = await besieged();
  const { at } = siege;
  const hello = await clientHello();
  const random = randomOf(SEED);
  const below = (limit: number) => Math.floor(random() * limit);
  const flipped = () => {
    const bytes = hello.slice();
    for (let flips = 1 + below(8); flips > 0; flips--) bytes[below(bytes.length)]! ^= 1 << below(8);
    return bytes;
  };
  const KINDS = [
    () => new Uint8Array(1 + below(4_000)).map(() => below(256)),
    () => hello.slice(0, 1 + below(hello.length - 1)),
    flipped,
    () => hello,
    () => new TextEncoder().encode("GET / HTTP/1.1\r\nHost: mesh\r\n\r\n"),
    () => new Uint8Array([0, 0, 0, 5, 1, 2, 3, 4, 5]),
  ];
  for (let round = 0; round < 20; round++) {
    const clients = await Promise.all(
      Array.from({ length: 30 }, (_, i) => rawClient(at.port, KINDS[i % KINDS.length]!())),
    );
    await siege.checkLink();
    for (const { socket } of clients) below(2) ? socket?.terminate() : socket?.end();
    await until(() => open(clients) === 0 && at.listener.unfinished === 0, { what: "the end of the round" });
  }
  expect(at.accepted.length).toBe(1);
  expect(siege.answered()).toBe(20);
});

it("X18: a node that sends garbage instead of frames is hung up on, and the reason is told", async () => {
  await using at = await Server.start(() => server);
  const { caPem: ca, certificatePem: cert, keyPem: key } = client;
  const closed = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port: at.port,
    tls: { ca, cert, key, serverName: "mesh", rejectUnauthorized: true },
    socket: {
      handshake: (socket) => void socket.write(new Uint8Array(64).fill(255)),
      data() {},
      close: () => closed.resolve(),
    },
  });
  await until(() => at.accepted.length === 1, { what: "the link" });
  expect(await at.accepted[0]!.ended()).toMatchObject({
    code: "PROTOCOL",
    message: expect.stringMatching(/announced a frame of 4294967295 bytes/),
  });
  await closed.promise;
});
