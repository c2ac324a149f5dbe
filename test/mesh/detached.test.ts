// Jobs without a terminal: what is refused, what outlives whom, and what is left when their head is killed.
import { expect, test } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { kill } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { open, prelude, whenNoted } from "./notes.ts";

const hasty = '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\nlease = "500ms"\n';

async function jobsOf(mesh: TestMesh): Promise<JobRecord[]> {
  return (JSON.parse((await mesh.mesh(["jobs", "--json"])).stdout) as { jobs: JobRecord[] }).jobs;
}

const busy = `import { pool, self } from "mesh"; import { spawn } from "node:child_process"; ${prelude}
const leave = () => spawn("sh", ["-c", "setsid sleep 321 &"], { stdio: "ignore" });
leave();
await pool().apply(async () => { leave(); await Bun.sleep(50); console.log("task on " + self.node); note("up", 1); });
console.log("script");
note("script", 1);
await gate("end");
console.log("over");
process.exitCode = 4;`;

test("F82 a script that cannot be built is refused where it was given, and makes no job", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  mesh.folder.write({
    "broken.ts": "const = 5;",
    "stuck.ts": `import { pool } from "mesh"; let n = 0; await pool().map((i: number) => { n = i; }, [1]);`,
  });
  const broken = await mesh.mesh(["run", "-d", "broken.ts"]);
  expect([broken.status, broken.stdout, broken.stderr]).toEqual([2, "", expect.stringContaining("broken.ts:1")]);
  const stuck = await mesh.mesh(["run", "-d", "stuck.ts"]);
  expect([stuck.status, stuck.stdout, stuck.stderr]).toEqual([2, "", expect.stringMatching(/stuck\.ts:1.*\bn\b/s)]);
  const missing = await mesh.mesh(["run", "-d", "missing.ts"]);
  expect([missing.status, missing.stdout, missing.stderr]).toEqual([2, "", expect.stringContaining("missing.ts")]);
  expect(await jobsOf(mesh)).toEqual([]);
});

test("F82 X26 who watches a detached job may go: it ends with its own status, and all it printed is kept", async () => {
  await using mesh = await TestMesh.start({ files: { "job.ts": busy } });
  const submitted = await mesh.mesh(["run", "-d", "job.ts"]);
  expect([submitted.status, submitted.stdout]).toEqual([0, "1\n"]);
  await whenNoted(mesh.folder, "script");
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    await using watcher = mesh.command(["attach", "1"]);
    await watcher.prints("script\n");
    watcher.signal(signal);
    await watcher.ended();
    expect((await mesh.status()).jobs).toEqual([expect.objectContaining({ job: 1, state: "running" })]);
  }
  await using follower = mesh.command(["logs", "-f", "1", "--slot", "0"]);
  await follower.prints("script\n");
  open(mesh.folder, "end");
  expect((await follower.ended()).stdout).toBe("script\nover\n");
  const attached = await mesh.mesh(["attach", "1"]);
  expect([attached.status, attached.stdout.split("\n").toSorted()]).toEqual([
    4,
    ["", "over", "script", "task on w1", "task on w2"],
  ]);
  expect((await jobsOf(mesh))[0]).toMatchObject({
    state: "failed",
    exitCode: 4,
    detached: true,
    nodes: expect.arrayContaining(["w1", "w2"]),
  });
  const left = mesh.coordinator.processes.filter(
    ({ command }) => command[0] === "sleep" || /^(head|slot)$/.test(command[1] ?? ""),
  );
  expect(left).toEqual([]);
});

test("F82 F95 X26 kill -9 of a detached job's head: the job is lost, and nothing of it is left on any host", async () => {
  await using mesh = await TestMesh.start({ config: hasty, files: { "job.ts": busy } });
  expect((await mesh.mesh(["run", "-d", "job.ts"])).stdout).toBe("1\n");
  await whenNoted(mesh.folder, "script");
  const ofJob = () =>
    mesh.coordinator.processes.filter(
      ({ command }) => command[0] === "sleep" || /^(head|slot)$/.test(command[1] ?? ""),
    );
  await until(() => ofJob().length === 1 + 3 + 3, { what: "head, three slots and their daemons" });
  await using watcher = mesh.command(["attach", "1"]);
  await watcher.prints("script\n");
  kill(ofJob().find(({ command }) => command[1] === "head")!.pid, "SIGKILL");
  await until(() => ofJob().length === 0, { what: "nothing of it to be left", timeoutMs: 5_000 });
  const { status, stderr } = await watcher.ended();
  expect([status, stderr]).toEqual([1, expect.stringContaining("job 1 (job.ts): lost: its head, job-1, went away")]);
  expect((await jobsOf(mesh))[0]).toMatchObject({
    state: "lost",
    cause: expect.stringMatching(/its head, job-1, went away/),
  });
});
