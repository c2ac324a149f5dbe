// The path ladder over real TCP and UDP, with the identities of a real mesh: frames stream both ways while the path changes.
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { identityFrom } from "../../core/identity/identity.ts";
import { verifySignature } from "../../core/identity/keys.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import type { PeerSession } from "../../core/session/peer-session.ts";
import { Peers } from "../../core/session/peers.ts";
import type { Link } from "../../core/transport.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { LaneLog } from "./sim-node.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { UdpForwarder } from "./udp-forwarder.ts";

const ca = await TestCa.make();
const cleanUps: (() => unknown)[] = [];
const TIMING = { heartbeatMs: 50, suspectAfterMs: 200, downAfterMs: 10_000 };
let nextLane = 1;

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Logs {
  session: PeerSession;
  main: LaneLog;
  bulk: LaneLog;
}

async function nodeOf(name: string, node: number) {
  const credentials = await ca.issue(name);
  const identity = identityFrom(credentials);
  const trust = new Trust(credentials.caPem);
  const [tcp, udp] = [
    new TcpTransport({ credentials: () => credentials }),
    new UdpTransport({ credentials: () => credentials }),
  ];
  const logs: Logs[] = [];
  const verified = (der: Uint8Array) => verifyCertificate(der, trust, Date.now());
  const peers = new Peers({
    self: { node, name, role: identity.role, meshId: identity.meshId, build: "test" },
    addresses: () => [],
    identity: () => identity,
    verify: verified,
    verifySignature: (der, bytes, signature) => verifySignature(verified(der).publicKey, bytes, signature),
    dial: (address, options) => (address.startsWith("tcp:") ? tcp : udp).dial(address, options),
    clock: systemClock,
    random: Math.random,
    timing: TIMING,
    onSession: (session) => {
      logs.push({ session, main: new LaneLog(nextLane++, session.main), bulk: new LaneLog(nextLane++, session.bulk) });
    },
  });
  cleanUps.push(() => {
    for (const { session } of logs) session.main.destroy(new Error("test over"));
  });
  return { peers, logs, tcp, udp };
}

/** A reaches B's two ports through a proxy each, and B cannot dial A. */
async function pair() {
  const [a, b] = [await nodeOf("a", 100), await nodeOf("b", 200)];
  const accept = (link: Link) => b.peers.accept(link);
  const [byTcp, byUdp] = [
    await b.tcp.listen("tcp://127.0.0.1:0", accept),
    await b.udp.listen("udp://127.0.0.1:0", accept),
  ];
  const proxy = new TcpProxy(byTcp.address);
  const forwarder = await UdpForwarder.start(byUdp.address);
  cleanUps.push(
    () => Promise.all([byTcp.close(), byUdp.close()]),
    () => proxy[Symbol.dispose](),
    () => forwarder[Symbol.dispose](),
  );
  const session = a.peers.to({ node: 200, name: "b", role: "worker", addresses: [] });
  const relay = forwarder.address.replace("udp:", "relay:");
  const sides = async () => {
    await until(() => session.isUp && b.logs.length === 1, { what: "the session on both sides" });
    return { ab: a.logs[0]!, ba: b.logs[0]! };
  };
  return { session, proxy, forwarder, relay, sides };
}

/** Streams numbered frames both ways on both lanes until `isDone`, then until all has arrived. */
async function stream({ ab, ba }: { ab: Logs; ba: Logs }, isDone: () => boolean): Promise<void> {
  const lanes = [ab.main, ba.main, ab.bulk, ba.bulk];
  const got = [ba.main, ab.main, ba.bulk, ab.bulk];
  const end = performance.now() + 20_000;
  for (let isOver = false; !isOver || lanes.some((lane, i) => got[i]!.got < lane.sent); isOver ||= isDone()) {
    for (const lane of isOver ? [] : lanes)
      if (!lane.mustWait) lane.send(lane === ab.main || lane === ba.main ? 100 : 10_000);
    await Bun.sleep(1);
    if (ab.session.isOver) throw ab.session.error;
    if (performance.now() > end)
      throw new Error(`waited in vain at ${got.map((lane) => lane.got)} of ${lanes.map((lane) => lane.sent)}`);
  }
  expect(lanes.map(({ problem, ends }) => [problem, ends])).toEqual(Array(4).fill([undefined, []]));
}

const kindsOf = ({ session }: Logs) => session.paths.map(({ kind }) => kind);

describe("path ladder over TCP and UDP", () => {
  it("F93 F29 goes over from a relay to TCP in the middle of a stream: all arrives once and in order, both lanes go there", async () => {
    const { session, proxy, relay, sides } = await pair();
    session.addWays([relay]);
    const logs = await sides();
    await stream(logs, () => logs.ba.main.got > 200 && kindsOf(logs.ba).length === 2);
    expect([kindsOf(logs.ab), kindsOf(logs.ba)]).toEqual([
      ["relay", "relay"],
      ["relay", "relay"],
    ]);
    session.addAddresses([proxy.address]);
    const isThere = () => [logs.ab, logs.ba].every((log) => kindsOf(log).join() === "tcp,tcp");
    await stream(logs, () => isThere() && logs.ba.main.got > 600);
    expect(session.main.generation).toBe(2);
    expect(session.path).toMatchObject({ kind: "tcp", address: proxy.address });
  }, 30_000);

  it("F93 F29 begins by direct UDP where TCP is filtered, and goes over to TCP in the middle of a stream once that is let through", async () => {
    const { session, proxy, forwarder, sides } = await pair();
    proxy.isDeaf = true;
    session.addAddresses([forwarder.address, proxy.address]);
    const logs = await sides();
    await stream(logs, () => logs.ba.main.got > 200 && kindsOf(logs.ba).length === 2);
    expect(kindsOf(logs.ab)).toEqual(["udp", "udp"]);
    expect([session.isStraight, session.failedPaths.some(({ kind }) => kind === "udp")]).toEqual([true, false]);
    proxy.isDeaf = false;
    await stream(logs, () => [logs.ab, logs.ba].every((log) => kindsOf(log).join() === "tcp,tcp"));
  }, 30_000);

  it("F93 F29 X11 falls back from TCP that falls silent, in the middle of a stream, and returns when it is there again", async () => {
    const { session, proxy, relay, sides } = await pair();
    session.addAddresses([proxy.address]);
    const logs = await sides();
    session.addWays([relay]);
    await stream(logs, () => logs.ba.main.got > 200 && kindsOf(logs.ba).length === 2);
    expect(kindsOf(logs.ba)).toEqual(["tcp", "tcp"]);
    proxy.isDeaf = true;
    proxy.silence();
    await stream(logs, () => [logs.ab, logs.ba].every((log) => kindsOf(log).join() === "relay,relay"));
    expect(session.failedPaths.map(({ kind }) => kind)).not.toContain("relay");
    proxy.isDeaf = false;
    await stream(logs, () => [logs.ab, logs.ba].every((log) => kindsOf(log).join() === "tcp,tcp"));
  }, 60_000);
});
