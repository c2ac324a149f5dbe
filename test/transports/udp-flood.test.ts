// X17: connections that are begun in others' names and do not go on. What a port answers goes to whoever's name it is.
import { expect, it } from "vitest";
import { Door } from "../../transports/udp/door.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import type { Measured } from "../fixtures/transports/link-peer.ts";
import { TestCa } from "../support/certificates.ts";
import { peakBytes } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { End } from "./tcp-support.ts";
import { firstPackets, UdpServer } from "./udp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const MIB = 1024 * 1024;
/** What the runtime sends to each: its part of the handshake, and that again after 300 ms. */
const ANSWER_BYTES = 2 * 1_252;
const FIRST_BYTES = 1_200;
/** That begin at once and are all answered. */
const FREE = 128;

/** In whose name things are said. */
class Victim implements Disposable {
  bytes = 0;
  #lastAt = performance.now();
  readonly #socket: Bun.udp.Socket<"buffer">;

  private constructor(socket: Bun.udp.Socket<"buffer">) {
    this.#socket = socket;
  }

  static async open(): Promise<Victim> {
    const data = (_: unknown, bytes: Uint8Array) => victim.#got(bytes);
    const victim = new Victim(await Bun.udpSocket({ hostname: "127.0.0.2", socket: { data, error: () => {} } }));
    return victim;
  }

  async said(packets: readonly Uint8Array[], port: number): Promise<void> {
    for (const [i, packet] of packets.entries()) {
      this.#socket.send(packet, port, "127.0.0.1");
      if (i % 10 === 0) await Bun.sleep(1); // more would be lost before the port sees it
    }
  }

  /** Until nothing has come for longer than the runtime waits before it says something again. */
  async quiet(): Promise<void> {
    await until(() => performance.now() - this.#lastAt > 1_000, { what: "silence" });
  }

  #got(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    this.#lastAt = performance.now();
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

it("X17 900 begun in another's name: no more goes there than came, but for a few; a newcomer gets in; all are forgotten", async () => {
  await using at = await UdpServer.start(() => server, { handshakes: { timeoutMs: 1_500 } });
  const packets = await firstPackets(900, client);
  using victim = await Victim.open();
  await victim.said(packets, at.port);
  expect(await at.answers(client)).toBe(true);
  await victim.quiet();
  expect(victim.bytes).toBeGreaterThan(FREE * ANSWER_BYTES);
  expect(victim.bytes).toBeLessThan(packets.length * FIRST_BYTES + FREE * (ANSWER_BYTES - FIRST_BYTES));
  await until(() => at.listener.unfinished === 0, { what: "the places to be free" });
  expect(at.accepted).toHaveLength(1);
});

it("X17 4,000 begun in another's name: bounded memory, few answers, a live link goes on, and newcomers get in after a while", async () => {
  const child = Bun.spawn(
    [process.execPath, new URL("../fixtures/transports/link-peer.ts", import.meta.url).pathname],
    {
      ipc: (message) => told.push(message),
    },
  );
  const told: unknown[] = [];
  try {
    child.send({ credentials: server, way: "udp", handshakes: { timeoutMs: 2_500 } });
    await until(() => told.length === 1, { what: "the address" });
    const { address } = told[0] as { address: string };
    const near = new End(await new UdpTransport({ credentials: () => client }).dial(address));
    const packets = await firstPackets(4_000, client);
    child.send("measure");
    await until(() => told.length === 2, { what: "its memory" });
    using victim = await Victim.open();
    await victim.said(packets, Number(address.split(":").at(-1)));
    near.send("beside");
    await until(() => near.texts.length === 1, { what: "an answer on the live link" });
    await victim.quiet();
    expect(victim.bytes).toBeLessThan(600 * ANSWER_BYTES);
    expect((peakBytes(child.pid) - (told[1] as Measured).rss) / MIB).toBeLessThan(50);
    const late = new End(await new UdpTransport({ credentials: () => client }).dial(address, { timeoutMs: 10_000 }));
    late.send("let in");
    await until(() => late.texts.length === 1, { what: "an answer to the newcomer" });
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});

it("Door: open, ajar, shut, and back later than it went", () => {
  const shares: number[] = [];
  const door = new Door((share) => void shares.push(share));
  for (const count of [127, 128, 511, 512, 300, 255, 100, 127, 64, 63]) door.counted(count);
  expect(shares).toEqual([0.4, 0, 0.4, 1]);
});
