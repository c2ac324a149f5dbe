import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import {
  ECHO_ANSWER_BYTES,
  ECHO_REQUEST_BYTES,
  encodeEchoRequest,
  readEchoAnswer,
} from "../../core/rendezvous/echo.ts";
import { settled } from "../coordinator/support.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { echoFrom, freeRange, TestPort, TestRendezvous } from "./support.ts";

describe("echo ports (F2, F25)", () => {
  test("tell a member where its packets come from, at both, and from the other one when asked", async () => {
    await using rendezvous = await TestRendezvous.start();
    const places = await rendezvous.join("a").places();
    expect(places.echoPorts.length).toBe(2);
    using port = await TestPort.open();
    for (const to of places.echoPorts) {
      expect(await echoFrom(port, to, places)).toMatchObject({ host: "127.0.0.1", port: port.port });
      expect(port.got.at(-1)!.port).toBe(to);
      expect(await echoFrom(port, to, places, true)).toMatchObject({ fromOtherPort: true });
      expect(port.got.at(-1)!.port).toBe(places.echoPorts.find((other) => other !== to));
    }
  });

  test("one name and key for each session, another one for the next", async () => {
    await using rendezvous = await TestRendezvous.start();
    const a = rendezvous.join("a");
    const [first, again] = [await a.places(), await a.places()];
    expect(again).toEqual(first);
    const other = await rendezvous.join("b").places();
    expect(other.key).not.toEqual(first.key);
    a.leave();
    await settled();
    const back = await rendezvous.join("a", "worker", a.id).places();
    expect(back.id).not.toEqual(first.id);
    expect(rendezvous.metrics.members).toBe(2);
  });

  test("IPv4 and IPv6 at one port, each told as what it is", async () => {
    await using rendezvous = await TestRendezvous.start({ host: "::" });
    const places = await rendezvous.join("a").places();
    using port = await TestPort.open();
    expect(await echoFrom(port, places.echoPorts[0]!, places)).toMatchObject({ host: "127.0.0.1" });
  });

  test("a range of ports is kept to, and a taken one left out; none left is said", async () => {
    using taken = await TestPort.open("127.0.0.1", await freeRange(3));
    const ports = [taken.port, taken.port + 2] as const;
    await using rendezvous = await TestRendezvous.start({ ports });
    expect(rendezvous.rendezvous.echoPorts).toEqual([taken.port + 1, taken.port + 2]);
    await expect(TestRendezvous.start({ ports })).rejects.toMatchObject({
      code: "FULL",
      message: expect.stringContaining(`all UDP ports from ${taken.port} to ${taken.port + 2} are in use`),
    });
  });

  test("with one port it serves with that, and warns", async () => {
    using taken = await TestPort.open("127.0.0.1", await freeRange(2));
    const ports = [taken.port, taken.port + 1] as const;
    await using rendezvous = await TestRendezvous.start({ ports });
    expect((await rendezvous.join("a").places()).echoPorts).toEqual([taken.port + 1]);
    expect(rendezvous.warnings.length).toBe(1);
  });

  test("an address that is not of this machine is refused, named", async () => {
    await expect(TestRendezvous.start({ host: "192.0.2.1" })).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("192.0.2.1"),
    });
  });
});

describe("echo ports, hostile (X17)", () => {
  test("strangers get no answer: other ids, other keys, truncated, longer, of another version", async () => {
    await using rendezvous = await TestRendezvous.start();
    const a = rendezvous.join("a");
    const places = await a.places();
    const other = await rendezvous.join("b").places();
    const transaction = new Uint8Array(randomBytes(8));
    const request = { id: places.id, transaction, fromOtherPort: false };
    const good = encodeEchoRequest(request, places.key);
    const otherVersion = good.slice();
    otherVersion[4]!++;
    const bad = [
      encodeEchoRequest({ ...request, id: randomBytes(16) }, places.key),
      encodeEchoRequest(request, other.key),
      good.subarray(0, 63),
      Buffer.concat([good, Buffer.of(0)]),
      otherVersion,
      new Uint8Array(1),
    ];
    using stranger = await TestPort.open();
    for (const packet of bad) stranger.send(packet, places.echoPorts[0]!);
    await echoFrom(stranger, places.echoPorts[0]!, places); // comes after them
    for (const { bytes } of stranger.got)
      expect(readEchoAnswer(bytes, places.key)?.transaction).not.toEqual(transaction);
    expect(rendezvous.metrics.echoes.dropped).toMatchObject({ malformed: 4, unknown: 1, forged: 1 });
  });

  test("a session that ended answers no more, at once", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const [ofA, ofB] = [await a.places(), await b.places()];
    using port = await TestPort.open();
    await echoFrom(port, ofA.echoPorts[0]!, ofA);
    a.leave();
    await settled();
    const late = encodeEchoRequest({ id: ofA.id, transaction: randomBytes(8), fromOtherPort: false }, ofA.key);
    port.send(late, ofA.echoPorts[0]!);
    await echoFrom(port, ofB.echoPorts[0]!, ofB);
    expect(rendezvous.metrics.echoes.dropped.unknown).toBe(1);
  });

  test("what was overheard and is repeated from elsewhere is not answered", async () => {
    await using rendezvous = await TestRendezvous.start();
    const places = await rendezvous.join("a").places();
    const request = { id: places.id, transaction: randomBytes(8), fromOtherPort: false };
    const packet = encodeEchoRequest(request, places.key);
    using member = await TestPort.open();
    using attacker = await TestPort.open("127.0.0.2");
    member.send(packet, places.echoPorts[0]!);
    member.send(packet, places.echoPorts[0]!); // sent again: the first may have been lost
    await member.received(2);
    attacker.send(packet, places.echoPorts[0]!);
    attacker.send(packet, places.echoPorts[1]!);
    await until(() => rendezvous.metrics.echoes.dropped.replayed === 2, { what: "two dropped packets" });
    expect(attacker.got).toEqual([]);
  });

  test("never more bytes out than in, and not many of them for one member in a second", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const places = await rendezvous.join("a").places();
    using port = await TestPort.open();
    let sent = 0;
    const { dropped } = rendezvous.metrics.echoes;
    expect(dropped.unchecked).toBe(0);
    const seen = () => {
      const { answered, dropped } = rendezvous.metrics.echoes;
      return answered + dropped.unchecked;
    };
    while (rendezvous.metrics.echoes.dropped.unchecked === 0) {
      for (let i = 0; i < 50; i++, sent++) {
        const transaction = randomBytes(8);
        port.send(
          encodeEchoRequest({ id: places.id, transaction, fromOtherPort: false }, places.key),
          places.echoPorts[0]!,
        );
      }
      await until(() => seen() === sent, { what: "all to be looked at" });
    }
    expect(rendezvous.metrics.echoes.answered).toBe(1_000);
    await port.received(1_000);
    expect(port.receivedBytes).toBe(1_000 * ECHO_ANSWER_BYTES);
    expect(port.receivedBytes).toBeLessThan(1_000 * ECHO_REQUEST_BYTES);
    using elsewhere = await TestPort.open("127.0.0.3"); // is not kept out by that
    await echoFrom(elsewhere, places.echoPorts[0]!, places);
    clock.advance(1_000);
    await echoFrom(port, places.echoPorts[0]!, places);
  });

  test("garbage in floods: no memory is kept, and a member is answered beside it", async () => {
    await using rendezvous = await TestRendezvous.start();
    const places = await rendezvous.join("a").places();
    const seed = Math.floor(Math.random() * 1e9);
    const next = randomOf(seed);
    using flood = await TestPort.open("127.0.0.2");
    using port = await TestPort.open();
    const good = encodeEchoRequest({ id: places.id, transaction: randomBytes(8), fromOtherPort: false }, places.key);
    const packets = Array.from({ length: 1_000 }, (_, i) => garbage(i, good, next));
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 50; round++) {
      for (const packet of packets) flood.send(packet, places.echoPorts[round % 2]!);
      await echoFrom(port, places.echoPorts[0]!, places);
    }
    expect(flood.got, `seed ${seed}`).toEqual([]);
    expect(rendezvous.metrics.echoes.answered, `seed ${seed}`).toBeGreaterThanOrEqual(50);
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
  });
});

/** Random bytes, and bits of a real request that were flipped. */
function garbage(i: number, good: Uint8Array, next: () => number): Uint8Array {
  if (i % 2 === 0) return Uint8Array.from({ length: 1 + Math.floor(next() * 1_400) }, () => next() * 256);
  const packet = good.slice();
  packet[Math.floor(next() * packet.length)]! ^= 1 << Math.floor(next() * 8);
  return packet;
}

test("readEchoAnswer refuses an answer of another member's key", async () => {
  await using rendezvous = await TestRendezvous.start();
  const [a, b] = [await rendezvous.join("a").places(), await rendezvous.join("b").places()];
  using port = await TestPort.open();
  await echoFrom(port, a.echoPorts[0]!, a);
  expect(readEchoAnswer(port.got[0]!.bytes, b.key)).toBeUndefined();
});
