// bringUp and bringDown with providers played by the test.
import { afterAll, describe, expect, it } from "vitest";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import { bringDown, bringUp, type FleetOptions, planUp } from "../../core/fleet/fleet.ts";
import { type FleetHost, hostOf } from "../../core/fleet/hosts.ts";
import { FleetRecord } from "../../core/fleet/record.ts";
import type { Provider } from "../../core/provider.ts";
import { testFolder } from "../support/mesh.ts";

const BUILD = "1.0 (abc)";
const timing = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };
const hosts = ["a", "b", "c"].map((name) => hostOf({ name, provider: "played", ssh: name, tags: [] }, timing));

const folder = testFolder({});
afterAll(() => folder[Symbol.dispose]());

function fleet(provider: Partial<Provider>, more: Partial<FleetOptions> = {}): FleetOptions & { said: string[] } {
  const said: string[] = [];
  return {
    hosts,
    provider: () => provider as Provider,
    context: {
      mesh: { name: "m", id: "0" },
      build: BUILD,
      certify: () => Promise.reject(new Error("not asked for here")),
      token: () => Promise.reject(new Error("not asked for here")),
      tunnel: () => Promise.reject(new Error("not asked for here")),
      binary: () => Promise.reject(new Error("not asked for here")),
      signal: new AbortController().signal,
    },
    record: new FleetRecord(newFolder()),
    parallel: 2,
    progress: ({ name }, text) => void said.push(`${name}: ${text}`),
    done: ({ host, outcome }) => void said.push(`${host.name} ${outcome}`),
    ...more,
    said,
  };
}

let folders = 0;
function newFolder(): string {
  const name = `state-${folders++}`;
  folder.write({ [`${name}/.keep`]: "" });
  return `${folder.path}/${name}`;
}

function up(host: FleetHost, more: Partial<NodeStatus> = {}): [string, NodeStatus] {
  return [
    host.name,
    { name: host.name, role: "worker", state: "up", version: "1.0", build: "abc", ...more } as NodeStatus,
  ];
}

describe("bringUp", () => {
  it("F2 F6 a worker and a rendezvous of one login go one after the other, others beside them; each has its outcome", async () => {
    const [a, b] = hosts as [FleetHost, FleetHost];
    const rendezvous: FleetHost = { ...a, name: "rendezvous", worker: { ...a.worker, role: "rendezvous" } };
    const said: string[] = [];
    const start: Provider["start"] = async ({ name }) => {
      said.push(`${name} begins`);
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
      said.push(`${name} ends`);
      return { outcome: "started", sentBytes: 0 };
    };
    const outcomes = await bringUp(fleet({ start }, { hosts: [rendezvous, b, a], parallel: 16 }), new Map());
    expect(outcomes.map(({ host }) => host.name)).toEqual(["rendezvous", "b", "a"]);
    expect(said.indexOf("b begins")).toBeLessThan(said.indexOf("rendezvous ends"));
    expect(said.indexOf("a begins")).toBeGreaterThan(said.indexOf("rendezvous ends"));
  });

  it("F2 F9 a node of another role under that name is not what was wanted", async () => {
    const [a] = hosts as [FleetHost];
    const rendezvous: FleetHost = { ...a, worker: { ...a.worker, role: "rendezvous" } };
    const start: Provider["start"] = async () => ({ outcome: "replaced", sentBytes: 0 });
    const options = fleet({ start }, { hosts: [rendezvous] });
    options.record.set(rendezvous);
    const outcomeWith = async (role: NodeStatus["role"]) =>
      (await bringUp(options, new Map([up(rendezvous, { role })])))[0]!.outcome;
    expect([await outcomeWith("worker"), await outcomeWith("rendezvous")]).toEqual(["replaced", "unchanged"]);
  });

  it("F1 F90 works on at most `parallel` hosts at a time, and one that fails hides none", async () => {
    let [now, most] = [0, 0];
    const start: Provider["start"] = async ({ name }) => {
      most = Math.max(most, ++now);
      await Promise.resolve();
      now--;
      if (name === "b") throw new MeshError("UNREACHABLE", "b: nobody answers");
      return { outcome: "started", sentBytes: 7 };
    };
    const options = fleet({ start });
    const outcomes = await bringUp(options, new Map());
    expect(most).toBe(2);
    expect(outcomes.map(({ host, outcome, error }) => [host.name, outcome, error?.message])).toEqual(
      expect.arrayContaining([
        ["a", "started", undefined],
        ["b", "failed", "b: nobody answers"],
        ["c", "started", undefined],
      ]),
    );
    expect(options.record.hosts.map(({ name }) => name)).toEqual(["a", "c"]);
  });

  it("F1 asks nobody about hosts whose worker of this build runs with these settings", async () => {
    const asked: string[] = [];
    const start: Provider["start"] = async ({ name }) => {
      asked.push(name);
      return { outcome: "replaced", sentBytes: 0 };
    };
    const options = fleet({ start });
    for (const host of hosts) options.record.set(host);
    const [a, b, c] = hosts as [FleetHost, FleetHost, FleetHost];
    const changed = { ...c, worker: { ...c.worker, slots: 3 } };
    const nodes = new Map([up(a), up(b, { build: "old" }), up(c)]);
    const outcomes = await bringUp({ ...options, hosts: [a, b, changed] }, nodes);
    expect(asked).toEqual(["b", "c"]);
    expect(outcomes.find(({ host }) => host === a)?.outcome).toBe("unchanged");
  });

  it("tells what is no MeshError, of a provider of the user's, as that host's failure", async () => {
    const outcomes = await bringUp(fleet({ start: () => Promise.reject(new TypeError("x is undefined")) }), new Map());
    expect(outcomes.map(({ error }) => error?.message)[0]).toMatch(/provider played failed: x is undefined/);
  });

  it("begins nothing more once it is cancelled", async () => {
    const controller = new AbortController();
    const started: string[] = [];
    const start: Provider["start"] = async ({ name }) => {
      started.push(name);
      controller.abort("SIGINT");
      throw new MeshError("CANCELLED", `${name}: given up`);
    };
    const options = fleet({ start }, { parallel: 1 });
    const outcomes = await bringUp(
      { ...options, context: { ...options.context, signal: controller.signal } },
      new Map(),
    );
    expect(started).toEqual(["a"]);
    expect(outcomes.map(({ error }) => error?.code)).toEqual(["CANCELLED", "CANCELLED", "CANCELLED"]);
  });
});

describe("bringDown", () => {
  it("F9 ends by the mesh who is in it, by the provider who is not, and forgets both", async () => {
    const [a] = hosts as [FleetHost];
    const [killed, stopped]: [string[], string[]] = [[], []];
    const stop: Provider["stop"] = async ({ name }) => {
      stopped.push(name);
      if (name === "c") throw new MeshError("UNREACHABLE", "c: no route");
      return { outcome: "absent", removed: [] };
    };
    const options = fleet({ stop });
    for (const host of hosts) options.record.set(host);
    const kill = async (name: string) => void killed.push(name);
    const outcomes = await bringDown(options, new Map([up(a)]), { purge: false, graceMs: 0, kill });
    expect([killed, stopped]).toEqual([["a"], ["b", "c"]]);
    expect(Object.fromEntries(outcomes.map(({ host, outcome }) => [host.name, outcome]))).toEqual({
      a: "stopped",
      b: "absent",
      c: "failed",
    });
    expect(options.record.hosts.map(({ name }) => name)).toEqual(["c"]);
  });

  it("F6 purges where the mesh has ended the worker, too", async () => {
    const stop: Provider["stop"] = async (_, { purge }) => ({ outcome: "absent", removed: purge ? ["/cache"] : [] });
    const options = fleet({ stop });
    const [a] = hosts as [FleetHost];
    const wanted = { purge: true, graceMs: 0, kill: async () => {} };
    const [outcome] = await bringDown({ ...options, hosts: [a] }, new Map([up(a)]), wanted);
    expect(outcome).toMatchObject({ outcome: "stopped", removed: ["/cache"] });
  });
});

describe("planUp", () => {
  it("F7 says of each host what would be done, or why it cannot be known", async () => {
    const plan: Provider["plan"] = async ({ name }) => {
      if (name === "c") throw new MeshError("AUTHENTICATION", "c: unknown key");
      return { action: "start", steps: ["send 52 MB"] };
    };
    const plans = await planUp(fleet({ plan }), new Map());
    expect(
      [...plans].map(([{ name }, found]) => [name, found instanceof MeshError ? found.code : found.action]),
    ).toEqual(
      expect.arrayContaining([
        ["a", "start"],
        ["b", "start"],
        ["c", "AUTHENTICATION"],
      ]),
    );
  });
});
