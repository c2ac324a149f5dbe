// A mesh of real processes whose coordinator and workers listen on UDP alone.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import { MeshProcess, testFolder } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { open, prelude, whenNoted } from "./notes.ts";

const MIB = 1024 * 1024;
/** Silence alone would tell after a minute. */
const patient = '[mesh]\nheartbeat = "200ms"\nsuspectAfter = "30s"\ndownAfter = "60s"\n';

/** How many UDP sockets a process has. */
function udpPorts(pid: number): number {
  const rows = ["udp", "udp6"].flatMap((file) => readFileSync(`/proc/${pid}/net/${file}`, "utf8").split("\n"));
  const all = new Set(rows.map((row) => `socket:[${row.trim().split(/\s+/)[9]}]`));
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => all.has(targetOf(`/proc/${pid}/fd/${fd}`))).length;
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ""; // closed meanwhile
  }
}

describe("a mesh over UDP", () => {
  test("F23 F35 nodes join, a job's results are exact, 64 MiB come through whole, and status names the path", async () => {
    await using mesh = await TestMesh.start({ transport: "udp" });
    const script = `import { pool, self } from "mesh"; ${prelude}
const squares = await pool().map((i: number) => i * i, Array.from({ length: 2_000 }, (_, i) => i));
const nodes = [...new Set(await pool().apply(() => self.node))].sort();
const bytes = new Uint8Array(${64 * MIB}).map((_, i) => i * 31 + (i >>> 16));
const there = await pool().submit((value: Uint8Array) => String(Bun.hash(value)), bytes);
out([squares.every((value, i) => value === i * i) && squares.length, nodes, there === String(Bun.hash(bytes))]);
note("over", 1);
await gate("end");`;
    await using run = mesh.start(script, { limitMs: 60_000 });
    await whenNoted(mesh.folder, "over", 1, 60_000);
    const { nodes } = await mesh.status();
    open(mesh.folder, "end");
    const { stdout, stderr, status } = await run.ended();
    expect([status, JSON.parse(stdout)]).toEqual([0, [2_000, ["w1", "w2"], true]]);
    const workers = nodes.filter(({ role }) => role === "worker");
    expect(workers.map(({ path }) => path?.kind)).toEqual(["udp", "udp"]);
    const printed = [stderr, mesh.coordinator.stderr, ...[...mesh.workers.values()].map((worker) => worker.stderr)];
    expect(printed.join("")).not.toMatch(/Warning|experimental/i);
  }, 90_000);

  test("X1 F23 a worker that is killed (kill -9) says nothing over UDP: its machine does, its item runs elsewhere", async () => {
    await using mesh = await TestMesh.start({ transport: "udp", config: patient });
    const script = `import { pool, self } from "mesh"; ${prelude}
const work = async (i: number) => {
  if (self.node === "w1") { note("held", i); await new Promise(() => {}); }
  await gate("go on");
  return [i, self.node];
};
out(await pool().map(work, [0, 1, 2, 3], { chunkSize: 1 }));`;
    await using run = mesh.start(script, { limitMs: 40_000 });
    await whenNoted(mesh.folder, "held");
    const worker = mesh.worker("w1");
    worker.signal("SIGKILL");
    await worker.ended();
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    open(mesh.folder, "go on");
    const { stdout, status } = await run.ended();
    expect([status, JSON.parse(stdout)]).toEqual([0, [0, 1, 2, 3].map((i) => [i, "w2"])]);
    await mesh.startWorker("w1");
    await mesh.nodeIs("w1", (node) => node?.state === "up");
  }, 60_000);

  test("F17 F23 a coordinator listens on TCP and UDP as mesh.toml says, and a worker whose own rules out TCP joins with its token", async () => {
    const config = '[coordinator]\nlisten = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\n';
    using folder = testFolder({ "mesh.toml": config });
    using beta = testFolder({ "mesh.toml": '[mesh]\ntransports = ["udp"]\n' });
    const start = (args: string[], { at = folder, env = {} } = {}) =>
      new MeshProcess(at, args, { limitMs: 60_000, isOneOfMany: true, env });
    await using coordinator = start(["coordinator"]);
    await coordinator.prints(/ ready .*listen=/, "stderr");
    const address = /udp:\/\/[^\s,]+/.exec(coordinator.stderr)![0];
    await using asking = start(["token", "--role", "worker"]);
    const token = (await asking.ended()).stdout.trim().split("\n").at(-1)!;
    await using worker = start(
      ["worker", "--join", address, "--name", "beta", "--slots", "1", "--listen", "udp://127.0.0.1:0"],
      { at: beta, env: { MESH_TOKEN: token } },
    );
    await worker.prints(/ ready /, "stderr");
    await using asked = start(["status", "--json"]);
    const { nodes } = JSON.parse((await asked.ended()).stdout);
    expect(nodes.find(({ name }: { name: string }) => name === "beta").path.kind).toBe("udp");
    for (const each of [worker, coordinator]) {
      each.signal("SIGTERM");
      expect((await each.ended()).status).toBe(0);
    }
  }, 60_000);

  test.each([
    ["by default all listen on TCP and UDP", "", ["tcp", "udp"]],
    ["transports of mesh.toml: TCP alone", '[mesh]\ntransports = ["tcp"]\n', ["tcp"]],
  ])(
    "F23 F17 F24 %s",
    async (_, config, schemes) => {
      using folder = testFolder({ "mesh.toml": config });
      const start = (args: string[]) => new MeshProcess(folder, args, { limitMs: 60_000, isOneOfMany: true });
      await using coordinator = start(["coordinator", "--any-port"]);
      await coordinator.prints(/ ready /, "stderr");
      await using worker = start(["worker", "--name", "w1", "--slots", "1"]);
      await worker.prints(/ ready /, "stderr");
      folder.write({
        "job.ts": `import { nodes, pool } from "mesh";
await pool().map((x: number) => x, [1]);
console.log(JSON.stringify((await nodes()).map(({ role }) => role).sort()));`,
      });
      await using run = start(["run", "job.ts"]);
      const { stdout, stderr } = await run.ended();
      expect([stderr, JSON.parse(stdout)]).toEqual(["", ["coordinator", "head", "worker"]]);
      await using asked = start(["status", "--json"]);
      const { nodes } = JSON.parse((await asked.ended()).stdout) as Status;
      const of = ({ addresses }: NodeStatus) => [...new Set(addresses.map((address) => address.split(":")[0]))];
      expect(nodes.map(of)).toEqual([schemes, schemes]);
      expect([coordinator, worker].map(({ pid }) => udpPorts(pid) > 0)).toEqual(Array(2).fill(schemes.includes("udp")));
      for (const each of [worker, coordinator]) {
        each.signal("SIGTERM");
        expect((await each.ended()).status).toBe(0);
      }
    },
    60_000,
  );
});
