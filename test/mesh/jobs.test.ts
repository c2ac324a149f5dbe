// Jobs on a mesh of real processes: where they run, what is told of them, and what is left.
import { describe, expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("mesh run on workers", () => {
  test("F16 F35 items run on the slots of all workers, the script beside its head; errors come back as themselves", async () => {
    await using mesh = await TestMesh.start();
    const script = `import { pool, self, taskOf } from "mesh"; ${out}
const k = 2;
const places = await pool().map(async (i: number) => { await Bun.sleep(5); return [i * k, self.node]; }, Array.from({ length: 40 }, (_, i) => i));
const error = await pool().map((i: number) => { if (i === 3) throw new RangeError("odd " + i); return i; }, [1, 2, 3]).catch((e) => [e.constructor.name, e.message, taskOf(e)?.item]);
out([places.map(([v]) => v), [...new Set(places.map(([, n]) => n))].sort(), self.node.startsWith("run-"), error]);`;
    const [values, nodes, isHead, error] = (await mesh.resultOf(script)) as [number[], string[], boolean, unknown[]];
    expect(values).toEqual(Array.from({ length: 40 }, (_, i) => i * 2));
    expect(nodes).toEqual(["w1", "w2"]);
    expect(isHead).toBe(true);
    expect(error).toEqual(["RangeError", "odd 3", 2]);
  });

  test("F42 pools choose hosts by name, pattern and tag; apply runs once on every slot", async () => {
    await using mesh = await TestMesh.start({ workers: { gpu1: 1 } });
    await mesh.startWorker("cpu1", ["--slots", "2", "--tag", "big"]);
    const script = `import { pool, self } from "mesh"; ${out}
const where = () => self.node + "/" + self.slot;
const unknown = await Promise.resolve().then(() => pool({ hosts: "gpu9" }).submit(where)).catch((e) => [e.code, e.message]);
out([await pool({ hosts: "gpu*" }).apply(where), await pool({ tags: ["big"] }).apply(where), (await pool().apply(where)).sort(), unknown]);`;
    expect(await mesh.resultOf(script)).toEqual([
      ["gpu1/1"],
      ["cpu1/1", "cpu1/2"],
      ["cpu1/1", "cpu1/2", "gpu1/1"],
      ["USAGE", expect.stringContaining("gpu1")],
    ]);
  });

  test("F43 F95 two jobs share no slot, and nothing of a job is left on its workers", async () => {
    await using mesh = await TestMesh.start();
    const script = (mark: string) => `import { pool } from "mesh"; ${out}
out(await pool().apply(() => { const seen = (globalThis as any).mark; (globalThis as any).mark = "${mark}"; return [process.pid, seen ?? null]; }));`;
    const first = (await mesh.resultOf(script("a"))) as [number, unknown][];
    const second = (await mesh.resultOf(script("b"))) as [number, unknown][];
    expect([...first, ...second].map(([, seen]) => seen)).toEqual([null, null, null, null]);
    expect(new Set([...first, ...second].map(([pid]) => pid)).size).toBe(4);
    for (const worker of mesh.workers.values()) {
      expect(worker.processes.filter(({ command }) => command[1] === "slot")).toEqual([]);
    }
  });

  test("F82 F77 F78 a detached job goes on without its terminal; attach, logs and jobs tell of it", async () => {
    await using mesh = await TestMesh.start();
    mesh.folder.write({
      "job.ts": `import { pool } from "mesh";
console.log("begun");
const sum = (await pool().map((i: number) => { console.log("item " + i); return i; }, [1, 2, 3])).reduce((a, b) => a + b);
console.log("sum " + sum);
process.exitCode = 7;`,
    });
    const submitted = await mesh.mesh(["run", "-d", "job.ts"]);
    expect([submitted.status, submitted.stdout]).toEqual([0, "1\n"]);
    const attached = await mesh.mesh(["attach", "1"]);
    expect(attached.status).toBe(7);
    for (const line of ["begun", "item 1", "item 2", "item 3", "sum 6"]) expect(attached.stdout).toContain(`${line}\n`);
    const logs = await mesh.mesh(["logs", "1", "--slot", "0"]);
    expect(logs.stdout).toBe("begun\nsum 6\n");
    const jobs = JSON.parse((await mesh.mesh(["jobs", "--json"])).stdout) as {
      jobs: { job: number; state: string; exitCode: number }[];
    };
    expect(jobs.jobs).toEqual([expect.objectContaining({ job: 1, state: "failed", exitCode: 7, detached: true })]);
  });
});
