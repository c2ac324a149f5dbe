// Links of the real transports through the relays of a rendezvous: end to end between the two nodes.
import { expect, test } from "vitest";
import type { PortRange } from "../../core/config/port-range.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import { RelayTransport } from "../../transports/tcp/relay-transport.ts";
import { spliceRelay } from "../../transports/tcp/splice-relay.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, leafOf, Server } from "../transports/tcp-support.ts";
import { UdpServer } from "../transports/udp-support.ts";
import { echoFrom, freeRange, type TestNode, TestPort, TestRendezvous } from "./support.ts";

const ca = await TestCa.make();
const [left, right] = [await ca.issue("left"), await ca.issue("right")];

/** A node with a session, that listens by UDP and has echoed. */
async function nodeAt(rendezvous: TestRendezvous, name: string, credentials: Credentials) {
  const node = rendezvous.join(name);
  const places = await node.places();
  using port = await TestPort.open();
  await echoFrom(port, places.echoPorts[0]!, places);
  return { node, server: await UdpServer.start(() => credentials) };
}

/** As each does who gets a relay by UDP: it dials, because only what was sent opens a router for what is to come. */
async function dial({ server, node }: Awaited<ReturnType<typeof nodeAt>>, other: TestNode): Promise<End> {
  const { port } = await node.relay(other.id);
  return new End(await server.transport.dial(`relay://127.0.0.1:${port}`));
}

async function exchange(near: End, far: End): Promise<void> {
  const large = "x".repeat(1 << 20);
  near.send("there");
  near.send(large);
  far.send("back");
  await until(() => far.texts.length === 2 && near.texts.length === 1, { what: "frames both ways" });
  expect([far.texts[0], far.texts[1] === large, near.texts[0]]).toEqual(["there", true, "back"]);
}

test("F24 QUIC goes through a relay: TLS is between the nodes, also when both dial at once", async () => {
  await using rendezvous = await TestRendezvous.start();
  const [a, b] = [await nodeAt(rendezvous, "left", left), await nodeAt(rendezvous, "right", right)];
  await using _a = a.server;
  await using _b = b.server;
  const [fromA, fromB] = await Promise.all([dial(a, b.node), dial(b, a.node)]);
  expect(fromA.link.tls?.peerCertificate).toEqual(leafOf(right));
  expect(fromB.link.tls?.peerCertificate).toEqual(leafOf(left));
  await until(() => a.server.accepted.length === 1 && b.server.accepted.length === 1, { what: "both links" });
  await exchange(fromA, b.server.accepted[0]!);
  await exchange(fromB, a.server.accepted[0]!);
  expect(rendezvous.metrics.udpRelay.bytes).toBeGreaterThan(2 << 20);
  const { stranger, contested } = rendezvous.metrics.udpRelay.dropped;
  expect([stranger, contested]).toEqual([0, 0]);
  for (const { link } of [fromA, fromB]) link.close();
  await Promise.all([fromA.ended(), fromB.ended()]);
});

test("F24 QUIC through a relay with a quota is slower, loses nothing, and stays connected", async () => {
  const relayBytesPerSecond = 4 << 20;
  await using rendezvous = await TestRendezvous.start({ relayBytesPerSecond });
  const [a, b] = [await nodeAt(rendezvous, "left", left), await nodeAt(rendezvous, "right", right)];
  await using _a = a.server;
  await using _b = b.server;
  const [fromA] = await Promise.all([dial(a, b.node), dial(b, a.node)]);
  await until(() => b.server.accepted.length === 1, { what: "the link" });
  const far = b.server.accepted[0]!;
  const before = { atMs: performance.now(), bytes: rendezvous.metrics.udpRelay.bytes };
  const large = "x".repeat(6 << 20);
  fromA.send(large);
  fromA.send("after it");
  await until(() => far.texts.length === 2, { what: "all of it", timeoutMs: 60_000 });
  expect([far.texts[0] === large, far.texts[1]]).toEqual([true, "after it"]);
  const { bytes, dropped } = rendezvous.metrics.udpRelay;
  expect(dropped.overQuota).toBeGreaterThan(0);
  // A tenth of a second's worth may pass at once.
  const allowed = relayBytesPerSecond * ((performance.now() - before.atMs) / 1_000 + 0.1);
  expect(bytes - before.bytes).toBeLessThanOrEqual(allowed);
  expect([fromA.ends, far.ends]).toEqual([[], []]);
}, 90_000);

test("F24 TLS goes through a relay by TCP", async () => {
  await using rendezvous = await TestRendezvous.start();
  const [a, b] = [rendezvous.join("left"), rendezvous.join("right")];
  const [ofA, ofB] = [await a.relay(b.id, "tcp"), await b.relay(a.id, "tcp")];
  await using server = await Server.start(() => right);
  const end = new AbortController();
  const relay = `127.0.0.1:${ofB.port}`;
  const waiting = spliceRelay({ relay, token: ofB.token!, to: server.address, signal: end.signal });
  const transport = new RelayTransport({ credentials: () => left });
  const token = Buffer.from(ofA.token!).toString("hex");
  const near = new End(await transport.dial(`tcprelay://127.0.0.1:${ofA.port}?token=${token}`));
  expect(near.link.tls?.peerCertificate).toEqual(leafOf(right));
  await until(() => server.accepted.length === 1, { what: "the link" });
  await exchange(near, server.accepted[0]!);
  near.link.close();
  await near.ended();
  await waiting;
  await until(() => rendezvous.metrics.tcpRelay.streams === 0, { what: "the end of the stream" });
});

test("X11 a rendezvous that is gone and back at the same ports: nothing that it gave out is good, and asking again helps", async () => {
  const first = await freeRange(10);
  const range: PortRange = [first, first + 9];
  const before = await TestRendezvous.start({ ports: range });
  const a = await nodeAt(before, "left", left);
  const b = await nodeAt(before, "right", right);
  await using _a = a.server;
  await using _b = b.server;
  const old = await a.node.places();
  const [near] = await Promise.all([dial(a, b.node), dial(b, a.node)]);
  await before.rendezvous.close(); // as its process ends: the ports are closed, and all it knew is gone
  await using after = await TestRendezvous.start({ ports: range });
  expect(after.rendezvous.echoPorts).toEqual(before.rendezvous.echoPorts);
  using port = await TestPort.open();
  const [again, other] = [after.join("left", "worker", a.node.id), after.join("right", "worker", b.node.id)];
  const places = await again.places();
  await echoFrom(port, places.echoPorts[0]!, places);
  await expect(echoFrom(port, old.echoPorts[0]!, old, false, 200)).rejects.toThrow("in vain");
  near.link.destroy(new Error("its relay is gone"));
  const ofOther = await other.places();
  await echoFrom(port, ofOther.echoPorts[0]!, ofOther);
  const [back] = await Promise.all([
    dial({ node: again, server: a.server }, other),
    dial({ node: other, server: b.server }, again),
  ]);
  expect(back.link.tls?.peerCertificate).toEqual(leafOf(right));
});
