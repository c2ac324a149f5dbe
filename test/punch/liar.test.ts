// X17, X22: a rendezvous that lies about where others are.
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { Meetings } from "../../core/meeting/meetings.ts";
import { Node } from "../../core/node/node.ts";
import { Sealer } from "../../core/punch/packet.ts";
import { openPunchPort } from "../../core/punch/punch-port.ts";
import { readRemote } from "../../core/punch/remote.ts";
import type { PeerInfo, PeerSession } from "../../core/session/peer-session.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { TestPort } from "../rendezvous/support.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";

describe("X17 packets to those who did not ask for them", () => {
  it.each([
    ["port 0", "10.0.0.5:0"],
    ["a port over 65535", "10.0.0.5:65536"],
    ["no address", "0.0.0.0:7450"],
    ["none of IPv6", "[::]:7450"],
    ["multicast", "224.0.0.1:7450"],
    ["multicast of IPv6", "[ff02::1]:7450"],
    ["broadcast", "255.255.255.255:7450"],
    ["broadcast, as IPv6", "[::ffff:255.255.255.255]:7450"],
    ["a name", "localhost:7450"],
    ["an address with more behind it", "10.0.0.5:7450/x"],
  ])("%s is no address to send to", (_, text) => {
    expect(readRemote(text)).toBeUndefined();
  });

  it("a third party that many are sent to gets a bounded number of packets, all of 34 bytes; own addresses answer nothing", async () => {
    const sizes: number[] = [];
    const socket = { data: (_: unknown, bytes: Uint8Array) => void sizes.push(bytes.length), error: () => {} };
    const victims = await Promise.all(
      Array.from({ length: 32 }, () => Bun.udpSocket({ hostname: "127.0.0.3", socket })),
    );
    const candidates = victims.map(({ port }) => `127.0.0.3:${port}`);
    const limits = { limitMs: 1_000 };
    const ports = await Promise.all(Array.from({ length: 40 }, () => openPunchPort([], limits)));
    const began = performance.now();
    const attempts = ports.map((port, i) => {
      const lies = i === 0 ? port.place.candidates : candidates;
      const shared = { meeting: randomBytes(8), key: randomBytes(32), dials: true, mapping: "none" as const };
      return port.punch({ ...shared, candidates: lies }, limits);
    });
    for (const attempt of await Promise.allSettled(attempts)) expect(attempt.status).toBe("rejected");
    const seconds = Math.ceil((performance.now() - began) / 1_000) + 1;
    for (const victim of victims) victim.close();
    expect(sizes.length).toBeGreaterThan(1_000);
    expect(sizes.length).toBeLessThanOrEqual(2_500 * seconds);
    expect(new Set(sizes)).toEqual(new Set([34]));
  });
});

it("X17 ports of a meeting under a flood of garbage and of its own packets with a bit changed: they find each other", async () => {
  const next = randomOf(17);
  const limits = { limitMs: 3_000 };
  const [a, b] = await Promise.all([openPunchPort([], limits), openPunchPort([], limits)]);
  const shared = { meeting: randomBytes(8), key: randomBytes(32) };
  const said = new Uint8Array(new Sealer({ ...shared, dials: false }).seal({ type: "probe", number: 1 }));
  using attacker = await TestPort.open();
  const ports = [a, b].map(({ place }) => Number(place.candidates[0]!.split(":").at(-1)));
  let isOver = false;
  let sent = 0;
  const send = () => {
    const packet = sent % 3 === 0 ? randomBytes(34) : said.slice(0, sent % 3 === 1 ? 34 : 1 + Math.floor(next() * 33));
    packet[Math.floor(next() * packet.length)]! ^= 1 << Math.floor(next() * 8);
    attacker.send(packet, ports[sent++ % 2]!);
  };
  const flood = async () => {
    while (!isOver) {
      for (let i = 0; i < 50 && !isOver; i++) send();
      await Bun.sleep(0);
    }
  };
  for (let i = 0; i < 200; i++) send();
  const flooding = flood().catch(() => {}); // a port is closed once it is a hole
  const holes = await Promise.all([
    a.punch({ ...shared, dials: true, ...b.place }, limits),
    b.punch({ ...shared, dials: false, ...a.place }, limits),
  ]);
  isOver = true;
  await flooding;
  expect(sent).toBeGreaterThan(200);
  expect(holes.map(({ remote }) => Number(remote.split(":").at(-1)))).toEqual([ports[1], ports[0]]);
  attacker.send("the last", attacker.port);
  expect(await attacker.received(1)).toEqual(["the last"]);
});

const RENDEZVOUS = { node: 16, slot: 0 };

/** A node that meets others at a rendezvous which answers as the test says. */
function victimOf(answer: (type: number) => unknown) {
  const [near, far] = memoryPair("liar");
  const node = new Node({ node: 100, slot: 0 }, new Codec());
  const liar = new Node(RENDEZVOUS, new Codec());
  node.addNode({ node: 16, role: "rendezvous", link: near });
  liar.addNode({ node: 100, role: "worker", link: far });
  for (const type of [MessageType.meetPlaces, MessageType.meet, MessageType.relay]) {
    liar.handleRequest(type, () => answer(type));
  }
  const session = { node: 16, name: "liar", isUp: true, epoch: "e", path: undefined, over: new Promise(() => {}) };
  const sessions = new Map<number, object>([[16, session]]);
  const to = (info: PeerInfo) => {
    const made = sessions.get(info.node) ?? { ...session, ...info, isUp: false, isOver: false, addWays: () => {} };
    sessions.set(info.node, made);
    return made as PeerSession;
  };
  const meetings = new Meetings({
    node,
    clock: systemClock,
    listener: () => "udp://127.0.0.1:7450",
    peers: { get: (number) => sessions.get(number) as PeerSession | undefined, to, accept: () => {} },
    known: () => [{ node: 16, name: "liar", role: "rendezvous", addresses: ["udp://127.0.0.1:9"] }],
    transport: undefined as never,
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  const invite = (body: unknown) => liar.notify({ node: 100, slot: 0 }, MessageType.invited, body);
  return { meetings, sessions, invite, to };
}

const told = {
  meeting: randomBytes(8),
  key: randomBytes(32),
  dials: true,
  candidates: ["10.0.0.5:1"],
  mapping: "none",
};
const places = { echoPorts: [], id: randomBytes(16), key: randomBytes(32) };
let open: Meetings | undefined;

afterEach(() => open?.close());

describe("X22 answers of a rendezvous that make no sense", () => {
  it.each<[string, (type: number) => unknown]>([
    ["thousands of addresses", () => ({ ...told, candidates: Array(5_000).fill("10.0.0.5:1") })],
    ["addresses that are none", () => ({ ...told, candidates: [{}, 7] })],
    ["no addresses at all", () => ({ ...told, candidates: undefined })],
    ["a key of another length", () => ({ ...told, key: randomBytes(31) })],
    ["another kind of router", () => ({ ...told, mapping: "magic" })],
  ])("%s: the meeting is over, and says so", async (_, answer) => {
    const { meetings, to } = victimOf((type) => (type === MessageType.meetPlaces ? places : answer(type)));
    open = meetings;
    to({ node: 200, name: "b", role: "worker", addresses: [] });
    meetings.seek(200);
    await until(() => meetings.last(200) !== undefined, { what: "the outcome" });
    expect(meetings.last(200)!.words).toMatch(/the answer to meet has a body that is not allowed/);
  });

  it("10,000 invitations to nodes that nobody knows: at most 256 are followed at once", async () => {
    const { meetings, sessions, invite } = victimOf((type) =>
      type === MessageType.meetPlaces ? places : new Promise(() => {}),
    );
    open = meetings;
    for (let i = 0; i < 10_000; i++) invite({ node: 1_000 + i, name: `n${i}`, role: "worker" });
    invite({ node: 1_000, name: "n0", role: "worker" });
    await until(() => sessions.size > 256, { what: "the invitations" });
    for (let turn = 0; turn < 50; turn++) await Bun.sleep(0);
    expect(sessions.size).toBe(1 + 256);
  });
});
