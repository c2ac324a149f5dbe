// Workers that die, stop and come back while they work, on real processes.
import { describe, expect, test } from "vitest";
import { kill } from "../support/mesh.ts";
import { randomOf } from "../support/random.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

/** Silence alone declares nobody down for minutes: what is noticed is noticed by the links that closed. */
const patient = '[mesh]\nheartbeat = "1s"\nsuspectAfter = "4m"\ndownAfter = "5m"\n';
/** Down after a second of silence. */
const hasty = '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\n';

/** More kills with MESH_FAULT_RUNS=50. */
const RUNS = Number(process.env.MESH_FAULT_RUNS ?? 6);

describe("X1 a worker is killed (kill -9) in mid-task", () => {
  test("X1 its closed links tell: status shows it down, its item runs elsewhere, its slots and their children are gone", async () => {
    await using mesh = await TestMesh.start({ config: patient });
    const script = `import { pool, self } from "mesh"; ${prelude}
const work = async (i: number) => {
  note("begun", i + " " + self.node + " " + process.pid);
  if (self.node === "w1") { Bun.spawn(["sh", "-c", "setsid sleep 321 & wait"], { stdio: ["ignore", "ignore", "ignore"] }); note("held", i); await new Promise(() => {}); }
  if (i >= 2) await gate("go on");
  return [i, self.node];
};
out(await pool().map(work, [0, 1, 2, 3, 4, 5], { chunkSize: 1 }));`;
    await using run = mesh.start(script);
    const [held] = await whenNoted(mesh.folder, "held");
    const worker = mesh.worker("w1");
    worker.signal("SIGKILL");
    await worker.ended();
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    open(mesh.folder, "go on");
    const { stdout, stderr, status } = await run.ended();
    expect([status, JSON.parse(stdout)]).toEqual([0, [0, 1, 2, 3, 4, 5].map((i) => [i, "w2"])]);
    expect(stderr).toMatch(/node w1 .*the job goes on without it/);
    const begun = noted(mesh.folder, "begun").map((line) => line.split(" "));
    expect(begun.filter(([i]) => i === held).map(([, node]) => node)).toEqual(["w1", "w2"]);
    expect(begun).toHaveLength(7); // the held one twice, the others once
    await mesh.startWorker("w1");
    await mesh.nodeIs("w1", (node) => node?.state === "up");
  });

  const seed = Number(process.env.MESH_FAULT_SEED ?? 20_261_124);
  test(
    `X1 X31 ${RUNS} kills at any moment (seed ${seed}), each worker started again: each result once, in order`,
    async () => {
      const random = randomOf(seed);
      await using mesh = await TestMesh.start({ config: patient });
      const script = `import { pool, self } from "mesh"; ${prelude}
let count = 0, wrong = 0;
const source = (async function* () { for (let i = 0; !existsSync(file("enough")); i++) yield i; })();
for await (const [i, node] of pool().imap(async (i: number) => { await Bun.sleep(i % 7); return [i, self.node] as const; }, source, { retries: 1000 })) {
  if (i !== count++) wrong++;
  note("done", node);
}
out({ wrong, count });`;
      await using run = mesh.start(script, { limitMs: 20_000 + RUNS * 5_000 });
      for (let i = 0; i < RUNS; i++) {
        const name = random() < 0.5 ? "w1" : "w2";
        const before = noted(mesh.folder, "done").filter((node) => node === name).length;
        const wanted = before + 1 + Math.floor(random() * 40);
        const works = () => noted(mesh.folder, "done").filter((node) => node === name).length >= wanted;
        await until(works, { what: `run ${i} of seed ${seed}: work of ${name}` });
        const worker = mesh.worker(name);
        worker.signal("SIGKILL");
        await worker.ended();
        await mesh.startWorker(name); // under the same name: the coordinator has noticed
      }
      open(mesh.folder, "enough");
      const { stdout, stderr, status } = await run.ended();
      expect(status, stderr).toBe(0);
      const { wrong, count } = JSON.parse(stdout) as { wrong: number; count: number };
      expect([wrong, count], `seed ${seed}`).toEqual([0, noted(mesh.folder, "done").length]);
      expect(stderr.match(/goes on without it/g)?.length).toBeGreaterThanOrEqual(RUNS);
    },
    40_000 + RUNS * 5_000,
  );
});

describe("X2 a worker is stopped (SIGSTOP)", () => {
  test("X2 for less than downAfter: nothing happens, each item runs once", async () => {
    await using mesh = await TestMesh.start({ config: patient });
    const script = `import { pool, self } from "mesh"; ${prelude}
out(await pool().map(async (i: number) => { note("begun", i + " " + self.node); if (i < 2) await gate("go on"); return i; }, Array.from({ length: 40 }, (_, i) => i), { chunkSize: 1 }));`;
    await using run = mesh.start(script);
    await whenNoted(mesh.folder, "begun", 2);
    const { pid } = mesh.worker("w1");
    kill(pid, "SIGSTOP");
    open(mesh.folder, "go on");
    await whenNoted(mesh.folder, "begun", 20); // the other one goes on
    await mesh.status();
    kill(pid, "SIGCONT");
    const { stdout, stderr, status } = await run.ended();
    expect([status, JSON.parse(stdout), stderr]).toEqual([0, Array.from({ length: 40 }, (_, i) => i), ""]);
    expect(noted(mesh.folder, "begun")).toHaveLength(40);
    expect((await mesh.status()).nodes.filter(({ state }) => state !== "up")).toEqual([]);
  });

  test("X2 X33 for longer: it is down, its items run elsewhere, its late results are dropped; it comes back and serves", async () => {
    await using mesh = await TestMesh.start({ config: hasty });
    const script = `import { onNode, pool, self } from "mesh"; ${prelude}
onNode(({ event, node }) => note("events", event + " " + node.name));
const work = async (i: number) => {
  note("begun", i + " " + self.node);
  if (self.node === "w1") { await gate("late"); note("late result", i); return [i, "late"]; }
  await gate("w1 works");
  return [i, self.node];
};
const results = await pool().map(work, [0, 1, 2, 3, 4, 5], { chunkSize: 1 });
note("results", JSON.stringify(results));
await gate("end");
out([results, await pool({ hosts: "w1" }).submit(() => self.node)]);`;
    await using run = mesh.start(script, { limitMs: 25_000 });
    await until(() => noted(mesh.folder, "begun").some((line) => line.endsWith("w1")), { what: "work of w1" });
    open(mesh.folder, "w1 works");
    const { pid } = mesh.worker("w1");
    kill(pid, "SIGSTOP");
    open(mesh.folder, "late"); // its slot answers; its node cannot pass it on
    await whenNoted(mesh.folder, "late result");
    await whenNoted(mesh.folder, "results");
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    kill(pid, "SIGCONT");
    await mesh.nodeIs("w1", (node) => node?.state === "up");
    await until(() => noted(mesh.folder, "events").includes("online w1"), { what: "the job to hear of it" });
    open(mesh.folder, "end");
    const { stdout, stderr, status } = await run.ended();
    const all = [0, 1, 2, 3, 4, 5].map((i) => [i, "w2"]);
    expect([status, JSON.parse(stdout)], stderr).toEqual([0, [all, "w1"]]);
    expect(noted(mesh.folder, "events")).toEqual(["offline w1", "online w1"]);
  });
});
