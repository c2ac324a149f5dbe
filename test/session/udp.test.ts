// Sessions over real UDP, with the identities of a real mesh: who is who is told by the greeting alone there.
import { afterEach, describe, expect, it } from "vitest";
import { type Credentials, identityFrom } from "../../core/identity/identity.ts";
import { derOf } from "../../core/identity/pem.ts";
import type { OwnIdentity } from "../../core/session/handshake.ts";
import type { PeersOptions } from "../../core/session/peers.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { MeshNodes } from "./mesh-nodes.ts";
import { UdpForwarder } from "./udp-forwarder.ts";

const ca = await TestCa.make();
const otherCa = await TestCa.make();
const nodes = new MeshNodes(ca, (credentials) => new UdpTransport({ credentials }));
const nodeOf = nodes.make.bind(nodes);

afterEach(() => nodes.end());

async function linked(through?: (address: string) => Promise<UdpForwarder>, more: Partial<PeersOptions> = {}) {
  const [a, b] = [await nodeOf("a", 100, more), await nodeOf("b", 200, more)];
  const forwarder = await through?.(b.listener.address);
  if (forwarder) nodes.onEnd(() => forwarder[Symbol.dispose]());
  const address = forwarder?.address ?? b.listener.address;
  const session = await a.peers.connect([address], { name: "b", role: "worker" });
  await until(() => b.logs.length === 1, { what: "the session at the other side" });
  return { a, b, forwarder, session, ab: a.logs[0]!, ba: b.logs[0]! };
}

const QUICK = { timing: { heartbeatMs: 50, suspectAfterMs: 200, downAfterMs: 10_000 } };

/** Sends on all lanes both ways at once; resolves when all has arrived. */
async function exchange(
  { ab, ba }: Awaited<ReturnType<typeof linked>>,
  frames: number,
  sizes: [number, number],
  turn = () => {},
) {
  const random = randomOf(29);
  const lanes = [ab.main, ba.main, ab.bulk, ba.bulk];
  const got = (i: number) => [ba.main, ab.main, ba.bulk, ab.bulk][i]!.got;
  const end = performance.now() + 60_000;
  while (!lanes.every((lane, i) => lane.sent === frames && got(i) === frames)) {
    for (const [i, lane] of lanes.entries()) {
      for (let n = 0; n < 25 && lane.sent < frames && !lane.mustWait; n++) {
        lane.send(Math.floor(random() * sizes[i < 2 ? 0 : 1]));
      }
    }
    turn();
    await Bun.sleep(0);
    if (ab.session.isOver) throw ab.session.error;
    if (performance.now() > end)
      throw new Error(`after a minute only ${lanes.map((_, i) => got(i))} of ${frames} have come`);
  }
  expect(lanes.map(({ problem, ends }) => [problem, ends])).toEqual(Array(4).fill([undefined, []]));
}

describe("Session over UDP", () => {
  it("F24 X22 a rendezvous that lies about addresses: who is not the peer is refused, gets nothing, and the peer is reached all the same", async () => {
    const foreign = new MeshNodes(otherCa, (credentials) => new UdpTransport({ credentials }));
    nodes.onEnd(() => foreign.end());
    const [a, b, other] = [await nodeOf("a", 100), await nodeOf("b", 200), await nodeOf("other", 300)];
    const stranger = await foreign.make("b", 200);
    const relayed = (at: { listener: { address: string } }) => at.listener.address.replace("udp:", "relay:");
    const session = a.peers.to({ node: 200, name: "b", role: "worker", addresses: [] });
    a.logs[0]!.main.send(100);
    session.addWays([relayed(other), relayed(stranger)]);
    await until(() => session.failedPaths.length === 2, { what: "both lies to be found out" });
    expect(session.failedPaths.map(({ error }) => error)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/b was dialed|node 200 was dialed/),
        expect.stringMatching(/trust/),
      ]),
    );
    expect([session.isUp, other.logs, stranger.logs]).toEqual([false, [], []]);
    session.addWays([relayed(b)]);
    await until(() => b.logs[0]?.main.got === 1, { what: "what was sent to be where it was meant to" });
    expect([other.logs, stranger.logs]).toEqual([[], []]);
  });

  it("F76 X22 knows its peer by what it signed, both ways, and how it gets there", async () => {
    const { b, session, a } = await linked(undefined, QUICK);
    expect([session.name, session.role, session.node]).toEqual(["b", "worker", 200]);
    expect(b.logs[0]!.session.name).toBe("a");
    await until(() => session.path?.rttMs !== undefined, { what: "a round trip" });
    expect(session.path).toMatchObject({ kind: "udp", address: b.listener.address });
    const wrong = a.peers.connect([b.listener.address], { name: "c" }, { once: true });
    await expect(wrong).rejects.toMatchObject({ code: "AUTHENTICATION" });
  });

  it("F29 F31 F34 all lanes both ways at once: nothing lost, doubled or reordered", async () => {
    await exchange(await linked(), 3_000, [300, 20_000]);
  }, 90_000);

  it("X6 5 % of packets are lost, each way: all arrives exact", async () => {
    const through = (address: string) => UdpForwarder.start(address, { loss: 0.05, random: randomOf(5) });
    const pair = await linked(through);
    await exchange(pair, 1_000, [300, 10_000]);
    expect(pair.forwarder!.lost).toBeGreaterThan(100);
  }, 90_000);

  it("X7 packets come from another port in mid-session, as after a router has forgotten the flow: nothing is lost", async () => {
    const pair = await linked((address) => UdpForwarder.start(address), QUICK);
    let rebinds = 0;
    await exchange(pair, 1_500, [300, 5_000], () => {
      if (pair.ba.main.got > 300 * (rebinds + 1) && rebinds < 3) {
        rebinds++;
        void pair.forwarder!.rebind();
      }
    });
    expect(rebinds).toBe(3);
  }, 90_000);

  it("X1 the peer's port is closed, which no packet says: it is lost long before its silence would tell", async () => {
    const { forwarder, ab } = await linked((address) => UdpForwarder.start(address), {
      timing: { heartbeatMs: 50, suspectAfterMs: 60_000, downAfterMs: 60_000 },
    });
    forwarder![Symbol.dispose]();
    await until(() => ab.main.ends.length === 1, { what: "the end" });
    expect(ab.main.ends[0]).toMatchObject({
      code: "LINK_CLOSED",
      message: /node b is lost: nothing of it listens on udp:/,
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
    expect(ba.session.lanes.main.unreadBytes).toBeLessThan(10 * 1024 * 1024);
    expect(session.lanes.main.heldBytes).toBeLessThan(20 * 1024 * 1024);
    await until(() => session.isUp && ba.session.isUp, { what: "heartbeats all the same" });
    ba.session.main.resume();
    await until(() => ba.main.got === frames && !ab.main.mustWait, { what: "all frames, and drained" });
    expect(ba.main.problem).toBeUndefined();
  });

  it("F32 close sends what was taken", async () => {
    const { a, ab, ba } = await linked();
    for (let i = 0; i < 200; i++) (i % 2 ? ab.main : ab.bulk).send(30_000);
    await a.peers.close();
    await until(() => ba.main.ends.length === 1, { what: "the end" });
    expect([ba.main.got, ba.bulk.got, ab.main.ends]).toEqual([100, 100, [undefined]]);
  });
});

const signedBy = async (credentials: Promise<Credentials>) => identityFrom(await credentials);
const { certificatePem: victimPem, ...victimRest } = await ca.issue("victim");
const victim = identityFrom({ certificatePem: victimPem, ...victimRest });
const thief = await signedBy(ca.issue("evil"));
const BAD: [what: string, shown: OwnIdentity][] = [
  ["a certificate of another CA", await signedBy(otherCa.issue("evil"))],
  ["an expired certificate", await signedBy(ca.expired("evil"))],
  ["a certificate of the future", await signedBy(ca.future("evil"))],
  [
    "another node's certificate, without its key",
    { certificate: victim.certificate, sign: (bytes) => thief.sign(bytes) },
  ],
  ["a certificate for servers only", await signedBy(ca.odd({ usages: ["server"] }))],
  [
    "a certificate of another DNS name",
    { ...thief, certificate: derOf((await ca.odd({ dns: "example.net" })).certificatePem) },
  ],
  [
    "another node's certificate after its own, of another CA",
    await signedBy(otherCa.issue("evil").then((own) => ({ ...own, certificatePem: own.certificatePem + victimPem }))),
  ],
];

describe("X22 on UDP", () => {
  it.each(BAD)("X22 a dialer with %s is refused, no frame of it is delivered, and others get in", async (_, shown) => {
    const b = await nodeOf("b", 200);
    const evil = await nodeOf("evil", 300, {}, shown);
    await expect(evil.peers.connect([b.listener.address], {}, { once: true })).rejects.toThrow();
    await until(() => b.refused.length > 0, { what: "a refusal" });
    expect(b.logs).toEqual([]);
    const a = await nodeOf("a", 100);
    await a.peers.connect([b.listener.address], { name: "b" });
    await until(() => b.logs.length === 1, { what: "the session" });
    expect(b.logs[0]!.session.name).toBe("a");
  });

  it("X22 X24 who shows nothing can only ask to join, in a small frame, and not even that where nobody joins", async () => {
    const b = await nodeOf("b", 200);
    const stranger = new UdpTransport({ credentials: () => undefined });
    for (const frame of [new Uint8Array(4_097).fill(5), new Uint8Array([8, 1, 2, 3]), new Uint8Array([250])]) {
      const link = await stranger.dial(b.listener.address);
      let isOver = false;
      link.attach({
        frame: () => {},
        drained: () => {},
        closed: () => {
          isOver = true;
        },
      });
      link.send(frame);
      await until(() => isOver, { what: "the end of the stranger's link" });
    }
    expect(b.refused).toHaveLength(3);
    expect(b.logs).toEqual([]);
  });
});
