// Hosts that come, go and are waited for, and processes on them, in a mesh of real processes.
import { describe, expect, test } from "vitest";
import { kill } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

describe("hosts of a job", () => {
  test("F5 F12 F14 F19 a worker that joins while a job runs is told of, located and used by a call under way", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const script = `import { locateNode, nodes, onNode, pool, self } from "mesh"; ${prelude}
onNode(({ event, node }) => note("events", [event, node.name, node.role, node.status, node.slots].join(" ")));
const bound = pool({ hosts: "w*", slots: 1 });
const work = async (i: number) => { note("begun", i + " " + self.node); await gate("go"); return self.node; };
const call = pool().map(work, Array.from({ length: 12 }, (_, i) => i), { chunkSize: 1 });
const fixed = bound.map(() => self.node, [1, 2, 3]);
const { name, slots, tags, status } = await locateNode("w2", { timeoutMs: 20_000 });
const used = await call;
out([{ name, slots, tags, status }, [...new Set(used)].sort(), new Set(await fixed).size, (await nodes()).map((node) => node.name + " " + node.role).filter((name) => !name.startsWith("run-")).sort()]);`;
    await using run = mesh.start(script);
    await whenNoted(mesh.folder, "begun");
    await mesh.startWorker("w2", ["--slots", "2", "--tag", "late"]);
    await until(() => noted(mesh.folder, "begun").some((line) => line.endsWith("w2")), { what: "work on w2" });
    open(mesh.folder, "go");
    const { stdout, stderr, status } = await run.ended();
    expect([status, stderr]).toEqual([0, ""]);
    const [found, used, hosts, names] = JSON.parse(stdout) as [unknown, string[], number, string[]];
    expect(found).toEqual({ name: "w2", slots: 2, tags: ["late"], status: "up" });
    expect([used, hosts]).toEqual([["w1", "w2"], 1]);
    expect(names).toEqual([expect.stringContaining(" coordinator"), "w1 worker", "w2 worker"]);
    expect(noted(mesh.folder, "events")).toContain("online w2 worker up 2");
  });

  test("F38 X1 processes on hosts: on the one named or least used, ended with their host and with the job", async () => {
    await using mesh = await TestMesh.start({ workers: { gpu1: 1, gpu2: 2 } });
    const script = `import { Process, self } from "mesh"; ${prelude}
const stay = async () => { note("up", self.node + " " + process.pid); await new Promise(() => {}); };
const where = (s: string) => { note("where", self.node + s); };
const named = new Process(where, { host: "gpu1", args: ["!"] });
await named.start();
const exit = await named.join();
const [a, b, c] = [new Process(stay, { host: "gpu1" }), new Process(stay), new Process(stay)];
for (const p of [a, b, c]) await p.start();
const wrong = await Promise.resolve().then(() => new Process(stay, { host: "gpu3" })).catch((e) => [e.code, e.message]);
note("ready", "1");
const lost = await a.join();
await b.terminate();
out([exit, named.host, [a, b, c].map((p) => p.host), lost, b.exitCode, b.isAlive, c.isAlive, wrong]);
process.exit(0);`;
    await using run = mesh.start(script);
    await whenNoted(mesh.folder, "ready");
    const up = await whenNoted(mesh.folder, "up", 3);
    kill(mesh.worker("gpu1").pid, "SIGKILL");
    const { stdout, stderr, status } = await run.ended();
    const [exit, host, hosts, lost, code, isAlive, goesOn, wrong] = JSON.parse(stdout) as unknown[];
    expect([status, exit, host, hosts], stderr).toEqual([0, { exitCode: 0 }, "gpu1", ["gpu1", "gpu2", "gpu2"]]);
    expect(lost).toEqual({ exitCode: 255, cause: expect.stringContaining("host gpu1 is lost: ") });
    expect([code, isAlive, goesOn]).toEqual([143, false, true]);
    expect(wrong).toEqual(["USAGE", expect.stringMatching(/there is no host gpu3; did you mean gpu[12]\? hosts of/)]);
    expect(noted(mesh.folder, "where")).toEqual(["gpu1!"]);
    const alive = () => up.map((line) => Number(line.split(" ")[1])).filter(isRunning);
    await until(() => alive().length === 0, { what: "all processes of the job to be gone" });
    mesh.workers.delete("gpu1"); // it was killed: nothing of it is left to end
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
