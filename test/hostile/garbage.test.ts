// Bytes that mean nothing, or harm, on every port: before TLS, inside it, and in place of a handshake.
import { connect } from "node:net";
import { expect, test } from "vitest";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { randomOf } from "../support/random.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { type RawClient, rawClient } from "../transports/tcp-support.ts";
import { Attacker, identityIn, transportOf } from "./attacker.ts";
import { areWell, type Victim, victimsOf } from "./victims.ts";

/** Connections of each kind to each port. */
const ROUNDS = Number(process.env.MESH_FUZZ_ROUNDS ?? 40);

const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ""), "hex"));
const ascii = (text: string) => new TextEncoder().encode(text);

/** What a client sends first in TLS, as this machine's Bun does. */
async function clientHello(): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { binaryType: "uint8array", data: (_, bytes) => resolve(bytes.slice()) },
  });
  const client = connect({ host: "127.0.0.1", port: server.port });
  const tls = await import("node:tls");
  const upgraded = tls.connect({ socket: client, rejectUnauthorized: false });
  upgraded.on("error", () => {});
  try {
    return await promise;
  } finally {
    client.destroy();
    server.stop(true);
  }
}

/** CBOR that promises much: lengths, depth, tags, keys that are names of JavaScript's own. */
const bombs: Uint8Array[] = [
  hex("9b 7fffffffffffffff"), // an array of 2^63 - 1
  hex("bb 00000000ffffffff"), // a map of 2^32 - 1
  hex("5b 00000001 00000000"), // 4 GiB of bytes
  hex("7a ffffffff 61"),
  new Uint8Array(4000).fill(0x81), // 4,000 arrays inside each other
  new Uint8Array(4000).fill(0xc1), // and tags
  new Uint8Array(4000).fill(0x9f), // and arrays without end
  hex("d9 0102 81 00"),
  hex("d8 1c d8 1d 00"), // a value that refers to itself
  hex("c2 59 0f00").subarray(0, 4), // an integer of 3,840 bytes that are not there
  hex("a1 69 5f5f70726f746f5f5f a1 68 697341646d696e f5"), // {"__proto__": {"isAdmin": true}}
  hex("a1 6b 636f6e7374727563746f72 a1 69 70726f746f74797065 a1 61 61 01"), // {"constructor": {"prototype": {"a": 1}}}
  hex("a2 65 6e6f6e6365 01 65 6e6f6e6365 02"), // the same key twice
  hex("d9 4d4a 60"),
];

function random(bytes: number, next: () => number): Uint8Array {
  return Uint8Array.from({ length: bytes }, () => Math.floor(next() * 256));
}

/** Connects, sends and waits until the other side has hung up. */
async function throwAt(port: number, bytes: Uint8Array): Promise<void> {
  const client = await rawClient(port, bytes);
  await hungUp(client, bytes);
}

async function hungUp(client: RawClient, sent: Uint8Array): Promise<void> {
  client.socket?.end();
  await until(() => client.isClosed, {
    what: `the end of a connection that sent ${Buffer.from(sent.subarray(0, 16)).toString("hex")}`,
  });
}

/** What the other side says on a link before it ends it: types of frames. */
async function repliesOn(link: Link, ...frames: Uint8Array[]): Promise<number[]> {
  const types: number[] = [];
  let isOver = false;
  link.attach({
    frame: (frame) => void types.push(frame[0]!),
    drained: () => {},
    closed: () => {
      isOver = true;
    },
  });
  for (const frame of frames) link.send(frame);
  await until(() => isOver, { what: `the end of a link that sent ${frames.map((frame) => frame[0]).join(", ")}` });
  return types;
}

test("X17 garbage on every port before TLS: nobody falls, live sessions do not notice", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { all } = await victimsOf(mesh);
  await using client = await Attacker.of(mesh, "head", "observer");
  const session = await client.connect(mesh.address);
  const hello = await clientHello();
  const next = randomOf(17);
  const kinds: (() => Uint8Array)[] = [
    () => random(1 + Math.floor(next() * 4000), next),
    () => hello.subarray(0, Math.floor(next() * hello.length)),
    () => Buffer.concat([hello, random(1 + Math.floor(next() * 600), next)]),
    () => hello.map((byte) => (next() < 0.02 ? byte ^ (1 << Math.floor(next() * 8)) : byte)),
    () => Buffer.concat([hello, hello]),
    () => ascii("GET / HTTP/1.1\r\nHost: mesh\r\n\r\n"),
    () => ascii("SSH-2.0-OpenSSH_9.2\r\n"),
    () => hex("16 0301 ffff 01"), // a record of 64 KiB that does not come
    () => hex("15 0303 0002 02 28"), // an alert
    () => hex("17 0303 4001"), // application data over the limit
    () => hex("ffff ffff 06"), // a frame of mesh's own, of 4 GiB, without TLS
    () => new Uint8Array(0),
  ];
  for (const victim of all) victim.watch();
  for (const victim of all) {
    for (const kind of kinds) await Promise.all(Array.from({ length: ROUNDS }, () => throwAt(victim.port, kind())));
  }
  await areWell(mesh, all);
  expect(session.state.phase).toBe("up");
  expect(client.ended).toEqual([]);
});

test("X17 X19 garbage inside TLS, from strangers and from nodes: a word at most, and the end", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, worker, all } = await victimsOf(mesh);
  const node = transportOf(await identityIn(mesh, "worker", "evil"));
  const stranger = new TcpTransport({ credentials: () => undefined });
  const next = randomOf(19);
  const codec = new Codec();
  const bodies = [...bombs, codec.encode({}), codec.encode([]), codec.encode("a"), codec.encode({ nonce: 1 })];
  const framesOf = (body: Uint8Array) => {
    const type = [MessageType.greeting, MessageType.join, MessageType.refused, MessageType.welcome, 255][
      Math.floor(next() * 5)
    ]!;
    return Uint8Array.from([type, ...body]);
  };
  const dials: [Victim, TcpTransport][] = [
    [coordinator, stranger],
    [coordinator, node],
    [worker, node],
  ];
  for (const victim of all) victim.watch();
  for (const [{ address }, transport] of dials) {
    for (const body of [...bodies, ...bodies.map(() => random(200, next))]) {
      for (const frame of [
        Uint8Array.from([MessageType.greeting, ...body]),
        Uint8Array.from([MessageType.join, ...body]),
        framesOf(body),
      ]) {
        const types = await repliesOn(await transport.dial(address), frame);
        expect(types).not.toContain(MessageType.welcome);
        expect(types).not.toContain(MessageType.joined);
      }
    }
    const large = new Uint8Array(5 * 1024 * 1024).fill(MessageType.greeting);
    expect(await repliesOn(await transport.dial(address), large)).not.toContain(MessageType.welcome);
  }
  await areWell(mesh, all);
});
