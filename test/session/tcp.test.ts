// Sessions over real TCP and TLS, with the identities of a real mesh, and connections that are really cut.
import { afterEach, describe, expect, it } from "vitest";
import type { PeersOptions } from "../../core/session/peers.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { MeshNodes } from "./mesh-nodes.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const ca = await TestCa.make();
const nodes = new MeshNodes(ca, (credentials) => new TcpTransport({ credentials }));
const nodeOf = nodes.make.bind(nodes);

afterEach(() => nodes.end());

/** Two nodes with a session; A dialed B through the proxy, and B cannot dial A. */
async function linked(more: Partial<PeersOptions> = {}) {
  const [a, b] = [await nodeOf("a", 100, more), await nodeOf("b", 200, more)];
  const proxy = new TcpProxy(b.listener.address);
  nodes.onEnd(() => proxy[Symbol.dispose]());
  const session = await a.peers.connect([proxy.address], { name: "b", role: "worker" });
  await until(() => b.logs.length === 1, { what: "the session at the other side" });
  return { a, b, proxy, session, ab: a.logs[0]!, ba: b.logs[0]! };
}

const QUICK = { timing: { heartbeatMs: 50, suspectAfterMs: 200, downAfterMs: 10_000 } };

describe("Session over TCP", () => {
  it("F76 X22 knows its peer by the certificate that TLS showed and that signed, and how it gets there", async () => {
    const { b, session, proxy, a } = await linked(QUICK);
    expect([session.name, session.role, session.node]).toEqual(["b", "worker", 200]);
    expect(b.logs[0]!.session.name).toBe("a");
    await until(() => session.path?.rttMs !== undefined, { what: "a round trip" });
    expect(session.path).toMatchObject({ kind: "tcp", address: proxy.address });
    const wrong = a.peers.connect([b.listener.address], { name: "c" }, { once: true });
    await expect(wrong).rejects.toMatchObject({ code: "AUTHENTICATION" });
  });

  it("F29 F31 F34 connections that are cut again and again lose, double and reorder nothing", async () => {
    const { proxy, ab, ba, session } = await linked();
    const random = randomOf(29);
    const FRAMES = 3_000;
    let cuts = 0;
    let nextCutAt = 200;
    const lanes = [ab.main, ba.main, ab.bulk, ba.bulk];
    const isDone = () => lanes.every((lane) => lane.sent === FRAMES) && lanes.every((_, i) => got(i) === FRAMES);
    const got = (i: number) => [ba.main, ab.main, ba.bulk, ab.bulk][i]!.got;
    while (!isDone()) {
      for (const [i, lane] of lanes.entries()) {
        for (let n = 0; n < 25 && lane.sent < FRAMES && !lane.mustWait; n++) {
          lane.send(i < 2 ? Math.floor(random() * 300) : Math.floor(random() * 20_000));
        }
      }
      const all = lanes.reduce((sum, _, i) => sum + got(i), 0);
      if (all >= nextCutAt && cuts < 30) {
        cuts++;
        nextCutAt = all + 300;
        proxy.cut();
      }
      await Bun.sleep(0); // a turn of the loop
      if (session.isOver) throw session.error;
    }
    expect(lanes.map(({ problem, ends }) => [problem, ends])).toEqual(Array(4).fill([undefined, []]));
    expect([cuts >= 20, proxy.connections > cuts, session.main.generation > 10]).toEqual([true, true, true]);
    await until(() => session.lanes.main.framesWaiting === 0, { what: "the last ack" });
  }, 60_000);

  it("X4 a connection that falls silent is replaced by another one", async () => {
    const { proxy, ab, ba } = await linked(QUICK);
    proxy.silence();
    ab.main.send(10);
    ba.main.send(10);
    await until(() => ab.main.got === 1 && ba.main.got === 1, { what: "the frames over another connection" });
    expect([proxy.connections, ab.main.ends, ba.main.ends]).toEqual([2, [], []]);
  });

  it("X1 a peer whose port is closed after its connection ended is lost at once", async () => {
    const { proxy, ab } = await linked();
    proxy[Symbol.dispose]();
    await until(() => ab.main.ends.length === 1, { what: "the end", timeoutMs: 5_000 });
    expect(ab.main.ends[0]).toMatchObject({
      code: "LINK_CLOSED",
      message: /node b is lost: nothing of it listens on tcp:/,
    });
  });

  it("X15 a reader that stops holds its sender, both within their limits, and gets all when it goes on", async () => {
    const { ab, ba, session } = await linked();
    ba.session.main.pause();
    let frames = 0;
    while (!ab.main.mustWait) {
      ab.main.send(60_000);
      if (++frames % 8 === 0) await Bun.sleep(0);
      if (frames > 2_000) throw new Error("nobody said stop to 120 MB");
    }
    expect(ba.main.got).toBe(0);
    const { windowBytes, markBytes } = { windowBytes: 8 * 1024 * 1024, markBytes: 16 * 1024 * 1024 };
    expect(ba.session.lanes.main.unreadBytes).toBeLessThan(1.2 * windowBytes);
    expect(session.lanes.main.heldBytes).toBeLessThan(1.2 * markBytes);
    await until(() => session.isUp && ba.session.isUp, { what: "heartbeats all the same" });
    ba.session.main.resume();
    await until(() => ba.main.got === frames && !ab.main.mustWait, { what: "all frames, and drained" });
    expect(ba.main.problem).toBeUndefined();
  });

  it("F32 close sends what was taken", async () => {
    const { a, ab, ba } = await linked();
    for (let i = 0; i < 200; i++) (i % 2 ? ab.main : ab.bulk).send(30_000);
    await a.peers.close();
    expect([ba.main.got, ba.bulk.got, ab.main.ends, ba.main.ends.map((error) => error?.message)]).toEqual([
      100,
      100,
      [undefined],
      ["node a ended"],
    ]);
  });
});
