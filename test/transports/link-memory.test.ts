// What links cost, in processes of their own: memory and descriptors.
import { readdirSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import type { Link } from "../../core/transport.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import type { Measured } from "../fixtures/transports/link-peer.ts";
import { TestCa } from "../support/certificates.ts";
import { peakBytes } from "../support/mesh.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const transport = new TcpTransport({ credentials: () => client });
const children: Bun.Subprocess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** Starts a fixture; `told` has what it told. */
function start(name: string, order: unknown): { child: Bun.Subprocess; told: unknown[] } {
  const told: unknown[] = [];
  const path = new URL(`../fixtures/transports/${name}.ts`, import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path], { ipc: (message) => told.push(message), stdout: "inherit" });
  children.push(child);
  child.send(order);
  return { child, told };
}

class Peer {
  readonly child: Bun.Subprocess;
  readonly address: string;
  readonly #told: unknown[];

  private constructor(child: Bun.Subprocess, told: unknown[]) {
    this.child = child;
    this.#told = told;
    this.address = (told[0] as { address: string }).address;
  }

  static async start(way: "tcp" | "udp" = "tcp"): Promise<Peer> {
    const { child, told } = start("link-peer", { credentials: server, way });
    await until(() => told.length === 1, { what: "the peer" });
    return new Peer(child, told);
  }

  async measure(): Promise<Measured> {
    const before = this.#told.length;
    this.child.send("measure");
    await until(() => this.#told.length > before, { what: "figures" });
    return this.#told.at(-1) as Measured;
  }

  /** Figures, once it has so many links. */
  async settled(links: number): Promise<Measured> {
    let measured = await this.measure();
    const hasThem = async () => {
      measured = await this.measure();
      return measured.links === links;
    };
    await until(hasThem, { what: `${links} links` });
    return measured;
  }
}

it.each([
  // Beside that, a frame beyond the mark at which `send` asks to wait.
  ["tcp", 2 * MIB],
  // QUIC keeps what was not acknowledged, and what waits in the window of each side.
  ["udp", 2 * 8 * MIB],
] as const)(
  "X15 %s: 1 GiB to a stalled reader: the sender waits, and neither process grows by more than 64 MiB and the cap",
  {
    timeout: 90_000,
  },
  async (way, capBytes) => {
    const peer = await Peer.start(way);
    const { rss: before } = await peer.measure();
    peer.child.send("stall");
    const sender = start("link-sender", { credentials: client, way, address: peer.address, bytes: 1024 * MIB });
    await until(() => sender.told.length === 2, { what: "the sender to wait" });
    const [{ rss: senderBefore }, { waiting }] = sender.told as [{ rss: number }, { waiting: number }];
    expect(waiting).toBeLessThan(16 * MIB); // what the kernels of both ends hold, and the cap
    expect((await peer.measure()).bytes).toBe(0);
    peer.child.send("read");
    await until(() => sender.told.at(-1) === "sent", { what: "all to be sent", timeoutMs: 60_000 });
    await until(async () => (await peer.measure()).bytes === 1024 * MIB, { what: "all to be read", timeoutMs: 60_000 });
    expect(peakBytes(peer.child.pid) - before).toBeLessThan(64 * MIB + capBytes);
    expect(peakBytes(sender.child.pid) - senderBefore).toBeLessThan(64 * MIB + capBytes);
  },
);

async function dialMany(address: string, count: number): Promise<Link[]> {
  const links: Link[] = [];
  while (links.length < count) {
    links.push(...(await Promise.all(Array.from({ length: 25 }, () => transport.dial(address)))));
  }
  return links;
}

it("X16: an idle link costs its listener less than 25 KB", async () => {
  const peer = await Peer.start();
  const warm = await dialMany(peer.address, 200);
  const before = await peer.settled(200);
  const links = await dialMany(peer.address, 1_500);
  const after = await peer.settled(1_700);
  expect((after.rss - before.rss) / 1_500).toBeLessThan(25_000);
  for (const link of [...warm, ...links]) link.destroy(new Error("the test is over"));
  expect((await peer.settled(0)).descriptors).toBeLessThan(before.descriptors);
});

/** Dials, exchanges a frame, hangs up. */
async function visit(address: string): Promise<void> {
  const link = await transport.dial(address);
  await new Promise<void>((resolve) => {
    link.attach({ frame: () => link.close(), drained: () => {}, closed: () => resolve() });
    link.send(new Uint8Array(10));
  });
}

it("F27: 5,000 reconnects leak nothing", { timeout: 120_000 }, async () => {
  const peer = await Peer.start();
  const visits = async (count: number) => {
    for (let done = 0; done < count; done += 20) {
      await Promise.all(Array.from({ length: 20 }, () => visit(peer.address)));
    }
    Bun.gc(true);
    const { rss, descriptors } = await peer.settled(0);
    return { rss, descriptors, ownRss: process.memoryUsage.rss(), ownDescriptors: readdirSync("/proc/self/fd").length };
  };
  const before = await visits(1_000); // the allocators of both have found their size then
  const after = await visits(5_000);
  expect([after.descriptors, after.ownDescriptors]).toEqual([before.descriptors, before.ownDescriptors]);
  // A link that stays behind costs 12 KB or more.
  expect(after.rss - before.rss).toBeLessThan(5_000 * 4_000);
  expect(after.ownRss - before.ownRss).toBeLessThan(5_000 * 4_000);
});
