import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import type { Relayed } from "../../core/rendezvous/bodies.ts";
import { rejection, settled } from "../coordinator/support.ts";
import { until } from "../support/until.ts";
import { freeRange, type TestNode, TestRendezvous } from "./support.ts";

/** A connection to the relay's port. */
class Connection implements Disposable {
  readonly socket: Socket;
  readonly chunks: Buffer[] = [];
  isEnded = false;
  /** Closed by the other side, for both ways or for its own. */
  isOver = false;

  constructor({ port, token }: Pick<Relayed, "port" | "token">, from = "127.0.0.1") {
    this.socket = connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true, noDelay: true });
    this.socket.on("data", (chunk) => void this.chunks.push(chunk as Buffer));
    this.socket.on("end", () => {
      this.isEnded = true;
      this.isOver = true;
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.isOver = true;
    });
    if (token) this.socket.write(token);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  async receives(text: string): Promise<void> {
    await until(() => this.text === text, { what: `${text}; ${this.text} has come` });
  }

  async closes(): Promise<void> {
    await until(() => this.isOver, { what: "the end of a connection" });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

async function pairAt(rendezvous: TestRendezvous): Promise<{ a: TestNode; b: TestNode; ofA: Relayed; ofB: Relayed }> {
  const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
  return { a, b, ofA: await a.relay(b.id, "tcp"), ofB: await b.relay(a.id, "tcp") };
}

describe("relay by TCP (F24)", () => {
  test("both sides get the same port and tokens of their own; asked again they are the same", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { a, b, ofA, ofB } = await pairAt(rendezvous);
    expect(ofA).toMatchObject({ node: b.id, by: "tcp", dials: true, token: { length: 16 } });
    expect(ofB).toMatchObject({ node: a.id, by: "tcp", dials: false, port: ofA.port });
    expect(ofB.token).not.toEqual(ofA.token);
    expect(await a.relay(b.id, "tcp")).toEqual(ofA);
    expect(b.relays).toEqual([ofB, ofB]);
    expect((await b.relay(rendezvous.join("c").id, "tcp")).port).toBe(ofA.port);
    expect((await a.relay(b.id, "udp")).port).not.toBe(ofA.port);
    expect(rendezvous.metrics.tcpRelay.pairs).toBe(2);
  });

  test("two connections become one stream, whoever comes first, with what was sent before the other came", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    for (const [first, second] of [
      [ofA, ofB],
      [ofB, ofA],
    ] as const) {
      using one = new Connection(first);
      one.socket.write("early");
      await until(() => one.socket.bytesWritten === 21, { what: "the first words" });
      using other = new Connection(second);
      other.socket.write("hello");
      await one.receives("hello");
      await other.receives("early");
    }
  });

  test("a token may come byte by byte", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection({ port: ofA.port });
    for (const byte of ofA.token!) {
      a.socket.write(Buffer.of(byte));
      await settled(2);
    }
    a.socket.write("x");
    using b = new Connection(ofB);
    await b.receives("x");
  });

  test("much goes through exactly, no faster than it is taken, and an end passes on as an end", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    b.socket.pause();
    const block = randomBytes(1 << 20);
    for (let i = 0; i < 64; i++) a.socket.write(block);
    a.socket.end();
    await until(() => rendezvous.metrics.tcpRelay.streams === 1, { what: "the stream" });
    let last = -1;
    const isStill = () => {
      const now = a.socket.writableLength;
      const same = now === last;
      last = now;
      return same;
    };
    await until(isStill, { what: "a full way" });
    expect(a.socket.writableLength).toBeGreaterThan(32 << 20); // most of it waits at its source
    b.socket.resume();
    await until(() => b.isEnded, { what: "the end" });
    const got = Buffer.concat(b.chunks);
    expect(got.length).toBe(64 << 20);
    for (let i = 0; i < 64; i++) expect(got.subarray(i << 20, (i + 1) << 20).equals(block)).toBe(true);
    b.socket.end("thanks"); // the other way is open still
    await a.receives("thanks");
    await until(() => rendezvous.metrics.tcpRelay.streams === 0, { what: "the end of the stream" });
    expect(rendezvous.metrics.tcpRelay).toMatchObject({ spliced: 1, bytes: (64 << 20) + 6 });
  });

  test("what goes through is counted while it does; a pair sends no faster than its quota, exactly, its streams together", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({ relayBytesPerSecond: 1_000_000 }, clock);
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    await until(() => rendezvous.metrics.tcpRelay.streams === 1, { what: "the stream" });
    const block = randomBytes(1 << 20);
    a.socket.write(block);
    const got = () => b.chunks.reduce((sum, { length }) => sum + length, 0);
    const pass = () => {
      clock.advance(10);
      // A tenth of a second's worth may pass at once.
      expect(got()).toBeLessThanOrEqual(100_000 + 1_000 * clock.now());
      return got() === 1 << 20;
    };
    await until(pass, { what: "all of it" });
    expect(clock.now()).toBeGreaterThan(900);
    expect(Buffer.concat(b.chunks).equals(block)).toBe(true);
    const [first, second] = [rendezvous.metrics, rendezvous.metrics];
    expect(first.tcpRelay).toMatchObject({ streams: 1, bytes: 1 << 20 });
    expect(second.pairs).toEqual([{ nodes: [ofB.node, ofA.node], bytes: 1 << 20 }]);
    a.socket.end();
    b.socket.end();
    await until(() => rendezvous.metrics.tcpRelay.streams === 0, { what: "the end of the stream" });
    expect(rendezvous.metrics.tcpRelay.bytes).toBe(1 << 20);
  });

  test("at its quota a pair's heartbeats come through beside its bulk", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({ relayBytesPerSecond: 200_000 }, clock);
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    await until(() => rendezvous.metrics.tcpRelay.streams === 1, { what: "the first stream" });
    using beats = new Connection(ofA);
    using hears = new Connection(ofB);
    await until(() => rendezvous.metrics.tcpRelay.streams === 2, { what: "the second stream" });
    a.socket.write(randomBytes(1 << 20));
    await until(() => b.chunks.length > 0, { what: "the beginning of the bulk" });
    beats.socket.write("alive");
    const isHeard = () => {
      clock.advance(1);
      return hears.text === "alive";
    };
    await until(isHeard, { what: "the heartbeat" });
    expect(clock.now()).toBeLessThan(250); // a chunk of the bulk takes 320 ms and more
  });

  test("without UDP it says so, tells of no echo port, and relays by TCP", async () => {
    await using rendezvous = await TestRendezvous.start({ usesUdp: false });
    const { a, b, ofA, ofB } = await pairAt(rendezvous);
    expect([rendezvous.rendezvous.echoPorts, (await a.places()).echoPorts, rendezvous.warnings]).toEqual([[], [], []]);
    const message = expect.stringContaining("uses no UDP, as mesh.toml says");
    expect(await rejection(a.relay(b.id, "udp"))).toMatchObject({ code: "UNREACHABLE", message });
    using first = new Connection(ofA);
    using second = new Connection(ofB);
    first.socket.write("through");
    await second.receives("through");
  });

  test("several streams of a pair do not mix, and those of one side alone do not meet", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    using a1 = new Connection(ofA);
    await until(() => a1.socket.bytesWritten === 16, { what: "the token" });
    using a2 = new Connection(ofA);
    a1.socket.write("from a1");
    a2.socket.write("from a2");
    await settled();
    expect([a1.text, a2.text]).toEqual(["", ""]);
    using b1 = new Connection(ofB);
    using b2 = new Connection(ofB);
    await until(() => b1.text !== "" && b2.text !== "", { what: "both" });
    expect([b1.text, b2.text].sort()).toEqual(["from a1", "from a2"]);
  });

  test("who does not dial is told of each connection that misses it, not too often; who dials is not", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const { a, b, ofA, ofB } = await pairAt(rendezvous);
    clock.advance(1_000);
    const [toldA, toldB] = [a.relays.length, b.relays.length];
    using _first = new Connection(ofA);
    await until(() => b.relays.length === toldB + 1, { what: "the other to be told" });
    expect(b.relays.at(-1)).toEqual(ofB);
    using _b1 = new Connection(ofB);
    using b2 = new Connection(ofB);
    using second = new Connection(ofA);
    second.socket.write("x");
    await b2.receives("x");
    expect([a.relays.length, b.relays.length]).toEqual([toldA, toldB + 1]); // b waited already
    const more = Array.from({ length: 12 }, () => new Connection(ofA));
    await until(() => more.filter(({ isOver }) => isOver).length === 4, { what: "4 to be pushed out" });
    await settled();
    expect(b.relays.length).toBe(toldB + 10);
    for (const each of more) each[Symbol.dispose]();
  });

  test("a break of one side breaks the other; one that went before is not met", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    using gone = new Connection(ofA);
    await until(() => gone.socket.bytesWritten === 16, { what: "the token" });
    await settled();
    gone.socket.destroy();
    await gone.closes();
    await settled();
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    a.socket.write("x");
    await b.receives("x");
    a.socket.resetAndDestroy();
    await b.closes();
  });

  test("ends when nothing goes through for 60 s, and the tokens with it", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    a.socket.write("x");
    await b.receives("x");
    clock.advance(60_000);
    expect(rendezvous.metrics.tcpRelay).toMatchObject({ pairs: 1, streams: 1 });
    b.socket.write("y");
    await a.receives("y");
    clock.advance(60_000);
    expect(rendezvous.metrics.tcpRelay).toMatchObject({ pairs: 1, streams: 1 });
    clock.advance(60_000);
    await Promise.all([a.closes(), b.closes()]);
    clock.advance(60_000);
    expect(rendezvous.metrics.tcpRelay).toMatchObject({ pairs: 0, streams: 0 });
    using late = new Connection(ofA);
    await late.closes();
    expect(rendezvous.metrics.tcpRelay.refused.unknown).toBe(1);
  });

  test("who waits for the other waits 60 s, and pushes out no more than 8", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const { ofA } = await pairAt(rendezvous);
    const waiting = Array.from({ length: 9 }, () => new Connection(ofA));
    const open = () => waiting.filter(({ isOver }) => !isOver).length;
    await until(() => open() === 8, { what: "the first one to be pushed out" });
    clock.advance(60_000);
    await until(() => open() === 0, { what: "the end of all" });
  });

  test("close ends streams and waiting ones, and frees the port", async () => {
    const rendezvous = await TestRendezvous.start();
    const { ofA, ofB } = await pairAt(rendezvous);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    using waits = new Connection(ofA);
    using silent = new Connection({ port: ofA.port });
    a.socket.write("x");
    await b.receives("x");
    await until(() => silent.socket.readyState === "open", { what: "a connection" });
    await settled();
    await rendezvous.rendezvous.close();
    await Promise.all([a, b, waits, silent].map((each) => each.closes()));
    using late = new Connection(ofA);
    await late.closes();
    expect(late.socket.bytesRead).toBe(0);
  });

  test("a range of ports is kept to, and none left is said", async () => {
    const port = await freeRange(2);
    await using first = await TestRendezvous.start({ ports: [port, port] });
    const { ofA } = await pairAt(first);
    expect(ofA.port).toBe(port);
    const full = await TestRendezvous.start({ ports: [port, port + 1] });
    const taken = createServer().listen(port + 1, "127.0.0.1");
    await once(taken, "listening");
    const [a, b] = [full.join("a"), full.join("b")];
    expect(await rejection(a.relay(b.id, "tcp"))).toMatchObject({
      code: "FULL",
      message: expect.stringContaining(`all TCP ports from ${port} to ${port + 1} are in use`),
    });
    expect(full.metrics.tcpRelay.pairs).toBe(0);
    taken.close();
    await once(taken, "close");
    expect((await a.relay(b.id, "tcp")).port).toBe(port + 1);
    await full.rendezvous.close();
  });
});

describe("relay by TCP, hostile (X17, X20, X21)", () => {
  test("a wrong token is closed at once, unanswered", async () => {
    await using rendezvous = await TestRendezvous.start();
    const { ofA } = await pairAt(rendezvous);
    for (const token of [randomBytes(16), Buffer.from("GET / HTTP/1.1\r\n\r\n"), randomBytes(100_000)]) {
      using stranger = new Connection({ port: ofA.port, token });
      await stranger.closes();
      expect(stranger.text).toBe("");
    }
    expect(rendezvous.metrics.tcpRelay.refused.unknown).toBe(3);
  });

  test("who says nothing, or not all, is closed after 5 s; who hangs up early leaves nothing", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const { ofA, ofB } = await pairAt(rendezvous);
    using silent = new Connection({ port: ofA.port });
    using slow = new Connection({ port: ofA.port, token: ofA.token!.subarray(0, 15) });
    using short = new Connection({ port: ofA.port, token: ofA.token!.subarray(0, 15) });
    short.socket.end();
    await short.closes();
    await until(() => slow.socket.bytesWritten === 15 && silent.socket.readyState === "open", { what: "both" });
    await settled();
    clock.advance(4_999);
    await settled();
    expect([silent.isOver, slow.isOver]).toEqual([false, false]);
    clock.advance(1);
    await Promise.all([silent.closes(), slow.closes()]);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    a.socket.write("served still");
    await b.receives("served still");
  });

  test("one address has room for 64 that say nothing, and does not keep the others out", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const { ofA, ofB } = await pairAt(rendezvous);
    const silent = Array.from({ length: 80 }, () => new Connection({ port: ofA.port }, "127.0.0.2"));
    const open = () => silent.filter(({ isOver }) => !isOver).length;
    await until(() => open() === 64, { what: "16 to be sent away" });
    expect(rendezvous.metrics.tcpRelay.refused.full).toBe(16);
    using a = new Connection(ofA);
    using b = new Connection(ofB);
    a.socket.write("x");
    await b.receives("x");
    clock.advance(5_000);
    await until(() => open() === 0, { what: "the end of the silent ones" });
  });

  test("nobody asks for a relay with one that is not here", async () => {
    await using rendezvous = await TestRendezvous.start();
    const error = await rejection(rendezvous.join("a").relay(4_000_000, "tcp"));
    expect(error).toMatchObject({ code: "UNREACHABLE" });
    expect(rendezvous.metrics.tcpRelay.pairs).toBe(0);
  });
});
