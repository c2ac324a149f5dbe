// X17 at its rates: what a real session says over UDP, said again, cut, changed and in between, at every UDP port of a mesh; and dials.
import { expect, test } from "vitest";
import type { MeetPlaces, Relayed } from "../../core/rendezvous/bodies.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { echoFrom, TestPort } from "../rendezvous/support.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { randomOf } from "../support/random.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { rawClient } from "../transports/tcp-support.ts";
import { firstPackets } from "../transports/udp-support.ts";
import { Attacker, identityIn } from "./attacker.ts";
import { areWell, victimsOf } from "./victims.ts";

const SEED = Number(process.env.MESH_FUZZ_SEED ?? 17);
const PACKETS = 100_000;
const DIALS = Number(process.env.MESH_DIALS ?? 2_000);
/** A socket takes so many before its reader has to have its turn. */
const AT_ONCE = 100;

/** As it was, cut, with a bit changed, or of random bytes. */
function disturbed(packet: Uint8Array, next: () => number): Uint8Array {
  const kind = Math.floor(next() * 4);
  if (kind === 0) return packet;
  const copy = packet.slice(0, kind === 1 ? 1 + Math.floor(next() * (packet.length - 1)) : packet.length);
  if (kind === 2) copy[Math.floor(next() * copy.length)]! ^= 1 << Math.floor(next() * 8);
  if (kind === 3) for (let i = 0; i < copy.length; i++) copy[i] = next() * 256;
  return copy;
}

test(`X17 every UDP port of a mesh, and the TCP port of a relay, under floods: sessions unharmed, bounded memory (seed ${SEED})`, {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 }, transport: "udp" });
  const { all } = await victimsOf(mesh);
  const { nodes } = await mesh.status();
  const worker = nodes.find(({ name }) => name === "w1")!.node;
  const identity = await identityIn(mesh, "client", "member");
  const next = randomOf(SEED);

  const said: Uint8Array[] = await firstPackets(100, identity.credentials);
  using forwarder = await UdpForwarder.start(mesh.address);
  forwarder.tap = (bytes) => {
    if (said.length < 300) said.push(new Uint8Array(bytes));
  };
  const transport = new UdpTransport({ credentials: () => identity.credentials });
  await using member = new Attacker({ identity, transport });
  const coordinator = { node: (await member.connect(forwarder.address)).node, slot: 0 };
  const ask = <T>(type: number, body: unknown) =>
    member.node.request(coordinator, type, body, { timeoutMs: 10_000 }) as Promise<T>;
  const places = await ask<MeetPlaces>(MessageType.meetPlaces, {});
  const udpRelay = await ask<Relayed>(MessageType.relay, { node: worker, by: "udp" });
  const tcpRelay = await ask<Relayed>(MessageType.relay, { node: worker, by: "tcp" });
  await until(() => said.length > 110, { what: "packets of a real session" });

  const targets = [...all.map(({ port }) => port), ...places.echoPorts, udpRelay.port];
  for (const victim of all) victim.watch();
  using flood = await TestPort.open("127.0.0.2");
  let sentBytes = 0;
  for (let i = 0; i < PACKETS; i++) {
    const packet = disturbed(said[Math.floor(next() * said.length)]!, next);
    sentBytes += packet.length;
    flood.send(packet, targets[i % targets.length]!);
    if (i % AT_ONCE === 0) await Bun.sleep(0);
    if (i % 10_000 === 0) await ask(MessageType.meetPlaces, {});
  }
  using port = await TestPort.open();
  for (const to of [...places.echoPorts, udpRelay.port]) await echoFrom(port, to, places);
  expect(flood.receivedBytes).toBeLessThan(sentBytes);

  for (let i = 0; i < DIALS; i += AT_ONCE) {
    const dialing = Array.from({ length: AT_ONCE }, () => {
      return rawClient(tcpRelay.port, disturbed(said[Math.floor(next() * said.length)]!, next));
    });
    const clients = await Promise.all(dialing);
    for (const { socket } of clients) socket?.end();
    await until(() => clients.every(({ isClosed }) => isClosed), { what: `the end of dials ${i} and on` });
  }
  await ask(MessageType.meetPlaces, {});
  expect(member.ended).toEqual([]);
  await areWell(mesh, all);
});
