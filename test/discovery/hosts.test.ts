// Discovery between machines: real multicast and broadcast over a switch.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Identity } from "../../core/identity/identity.ts";
import { nodeOf, type TestMesh, testMesh } from "../identity/support.ts";
import type { HostLine, HostTask } from "./host.ts";
import { type Loss, Network, whyNoNetwork } from "./network.ts";

const why = whyNoNetwork();
if (why) console.warn(`test/discovery/hosts.test.ts is skipped: ${why}`);

describe.skipIf(why)("between machines", () => {
  let mesh: TestMesh;
  let coordinator: Identity;

  beforeAll(async () => {
    mesh = await testMesh(Date.now());
    coordinator = await nodeOf(mesh.ca, "coordinator", "coordinator", Date.now());
  });

  afterAll(() => mesh[Symbol.dispose]());

  const announce = (changes: Partial<HostTask & { role: "announce" }> = {}): HostTask => ({
    role: "announce",
    credentials: coordinator.credentials,
    node: 100,
    addresses: ["tcp://10.77.0.1:7450"],
    everyMs: 200,
    ...changes,
  });
  const find = (timeoutMs = 15_000): HostTask => {
    const { meshId, pin } = mesh.ca;
    return { role: "find", meshId, pin: Buffer.from(pin).toString("hex"), timeoutMs };
  };
  const found = { node: 100, from: "10.77.0.1", addresses: ["tcp://10.77.0.1:7450"] };

  async function next(lines: AsyncGenerator<HostLine>): Promise<HostLine> {
    const { value, done } = await lines.next();
    if (done) throw new Error("the host's process ended");
    return value;
  }

  const losses: [string, Loss[]][] = [
    ["that carries everything", []],
    ["that loses broadcasts", ["broadcast"]],
    ["that loses multicast", ["multicast"]],
  ];

  it.each(losses)("findMesh (F10): finds a coordinator on another machine, over a switch %s", async (_what, lost) => {
    await using network = new Network(2, lost);
    expect(await next(network.run(1, announce()))).toEqual({ ready: true });
    expect(await next(network.run(2, find()))).toEqual({ found });
  });

  it("findMesh (F10): finds one that never speaks by itself, by asking", async () => {
    await using network = new Network(2);
    expect(await next(network.run(1, announce({ everyMs: 3_600_000 })))).toEqual({ ready: true });
    expect(await next(network.run(2, find()))).toEqual({ found });
  });

  it("findMesh (F10): waits for a coordinator that starts later, on its own machine too", async () => {
    await using network = new Network(2);
    const searches = [network.run(1, find()), network.run(2, find()), network.run(2, find())];
    const results = searches.map(next);
    expect(await next(network.run(1, announce()))).toEqual({ ready: true });
    const places = (await Promise.all(results)).map((line) => line.found?.node);
    expect(places).toEqual([100, 100, 100]);
  });

  it("findMesh (F10): nothing comes through a switch that loses both, and that is said", async () => {
    await using network = new Network(2, ["broadcast", "multicast"]);
    expect(await next(network.run(1, announce()))).toEqual({ ready: true });
    const { failed } = await next(network.run(2, find(1_500)));
    expect(failed?.code).toBe("UNREACHABLE");
    expect(failed?.message).toContain("(UDP port 7449, group 239.255.74.50, on lo, eth0)");
  });

  it("startBeacon, findMesh (F10): a machine that loses its address and gets it back is found again", async () => {
    await using network = new Network(2);
    network.plug(1, false);
    expect(await next(network.run(1, announce()))).toEqual({ ready: true });
    const result = next(network.run(2, find()));
    network.plug(1, true);
    expect(await result).toEqual({ found });
  });
});
