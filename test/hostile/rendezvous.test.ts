// The rendezvous of a coordinator, asked by those who may not, and its ports under garbage.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { Role } from "../../core/identity/names.ts";
import type { MeetPlaces, Relayed } from "../../core/rendezvous/bodies.ts";
import { encodeEchoRequest } from "../../core/rendezvous/echo.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { echoFrom, TestPort } from "../rendezvous/support.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { Attacker } from "./attacker.ts";
import { areWell, victimsOf } from "./victims.ts";

const FLOOD_PACKETS = 100_000;

/** A node with a real session with the coordinator, which it asks. */
async function memberOf(mesh: TestMesh, role: Role, name: string) {
  const attacker = await Attacker.of(mesh, role, name);
  const to = { node: (await attacker.connect(mesh.address)).node, slot: 0 };
  return {
    node: attacker.node.address.node,
    ask: <T>(type: number, body: unknown) => attacker.node.request(to, type, body, { timeoutMs: 5_000 }) as Promise<T>,
    [Symbol.asyncDispose]: () => attacker[Symbol.asyncDispose](),
  };
}

test("X22 who may not meet others is refused, and nobody learns who is in the mesh", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { nodes } = await mesh.status();
  const worker = nodes.find(({ name }) => name === "w1")!.node;
  await using rendezvous = await memberOf(mesh, "rendezvous", "other");
  for (const [type, body] of [
    [MessageType.meetPlaces, {}],
    [MessageType.meet, { node: worker, candidates: [], mapping: "none" }],
    [MessageType.relay, { node: worker, by: "udp" }],
    [MessageType.relay, { node: worker, by: "tcp" }],
  ] as const) {
    await expect(rendezvous.ask(type, body)).rejects.toMatchObject({ code: "AUTHENTICATION" });
  }
  await using client = await memberOf(mesh, "client", "evil");
  for (const node of [rendezvous.node, client.node, 4_000_000_000]) {
    const message = `node ${node} has no session with this rendezvous: it cannot be met here now`;
    const expected = { code: "UNREACHABLE", message };
    await expect(client.ask(MessageType.relay, { node, by: "udp" })).rejects.toMatchObject(expected);
    const body = { node, candidates: [], mapping: "none" };
    await expect(client.ask(MessageType.meet, body)).rejects.toMatchObject(expected);
  }
  const relayed = await client.ask<Relayed>(MessageType.relay, { node: worker, by: "udp" });
  expect(relayed).toMatchObject({ node: worker, by: "udp" });
});

test("X17 garbage at the UDP ports of a coordinator's rendezvous: bounded memory, members are answered, the mesh works", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, all } = await victimsOf(mesh);
  const { nodes } = await mesh.status();
  await using member = await memberOf(mesh, "client", "member");
  const places = await member.ask<MeetPlaces>(MessageType.meetPlaces, {});
  const worker = nodes.find(({ name }) => name === "w1")!.node;
  const { port: relayPort } = await member.ask<Relayed>(MessageType.relay, { node: worker, by: "udp" });
  for (const victim of all) victim.watch();
  using flood = await TestPort.open("127.0.0.2");
  using port = await TestPort.open();
  const signed = encodeEchoRequest({ id: places.id, transaction: randomBytes(8), fromOtherPort: false }, places.key);
  const forged = signed.slice();
  forged[40]! ^= 1; // one bit of what is signed: costs the most to refuse
  const garbage = [forged, randomBytes(64), randomBytes(1_400), signed.subarray(0, 63), new Uint8Array(1)];
  const targets = [...places.echoPorts, relayPort];
  for (let sent = 0; sent < FLOOD_PACKETS; sent++) {
    flood.send(garbage[sent % garbage.length]!, targets[sent % targets.length]!);
    if (sent % 10_000 === 0) await echoFrom(port, places.echoPorts[0]!, places);
  }
  await echoFrom(port, relayPort, places);
  expect(flood.got).toEqual([]);
  expect(coordinator.isAlive).toBe(true);
  await areWell(mesh, all);
});
