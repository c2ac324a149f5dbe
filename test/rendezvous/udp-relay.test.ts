import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import { describe, expect, test } from "vitest";
import { type Clock, ManualClock } from "../../core/clock.ts";
import type { MeetPlaces, Relayed } from "../../core/rendezvous/bodies.ts";
import { encodeEchoRequest } from "../../core/rendezvous/echo.ts";
import { reportOf } from "../../core/rendezvous/tally.ts";
import { rejection, settled } from "../coordinator/support.ts";
import { until } from "../support/until.ts";
import { echoFrom, freeRange, type TestNode, type TestOptions, TestPort, TestRendezvous } from "./support.ts";

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));

/** One of two nodes with a relay between them; it has echoed once, from 127.0.0.1. */
interface Side {
  node: TestNode;
  places: MeetPlaces;
  relayed: Relayed;
  port: TestPort;
  /** By its port to the relay's. */
  send(bytes: Uint8Array | string): void;
}

async function sideOf(node: TestNode, relayed: Relayed): Promise<Side> {
  const [places, port] = [await node.places(), await TestPort.open()];
  await echoFrom(port, places.echoPorts[0]!, places);
  port.got.length = 0;
  return { node, relayed, places, port, send: (bytes) => port.send(bytes, relayed.port) };
}

interface RelayedPair extends AsyncDisposable {
  rendezvous: TestRendezvous;
  a: Side;
  b: Side;
}

async function relayedPair(options: TestOptions = {}, clock?: Clock): Promise<RelayedPair> {
  const rendezvous = await TestRendezvous.start(options, clock);
  const [nodeA, nodeB] = [rendezvous.join("a"), rendezvous.join("b")];
  const [ofA, ofB] = [await nodeA.relay(nodeB.id), await nodeB.relay(nodeA.id)];
  const [a, b] = [await sideOf(nodeA, ofA), await sideOf(nodeB, ofB)];
  return {
    ...{ rendezvous, a, b },
    async [Symbol.asyncDispose]() {
      for (const { port } of [a, b]) port[Symbol.dispose]();
      await rendezvous[Symbol.asyncDispose]();
    },
  };
}

async function hasForwarded(rendezvous: TestRendezvous, packets: number): Promise<void> {
  await until(() => rendezvous.metrics.udpRelay.packets === packets, { what: `${packets} packets, forwarded` });
}

const dropped = (rendezvous: TestRendezvous) => rendezvous.metrics.udpRelay.dropped;

/** Sends until the relay has dropped one more for that reason. */
async function isDropped(rendezvous: TestRendezvous, why: keyof ReturnType<typeof dropped>, send: () => void) {
  const before = dropped(rendezvous)[why];
  send();
  await until(() => dropped(rendezvous)[why] === before + 1, { what: `a packet dropped as ${why}` });
}

describe("relay by UDP (F24)", () => {
  test("both sides get a port, and the other is told; asked again it is the same", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const ofA = await a.relay(b.id);
    expect(ofA).toMatchObject({ node: b.id, by: "udp", dials: true });
    expect(b.relays).toEqual([{ node: a.id, by: "udp", port: expect.any(Number), dials: false }]);
    expect(b.relays[0]!.port).not.toBe(ofA.port);
    expect(await b.relay(a.id)).toEqual(b.relays[0]!);
    expect(await a.relay(b.id)).toEqual(ofA);
    expect(a.relays).toEqual([ofA]);
    expect(rendezvous.metrics.udpRelay.pairs).toBe(1);
  });

  test("packets go both ways as they are, in order, in bursts and alone", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    a.send("hello");
    b.send("hello back");
    expect(await b.port.received(1)).toEqual(["hello"]);
    expect(await a.port.received(1)).toEqual(["hello back"]);
    expect(b.port.got[0]!.port).toBe(b.relayed.port);
    const burst = Array.from({ length: 100 }, (_, i) => `packet ${i}`);
    for (const text of burst) a.send(text);
    expect((await b.port.received(101)).slice(1)).toEqual(burst);
    const { packets, bytes } = rendezvous.metrics.udpRelay;
    expect(packets).toBe(102);
    expect(bytes).toBe(a.port.receivedBytes + b.port.receivedBytes);
  });

  test("every size goes through, up to the largest", async () => {
    await using pair = await relayedPair();
    const { a, b } = pair;
    b.send("here");
    const sizes = [1, 63, 64, 65, 1_200, 1_472, 9_000, 65_507];
    for (const [i, size] of sizes.entries()) {
      a.send(Buffer.alloc(size, i));
      await b.port.received(i + 1);
      expect(b.port.got[i]!.bytes.equals(Buffer.alloc(size, i))).toBe(true);
    }
  });

  test.skipIf(!hasIpv6)("one side by IPv4, the other by IPv6", async () => {
    await using rendezvous = await TestRendezvous.start({ host: "::" });
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const [ofA, ofB] = [await a.relay(b.id), await b.relay(a.id)];
    using v4 = await TestPort.open("127.0.0.1");
    using v6 = await TestPort.open("::1");
    const places = await b.places();
    expect(await echoFrom(v6, places.echoPorts[0]!, places)).toMatchObject({ host: "::1", port: v6.port });
    await echoFrom(v4, ofA.port, await a.places());
    v6.send("from six", ofB.port);
    v4.send("from four", ofA.port);
    expect((await v4.received(2)).at(-1)).toBe("from six");
    expect((await v6.received(2)).at(-1)).toBe("from four");
  });

  test("keeps 16 packets, and 24 KB, until it knows where the other is", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    for (let i = 0; i < 20; i++) a.send(`${i}`);
    await until(() => dropped(rendezvous).early === 4, { what: "4 packets too many" });
    expect(b.port.got).toEqual([]);
    b.send("here");
    expect(await b.port.received(16)).toEqual(Array.from({ length: 16 }, (_, i) => `${i}`));

    await using other = await relayedPair();
    for (let i = 0; i < 5; i++) other.a.send(Buffer.alloc(6_000, "x"));
    await until(() => dropped(other.rendezvous).early === 1, { what: "one that is over 24 KB" });
  });

  test("an echo to the relay's own port tells it where a node is, and the node the same", async () => {
    await using pair = await relayedPair();
    const { a, b } = pair;
    using elsewhere = await TestPort.open("127.0.0.3");
    expect(await echoFrom(elsewhere, b.relayed.port, b.places)).toMatchObject({ host: "127.0.0.3" });
    a.send("to the address of the echo");
    expect((await elsewhere.received(2)).at(-1)).toBe("to the address of the echo");
    expect(b.port.got).toEqual([]);
  });

  test("X7 a side whose port or address changes is followed", async () => {
    const clock = new ManualClock();
    await using pair = await relayedPair({}, clock);
    const { rendezvous, a, b } = pair;
    b.send("1");
    await hasForwarded(rendezvous, 1);
    using moved = await TestPort.open();
    await isDropped(rendezvous, "contested", () => moved.send("too early", b.relayed.port));
    clock.advance(300);
    moved.send("2", b.relayed.port);
    a.send("to the new port");
    expect(await moved.received(1)).toEqual(["to the new port"]);
    using roamed = await TestPort.open("127.0.0.3");
    await echoFrom(roamed, b.places.echoPorts[0]!, b.places);
    clock.advance(300);
    roamed.send("3", b.relayed.port);
    await hasForwarded(rendezvous, 4);
    a.send("to the new address");
    expect((await roamed.received(2)).at(-1)).toBe("to the new address");
  });

  test("whoever asks for the relay again may come from another port at once", async () => {
    const clock = new ManualClock();
    await using pair = await relayedPair({}, clock);
    const { rendezvous, a, b } = pair;
    b.send("1");
    await hasForwarded(rendezvous, 1);
    await b.node.relay(a.node.id);
    using again = await TestPort.open();
    again.send("2", b.relayed.port);
    await hasForwarded(rendezvous, 2);
    expect(dropped(rendezvous).contested).toBe(0);
  });

  test("ends after 60 s without a packet; garbage keeps none", async () => {
    const clock = new ManualClock();
    await using pair = await relayedPair({}, clock);
    const { rendezvous, a, b } = pair;
    clock.advance(59_000);
    b.send("still here");
    await hasForwarded(rendezvous, 1);
    clock.advance(59_000);
    using stranger = await TestPort.open("127.0.0.2");
    await isDropped(rendezvous, "stranger", () => stranger.send("garbage", b.relayed.port));
    expect(rendezvous.metrics.udpRelay.pairs).toBe(1);
    clock.advance(1_000);
    expect(rendezvous.metrics.udpRelay.pairs).toBe(0);
    using bound = await TestPort.open("127.0.0.1", b.relayed.port); // the port is free again
    expect(bound.port).toBe(b.relayed.port);
    expect((await a.node.relay(b.node.id)).port).not.toBe(a.relayed.port);
  });

  test("outlives the session of one side, and ends with that of both", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    b.send("before");
    await hasForwarded(rendezvous, 1);
    b.node.leave();
    await settled();
    a.send("after");
    await b.port.received(1);
    a.node.leave();
    await settled();
    expect(rendezvous.metrics.udpRelay.pairs).toBe(0);
  });

  test("a node that comes back finds the relay of its pair", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    b.node.leave();
    await settled();
    const back = rendezvous.join("b", "worker", b.node.id);
    expect(await back.relay(a.node.id)).toEqual(b.relayed);
    a.node.leave();
    await settled();
    expect(rendezvous.metrics.udpRelay.pairs).toBe(1); // b's first end does not count any more
  });

  test("limits: relays of one node, of all, and requests in a second", async () => {
    const relays = { each: 2, asksEach: 5 };
    await using rendezvous = await TestRendezvous.start({ relays, relayPairs: 3 }, new ManualClock());
    const nodes = Array.from({ length: 7 }, (_, i) => rendezvous.join(`n${i}`));
    const [a, b, c, d, e, f] = nodes as [TestNode, TestNode, TestNode, TestNode, TestNode, TestNode];
    await Promise.all([a.relay(b.id), a.relay(c.id)]);
    expect(await rejection(a.relay(d.id))).toMatchObject({ code: "FULL", message: expect.stringMatching(/^n0 has 2/) });
    expect(await rejection(d.relay(a.id))).toMatchObject({ code: "FULL" });
    await a.relay(c.id); // again, and no other
    await d.relay(e.id);
    expect((await rejection(e.relay(f.id))).message).toContain("takes no more: raise relayPairs");
    await a.relay(b.id);
    expect((await rejection(a.relay(b.id))).message).toContain("over 5 times in a second");
    expect(reportOf(rendezvous.metrics)).toMatchObject({ relays: 3, refused: 4, bytes: 0 });
    for (const node of [d, e]) node.leave();
    await settled();
    await b.relay(f.id);
  });

  test("no port left is said, and takes none", async () => {
    const first = await freeRange(3);
    const ports = [first, first + 2] as const; // two of them echo
    await using rendezvous = await TestRendezvous.start({ ports });
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    for (let i = 0; i < 3; i++) expect(await rejection(a.relay(b.id))).toMatchObject({ code: "FULL" });
    expect(rendezvous.metrics.udpRelay.pairs).toBe(0);
  });

  test("a pair sends no more than its quota, if there is one: the rest is dropped and counted", async () => {
    const clock = new ManualClock();
    await using pair = await relayedPair({ relayBytesPerSecond: 200_000 }, clock);
    const { rendezvous, a, b } = pair;
    b.send("here");
    const send = (count: number) => {
      for (let i = 0; i < count; i++) a.send(Buffer.alloc(1_000));
    };
    send(40);
    await until(() => dropped(rendezvous).overQuota === 8, { what: "what is over 32 KiB at once" });
    await b.port.received(32);
    clock.advance(50);
    send(12);
    await until(() => dropped(rendezvous).overQuota === 10, { what: "what is over 10,000 B in 50 ms" });
    await b.port.received(42);
    expect(reportOf(rendezvous.metrics)).toEqual({
      ...{ introduced: 0, relays: 1, refused: 0, packets: 43, bytes: 42_004, dropped: 10, overQuota: 10 },
      pairs: [{ nodes: [a.node.id, b.node.id], bytes: 42_004 }],
    });
  });

  test("close closes all ports", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    await rendezvous.rendezvous.close();
    for (const number of [a.relayed.port, b.relayed.port, ...rendezvous.rendezvous.echoPorts]) {
      using bound = await TestPort.open("127.0.0.1", number);
      expect(bound.port).toBe(number);
    }
    expect(rendezvous.metrics.udpRelay.pairs).toBe(0);
    for (const asked of [a.node.places(), a.node.meet(b.node.id), a.node.relay(b.node.id)]) {
      expect(await rejection(asked)).toMatchObject({
        code: "UNREACHABLE",
        message: expect.stringContaining("is ending"),
      });
    }
  });

  test("close, with wishes and relays under way: all end, no port stays", async () => {
    const rendezvous = await TestRendezvous.start();
    const [a, b, c] = [rendezvous.join("a"), rendezvous.join("b"), rendezvous.join("c")];
    const waits = rejection(a.meet(b.id));
    await settled();
    const opening = Promise.allSettled([a.relay(b.id), b.relay(c.id, "tcp")]);
    await settled(1);
    await rendezvous.rendezvous.close();
    expect(await waits).toMatchObject({ code: "CANCELLED" });
    for (const answer of await opening) {
      if (answer.status === "rejected") continue;
      using port = await TestPort.open("127.0.0.1", answer.value.port);
      expect(port.port).toBe(answer.value.port);
    }
    const { udpRelay, tcpRelay } = rendezvous.metrics;
    expect([udpRelay.pairs, tcpRelay.pairs]).toEqual([0, 0]);
  });
});

describe("relay by UDP, hostile (X17)", () => {
  test("a stranger's packets go nowhere, and nothing comes to him", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    using stranger = await TestPort.open("127.0.0.2");
    await isDropped(rendezvous, "stranger", () => stranger.send("first packet wins?", b.relayed.port));
    a.send("for b alone");
    b.send("here");
    expect(await b.port.received(1)).toEqual(["for b alone"]);
    await isDropped(rendezvous, "stranger", () => stranger.send("take over?", b.relayed.port));
    a.send("still for b");
    await b.port.received(2);
    expect([stranger.got, await a.port.received(1)]).toEqual([[], ["here"]]);
  });

  test("a node that has shown no address has to echo first", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const [ofA, places] = [await a.relay(b.id), await a.places()];
    using port = await TestPort.open();
    await isDropped(rendezvous, "stranger", () => port.send("who is it?", ofA.port));
    await echoFrom(port, ofA.port, places);
    port.send("it is a", ofA.port);
    await hasForwarded(rendezvous, 1);
  });

  test("a member cannot take another one's side", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    const mallory = await rendezvous.join("mallory").places();
    using port = await TestPort.open("127.0.0.4");
    await echoFrom(port, mallory.echoPorts[0]!, mallory);
    await isDropped(rendezvous, "stranger", () => port.send("as b", b.relayed.port));
    port.got.length = 0;
    await isDropped(rendezvous, "stranger", () => port.send(echoOf(mallory), b.relayed.port));
    await isDropped(rendezvous, "stranger", () => port.send(echoOf(a.places), b.relayed.port)); // nor a its partner's
    expect(port.got).toEqual([]);
  });

  test("who is silent for 15 s gets nothing more until he speaks", async () => {
    const clock = new ManualClock();
    await using pair = await relayedPair({}, clock);
    const { rendezvous, a, b } = pair;
    b.send("here");
    await hasForwarded(rendezvous, 1);
    clock.advance(15_001);
    await isDropped(rendezvous, "silent", () => a.send("to nobody"));
    b.send("here again");
    await hasForwarded(rendezvous, 3);
    a.send("welcome");
    expect(await b.port.received(1)).toEqual(["welcome"]);
  });

  test("never more bytes out than came in, whatever comes", async () => {
    await using pair = await relayedPair();
    const { rendezvous, a, b } = pair;
    using stranger = await TestPort.open("127.0.0.2");
    let sent = 0;
    const send = (from: TestPort, bytes: Uint8Array, to: number) => {
      sent += bytes.length;
      from.send(bytes, to);
    };
    for (let i = 0; i < 200; i++) {
      const bytes = Buffer.alloc(1 + ((i * 37) % 1_400), i);
      send(stranger, bytes, i % 2 ? a.relayed.port : b.relayed.port);
      send(a.port, i % 5 ? bytes : echoOf(a.places), a.relayed.port);
      if (i > 20) send(b.port, bytes, b.relayed.port);
      if (i % 20 === 0) await settled(2);
    }
    await until(() => rendezvous.metrics.udpRelay.packets > 300, { what: "most of it to come through" });
    await settled(20);
    expect(stranger.got).toEqual([]);
    expect(a.port.receivedBytes + b.port.receivedBytes).toBeLessThanOrEqual(sent);
  });

  test("50,000 packets of garbage: bounded memory, and what belongs there goes through", async () => {
    await using pair = await relayedPair();
    const { a, b } = pair;
    b.send("here");
    using stranger = await TestPort.open("127.0.0.2");
    const garbage = Buffer.alloc(1_200, 7);
    const before = process.memoryUsage().rss;
    for (let round = 1; round <= 100; round++) {
      for (let i = 0; i < 500; i++) stranger.send(garbage, i % 2 ? a.relayed.port : b.relayed.port);
      await until(
        () => {
          a.send(`${round}`); // the kernel's buffer may be full
          return b.port.got.some(({ bytes }) => bytes.toString() === `${round}`);
        },
        { what: `packet ${round}` },
      );
    }
    expect(stranger.got).toEqual([]);
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
  });
});

/** A signed question of that member. */
function echoOf({ id, key }: MeetPlaces): Uint8Array {
  return encodeEchoRequest({ id, transaction: randomBytes(8), fromOtherPort: false }, key);
}
