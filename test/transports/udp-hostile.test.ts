// What anybody may send to a UDP port: nothing of it harms those who have a link there.
import { expect, it } from "vitest";
import { TRUSTS_ANYBODY } from "../../transports/udp/identity.ts";
import { Endpoint } from "../../transports/udp/quic.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { TestCa } from "../support/certificates.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { End } from "./tcp-support.ts";
import { UdpServer } from "./udp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const MIB = 1024 * 1024;

/** As it was sent, cut short, with a bit changed, or of nothing at all. */
function mutated(bytes: Uint8Array, random: () => number): Uint8Array {
  const copy = bytes.slice();
  const kind = Math.floor(random() * 4);
  if (kind === 0) return copy;
  if (kind === 1) return copy.subarray(0, Math.floor(random() * copy.length));
  if (kind === 2) copy[Math.floor(random() * copy.length)]! ^= 1 << Math.floor(random() * 8);
  else for (let i = 0; i < copy.length; i++) copy[i] = Math.floor(random() * 256);
  return copy;
}

it("X17 50,000 packets of garbage, cut short, changed and sent again: no link and no memory for them, and a live one goes on", async () => {
  const seed = Number(process.env.MESH_FUZZ_SEED ?? 17);
  const random = randomOf(seed);
  await using at = await UdpServer.start(() => server);
  using forwarder = await UdpForwarder.start(at.address);
  const seen: Uint8Array[] = [];
  forwarder.tap = (bytes) => {
    if (seen.length < 200) seen.push(new Uint8Array(bytes));
  };
  const near = new End(await new UdpTransport({ credentials: () => client }).dial(forwarder.address));
  await until(() => at.accepted.length === 1, { what: "the link" });
  for (let i = 0; i < 200; i++) near.send(`${i}`);
  await until(() => at.accepted[0]!.texts.length === 200 && seen.length > 5, { what: "packets to replay" });
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const attacker = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { error: () => {} } });
  for (let i = 0; i < 50_000; i++) {
    const packet = mutated(seen[Math.floor(random() * seen.length)]!, random);
    if (packet.length > 0) attacker.send(packet, at.port, "127.0.0.1");
    if (i % 500 !== 0) continue;
    near.send("beside");
    await Bun.sleep(0);
  }
  await until(() => at.accepted[0]!.texts.length === 300, { what: "all frames sent beside them" });
  attacker.close();
  expect(at.accepted).toHaveLength(1);
  expect(process.memoryUsage().rss - before).toBeLessThan(50 * MIB);
  expect(await at.answers(client)).toBe(true);
  near.link.close();
});

/** What a listener sends back to an address that said this and then nothing more, until it has given up. */
async function answerTo(port: number, packet: Uint8Array): Promise<number> {
  let bytes = 0;
  const silent = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: {
      data: (_, got) => {
        bytes += got.length;
      },
      error: () => {},
    },
  });
  silent.send(packet, port, "127.0.0.1");
  await Bun.sleep(700);
  silent.close();
  return bytes;
}

it("X17 whoever writes another's address on a packet turns two packets on that one, and fewer bytes than it has if it begins nothing", async () => {
  await using at = await UdpServer.start(() => server, { handshakes: { timeoutMs: 500 } });
  const seen: Uint8Array[] = [];
  const nobody = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: { data: (_, bytes) => void seen.push(new Uint8Array(bytes)), error: () => {} },
  });
  const dial = new UdpTransport({ credentials: () => client }).dial(`udp://127.0.0.1:${nobody.port}`, {
    timeoutMs: 100,
  });
  await expect(dial).rejects.toMatchObject({ code: "TIMEOUT" });
  nobody.close();
  const initial = seen.find((bytes) => bytes.length >= 1_200)!;
  const otherVersion = initial.with(1, 0xfa);
  const noConnection = initial.with(0, 0x40);
  const handshake = initial.with(0, 0xe0);
  const packets = [initial, otherVersion, noConnection, handshake].flatMap((packet) => [
    packet,
    packet.subarray(0, 60),
    packet.subarray(0, 43),
  ]);
  const ofOther = packets.map((packet, i) => (i === 0 ? packet : packet.with(6, i))); // of another connection each
  const answers = await Promise.all(ofOther.map((packet) => answerTo(at.port, packet)));
  expect(answers[0]).toBeGreaterThan(0); // the handshake was begun
  for (const [i, bytes] of answers.entries()) {
    expect(bytes, `answers to packet ${i}`).toBeLessThanOrEqual(i === 0 ? 2 * 1_252 : packets[i]!.length);
  }
  expect(at.accepted).toEqual([]);
});

it("X2 a peer whose port is gone holds up nobody else: ICMP says so to every packet that goes there", async () => {
  await using at = await UdpServer.start(() => server);
  for (let i = 0; i < 4; i++) {
    const forwarder = await UdpForwarder.start(at.address);
    const gone = new End(await new UdpTransport({ credentials: () => client }).dial(forwarder.address));
    await until(() => at.accepted.length > 0, { what: "the link" });
    forwarder[Symbol.dispose]();
    at.accepted.pop()!.send("to nobody");
    // The runtime's own way: nothing sent for a second, again and again while it tries to reach who is gone.
    const near = await new UdpTransport({ credentials: () => client }).dial(at.address, { timeoutMs: 900 });
    await until(() => at.accepted.length === 1, { what: "the other link" });
    at.accepted.pop();
    near.destroy(new Error("over"));
    gone.link.destroy(new Error("over"));
  }
});

it("X20 X21 who finishes no link is sent away in time, and one address has only so many places", async () => {
  const limits = { timeoutMs: 700, perAddress: 4, total: 100 };
  await using at = await UdpServer.start(() => server, { handshakes: limits });
  const endpoint = new Endpoint({ host: "127.0.0.1", port: 0 });
  const all = await Promise.all(
    Array.from({ length: 8 }, () => endpoint.connect({ host: "127.0.0.1", port: at.port }, TRUSTS_ANYBODY)),
  );
  const ends = await Promise.all(all.map((connection) => connection.closed));
  expect(ends.filter(({ reason }) => /too many at once from this address/.test(reason))).toHaveLength(4);
  expect(ends.filter(({ reason }) => /took over 700 ms/.test(reason))).toHaveLength(4);
  expect([at.accepted, at.listener.unfinished]).toEqual([[], 0]);
  expect(await at.answers(client)).toBe(true);
  await endpoint.close();
});

it("X18 what is no link of ours ends the connection: other streams, and words about bytes that make no sense", async () => {
  await using at = await UdpServer.start(() => server);
  const hostile: Uint8Array[][] = [
    [new Uint8Array([7])],
    [new Uint8Array([0]), new Uint8Array([0])],
    [new Uint8Array([0]), new Uint8Array([1, 9, 0, 0, 0, 0, 0, 0, 0, 0])],
    [new Uint8Array([0]), new Uint8Array([1, 1, 0, 0, 0, 0, 0, 0, 0, 9])], // took what was never sent
    [new Uint8Array([0, 0, 0, 0, 1, 65]), new Uint8Array([1, 2, 0, 0, 0, 0, 0, 0, 0, 2])], // ended before what it sent
  ];
  for (const streams of hostile) {
    const endpoint = new Endpoint({ host: "127.0.0.1", port: 0 });
    const connection = await endpoint.connect({ host: "127.0.0.1", port: at.port }, TRUSTS_ANYBODY);
    await connection.opened;
    for (const bytes of streams) (await connection.openStream()).write(bytes);
    const end = await connection.closed;
    expect(end.isClean, `the end after ${streams}`).toBe(false);
    await endpoint.close();
  }
  expect(await at.answers(client)).toBe(true);
});

it("X15 a peer that does not keep to what it may send is cut off, and costs no more than the window", async () => {
  await using at = await UdpServer.start(() => server);
  const endpoint = new Endpoint({ host: "127.0.0.1", port: 0 });
  const connection = await endpoint.connect({ host: "127.0.0.1", port: at.port }, TRUSTS_ANYBODY);
  await connection.opened;
  const [bytes, control] = [await connection.openStream(), await connection.openStream()];
  bytes.write(new Uint8Array([0]));
  control.write(new Uint8Array([1]));
  await until(() => at.accepted.length === 1, { what: "the link" });
  at.accepted[0]!.link.pause();
  let sent = 0;
  let isOver = false;
  void connection.closed.then(() => {
    isOver = true;
  });
  while (!isOver && sent < 64 * MIB) {
    if (bytes.write(new Uint8Array(65_536))) sent += 65_536;
    else if (!(await bytes.writable())) break;
  }
  expect(sent).toBeLessThan(40 * MIB);
  expect(await at.accepted[0]!.ended()).toMatchObject({
    code: "PROTOCOL",
    message: expect.stringMatching(/more than it was allowed/),
  });
  await endpoint.close();
});
