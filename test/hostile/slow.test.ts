// Who connects and says nothing, or next to nothing, or very often: limits hold, and others get in meanwhile.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { type RawClient, rawClients } from "../transports/tcp-support.ts";
import { Attacker, identityIn, transportOf } from "./attacker.ts";
import { ByHand } from "./by-hand.ts";
import { areWell, type Victim, victimsOf } from "./victims.ts";

const SILENT = 2_000;
const FLOOD = Number(process.env.MESH_FLOOD ?? 5_000);
const IDLE = Number(process.env.MESH_IDLE ?? 300);
const STRANGERS = 1_000;
const NODES = 150;

/** What a process may have open beside its usual files while it is flooded: the limits of transports/handshakes.ts. */
const UNFINISHED = 64;

const isOpen = ({ isClosed }: RawClient) => !isClosed;

/** How busy the coordinator is with heartbeats alone; for figures by hand. */
async function tellLoad({ process: { pid } }: Victim): Promise<void> {
  const ticks = () => {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [user, system] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13);
    return Number(user) + Number(system);
  };
  const before = ticks();
  await Bun.sleep(10_000);
  console.log(`X16: ${((ticks() - before) / 10).toFixed(1)} % of a core with ${IDLE} idle sessions`);
}

async function answersStatus(mesh: TestMesh): Promise<void> {
  const { status, stderr } = await mesh.mesh(["status"]);
  expect(status, stderr).toBe(0);
}

test("X20 2,000 connections that say nothing, and some that drip: closed in time; a client gets in meanwhile", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  const open = all.map((victim) => victim.descriptors);
  const clients = await Promise.all(all.map(({ port }) => rawClients(SILENT, port)));
  const dripping = clients.flatMap((each) => each.filter(isOpen).slice(0, 20));
  const drip = setInterval(() => {
    for (const { socket, isClosed } of dripping) if (!isClosed) socket?.write(Uint8Array.of(0x16));
  }, 50);
  await answersStatus(mesh);
  for (const each of clients) expect(each.filter(isOpen).length).toBeLessThanOrEqual(UNFINISHED);
  await until(() => !clients.flat().some(isOpen), { what: "the end of all silent connections", timeoutMs: 8_000 });
  clearInterval(drip);
  const areFree = () => all.every((victim, i) => victim.descriptors <= open[i]! + 4);
  await until(areFree, { what: "their descriptors to be free" });
  await areWell(mesh, all);
});

test("X16 X20 1,000 strangers and 150 nodes that finish TLS and then say nothing: closed in time; others get in", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, all } = await victimsOf(mesh);
  const stranger = new TcpTransport({ credentials: () => undefined });
  const node = transportOf(await identityIn(mesh, "worker", "evil"));
  const before = coordinator.descriptors;
  for (const victim of all) victim.watch();
  const links: ByHand[] = [];
  const dials = [...new Array<TcpTransport>(STRANGERS).fill(stranger), ...new Array<TcpTransport>(NODES).fill(node)];
  for (const transport of dials) {
    await ByHand.dial(transport, coordinator.address).then(
      (link) => links.push(link),
      () => {}, // hung up on already
    );
  }
  await answersStatus(mesh);
  await until(() => links.every(({ isOver }) => isOver), { what: "the end of all silent links", timeoutMs: 8_000 });
  await until(() => coordinator.descriptors <= before + 4, { what: "their descriptors to be free" });
  await areWell(mesh, all);
});

test("X21 a flood of dials from one address: never more than its share is open, and others get in", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  const before = coordinator.descriptors;
  let most = 0;
  let status: number | undefined;
  for (let sent = 0; sent < FLOOD; sent += 500) {
    await rawClients(Math.min(500, FLOOD - sent), coordinator.port);
    most = Math.max(most, coordinator.descriptors - before);
    if (sent === 2_000) status = (await mesh.mesh(["status"])).status;
  }
  expect(status).toBe(0);
  expect(most).toBeLessThanOrEqual(UNFINISHED + 10);
  await areWell(mesh, all);
});

test(`X16 ${IDLE} sessions that do nothing: little memory each, and no work for the coordinator`, {
  timeout: 60_000 + 100 * IDLE,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, all } = await victimsOf(mesh);
  const identity = await identityIn(mesh, "client", "idle");
  const idle: Attacker[] = [];
  const more = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const client = new Attacker({ identity });
      await client.connect(coordinator.address);
      idle.push(client);
    }
  };
  await more(100); // what the first ones need is needed once
  for (const victim of all) victim.watch();
  const before = coordinator.memoryBytes;
  await more(IDLE);
  const each = (coordinator.memoryBytes - before) / IDLE / 1024;
  if (IDLE >= 1_000) await tellLoad(coordinator);
  console.log(`X16: ${each.toFixed(1)} KiB for each of ${IDLE} idle sessions`);
  expect(each).toBeLessThan(100); // some 40; the collector of garbage has its own pace
  expect(idle.every(({ ended }) => ended.length === 0)).toBe(true);
  await areWell(mesh, all, (512 + IDLE) * 100 * 1024);
  await Promise.all(idle.map((client) => client[Symbol.asyncDispose]()));
});
