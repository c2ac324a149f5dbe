// Routers that forget a way, and a coordinator that is killed, while a job calls from one side to the other.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf } from "./lab-mesh.ts";
import { missingForNatLab } from "./namespaces.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const stands: Record<string, Stand> = {
  port1: { nat: "port", router: { letsOut: true } },
  port2: { nat: "port", router: { letsOut: true } },
  symmetric1: { nat: "symmetric", router: { letsOut: true, nat: "symmetric" } },
  symmetric2: { nat: "symmetric", router: { letsOut: true, nat: "symmetric" } },
};
const PUNCHED: [string, string] = ["port1", "port2"];
const RELAYED: [string, string] = ["symmetric1", "symmetric2"];

/** Longer than any change may hold up a call; the bar is 5 s on an idle machine. */
const GAP_LIMIT_MS = 10_000;

/** On the first, calls the second over and over until the gate opens; prints how often, and what took longest. */
const calls = ([a, b]: [string, string], gate: string) => `import { pool } from "mesh";
const outcome = await pool({ hosts: "${a}" }).submit(async () => {
  const { existsSync } = await import("node:fs");
  const there = pool({ hosts: "${b}" });
  let longestMs = 0;
  for (let calls = 0; ; calls++) {
    if (existsSync(${JSON.stringify(gate)})) return { longestMs };
    const begun = performance.now();
    if ((await there.submit((n: number) => n + 1, calls)) !== calls + 1) throw new Error("a wrong answer");
    longestMs = Math.max(longestMs, performance.now() - begun);
    if (calls % 10 === 0) console.log("ten calls");
    await Bun.sleep(1);
  }
});
console.log(JSON.stringify(outcome));`;

describe.skipIf(missing)(`routers that change${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let matrix: NatMatrix;
  let gates = 0;
  const router = (name: string, ...command: string[]) => matrix.network.inside(`${name}-router`, ...command);

  beforeAll(async () => {
    matrix = await NatMatrix.start(stands);
    expect(await matrix.talk(10, [PUNCHED, RELAYED])).toEqual([]);
    await areOn("punch", PUNCHED);
    await areOn("relay", RELAYED);
  }, 60_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  async function areOn(path: string, pair: [string, string]): Promise<void> {
    const paths = await matrix.paths(() => path, [pair], 30_000);
    expect([...paths.values()]).toEqual([path, path]);
  }

  /** A job goes on calling from one to the other during that. Nothing of it fails, and no call takes long. */
  async function callsDuring(pair: [string, string], during: () => Promise<void>): Promise<void> {
    const gate = `gate-${gates++}`;
    const folder = matrix.mesh.folders.get(DESK)!;
    await using run = matrix.mesh.run(calls(pair, folder.at(gate)));
    const goesOn = async () => {
      const before = run.stdout.length;
      await until(() => run.stdout.length > before + 200, { what: "calls to go on" });
    };
    await goesOn();
    await during();
    await goesOn();
    folder.write({ [gate]: "" });
    const { longestMs } = (await jsonOf(run)) as { longestMs: number };
    expect([run.stderr, longestMs < GAP_LIMIT_MS]).toEqual(["", true]);
  }

  /** Waits until a router carries packets both ways that match, of those that its conntrack tells of. */
  async function carries(name: string, flow: RegExp): Promise<void> {
    const lines = () => router(name, "conntrack", "-L", "-p", "udp").split("\n");
    await until(() => lines().some((line) => line.includes("[ASSURED]") && flow.test(line)), { what: `${flow}` });
  }

  test("X7 F22 a router names the port anew in mid-session: another hole is made, no call fails", async () => {
    await callsDuring(PUNCHED, async () => {
      const rename = ["-o", "net0", "-p", "udp", "-j", "MASQUERADE", "--to-ports", "20000-20999"];
      router("port1", "iptables", "-w", "-t", "nat", "-I", "POSTROUTING", ...rename);
      router("port1", "conntrack", "-D", "-p", "udp");
      await carries("port1", new RegExp(`dst=${matrix.outsideOf("port2")} .* dport=20\\d\\d\\d\\b`));
    });
    await areOn("punch", PUNCHED);
  }, 60_000);

  test("X7 F24 so it is for two that are relayed", async () => {
    await callsDuring(RELAYED, async () => {
      router("symmetric1", "conntrack", "-D", "-p", "udp");
      await carries("symmetric1", new RegExp(`dst=${matrix.network.address(CENTRE)} `));
    });
    await areOn("relay", RELAYED);
  }, 60_000);

  test("F22 routers that forget what was silent for 2 s: heartbeats keep the way open", async () => {
    const forgets =
      "for f in udp_timeout udp_timeout_stream; do echo 2 > /proc/sys/net/netfilter/nf_conntrack_$f; done";
    for (const name of PUNCHED) {
      router(name, "sh", "-c", forgets);
      router(name, "conntrack", "-D", "-p", "udp", "-d", matrix.network.address(CENTRE));
    }
    const since = async () => {
      const { nodes } = await matrix.mesh.status();
      return nodes.find(({ name }) => name === "port1")!.peers.find(({ name }) => name === "port2")!;
    };
    const { sinceMs } = await since();
    await until(async () => (await since()).sinceMs! > sinceMs! + 5_000, { what: "the same path, 5 s older" });
    expect((await since()).path).toBe("punch");
  }, 60_000);

  test("X11 X2 F22 F24 the coordinator, which introduced them, is killed and started again: a hole goes on without it, a relay comes back", async () => {
    await callsDuring(PUNCHED, async () => {
      matrix.mesh.coordinator.signal("SIGKILL");
      await matrix.mesh.coordinator.ended();
      await matrix.mesh.startCoordinator();
    });
    await areOn("punch", PUNCHED);
    for (const name of RELAYED) await matrix.mesh.nodeIs(name, (node) => node?.state === "up");
    expect(await matrix.talk(1000, [RELAYED])).toEqual([]);
    await areOn("relay", RELAYED);
  }, 60_000);
});

/** Has the worker note down each call; prints how many there were. */
const notedCalls = (host: string, { notes, gate }: { notes: string; gate: string }) => `import { pool } from "mesh";
const { existsSync } = await import("node:fs");
const there = pool({ hosts: "${host}" });
let calls = 0;
for (; !existsSync(${JSON.stringify(gate)}); calls++) {
  await there.submit(async (n: number) => {
    const { appendFileSync } = await import("node:fs");
    appendFileSync(${JSON.stringify(notes)}, n + "\\n");
  }, calls);
  if (calls % 10 === 9) console.log("ten calls");
}
console.log(JSON.stringify(calls));`;

describe.skipIf(missing)(`a worker that has UDP alone${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("X7 F22 its router forgets, and names its port anew: both sessions go on, with the coordinator and with a job, each call done once", async () => {
    await using matrix = await NatMatrix.start(
      { w1: { nat: "port", router: { letsOut: true } } },
      { transport: "udp" },
    );
    const router = (...command: string[]) => matrix.network.inside("w1-router", ...command);
    router("iptables", "-w", "-I", "FORWARD", "-p", "tcp", "-j", "DROP");
    const desk = matrix.mesh.folders.get(DESK)!;
    const [notes, gate] = [desk.at("notes"), desk.at("gate")];
    await using run = matrix.mesh.run(notedCalls("w1", { notes, gate }));
    const goesOn = async () => {
      const before = run.stdout.length;
      await until(() => run.stdout.length > before + 200, { what: "calls to go on" });
    };
    /** Of the outside ports that the router gives to flows with packets both ways. */
    const named = (host: string) => {
      const lines = router("conntrack", "-L", "-p", "udp", "-s", matrix.network.address("w1")).split("\n");
      const answered = lines.filter((line) => line.includes("[ASSURED]") && line.includes(`dst=${host} `));
      return answered.flatMap((line) => /.*dport=(\d+)/.exec(line)?.[1] ?? []);
    };
    await goesOn();
    const centre = matrix.network.address(CENTRE);
    const others = [centre, matrix.network.address(DESK)];
    for (const range of ["20000-20999", "30000-30999"]) {
      const rename = ["-o", "net0", "-p", "udp", "-j", "MASQUERADE", "--to-ports", range];
      router("iptables", "-w", "-t", "nat", "-I", "POSTROUTING", ...rename);
      router("conntrack", "-D", "-p", "udp");
      const isRenamed = (host: string) => named(host).some((port) => port.startsWith(range[0]!) && port.length === 5);
      await until(() => others.every(isRenamed), { what: `both flows by ports ${range}` });
      await goesOn();
    }
    desk.write({ gate: "" });
    const calls = (await jsonOf(run)) as number;
    const done = readFileSync(notes, "utf8").trim().split("\n").map(Number);
    expect(done).toEqual(Array.from({ length: calls }, (_, i) => i));
    expect(run.stderr).toBe("");
    expect(matrix.mesh.worker("w1").stderr).not.toMatch(/coordinator lost|session lost/);
  }, 60_000);
});
