// A coordinator that is killed, comes back, or may not start, on real processes. Jobs do not notice.
import { expect, test } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

/** Items until there are enough: the script says every hundredth, tasks every thousandth. */
const endless = `import { pool, self } from "mesh"; ${prelude}
const source = (async function* () { for (let i = 0; !existsSync(file("enough")); i++) yield i; })();
const work = (i: number) => { note("ran", i); if (i % 1_000 === 7) console.log("task " + i); return i; };
let count = 0, wrong = 0;
for await (const i of pool().imap(work, source)) {
  if (i !== count++) wrong++;
  if (count % 100 === 0) { console.log("line " + count); note("hundreds", count); }
}
console.log(JSON.stringify({ wrong, count, job: self.job }));`;

async function jobsOf(mesh: TestMesh): Promise<JobRecord[]> {
  const { stdout, stderr, status } = await mesh.mesh(["jobs", "--json"]);
  expect(status, stderr).toBe(0);
  return (JSON.parse(stdout) as { jobs: JobRecord[] }).jobs;
}

async function killCoordinator(mesh: TestMesh): Promise<void> {
  mesh.coordinator.signal("SIGKILL");
  await mesh.coordinator.ended();
}

/** What the endless script must have printed, without its last line. */
function linesOf(count: number): string[] {
  return Array.from({ length: Math.floor(count / 100) }, (_, i) => `line ${(i + 1) * 100}`);
}

test("X3 F16 kill -9 in the middle of thousands of tasks: the job goes on; nodes, job number, history and logs are there again", async () => {
  await using mesh = await TestMesh.start();
  await mesh.resultOf("console.log(1)"); // job 1
  await using run = mesh.start(endless, { limitMs: 28_000 });
  for (let kills = 0; kills < 2; kills++) {
    const before = noted(mesh.folder, "hundreds").length;
    await whenNoted(mesh.folder, "hundreds", before + 3);
    await killCoordinator(mesh);
    const at = noted(mesh.folder, "hundreds").length;
    await whenNoted(mesh.folder, "hundreds", at + 5); // nobody misses it
    await mesh.startCoordinator();
    await until(
      async () => {
        const { nodes, jobs } = await mesh.status();
        const roles = nodes.filter(({ state }) => state === "up").map(({ role }) => role);
        const isBack = ["coordinator", "head", "worker", "worker"].join() === roles.toSorted().join();
        return isBack && jobs.some(({ job, state }) => job === 2 && state === "running");
      },
      { what: "all to be back" },
    );
  }
  open(mesh.folder, "enough");
  const { stdout, stderr, status } = await run.ended();
  expect(status, stderr).toBe(0);
  expect(stderr).not.toMatch(/lost|without it/);
  const { wrong, count, job } = JSON.parse(stdout.trim().split("\n").at(-1)!);
  expect([wrong, job]).toEqual([0, 2]);
  expect(count).toBeGreaterThan(2_000);
  expect(new Set(noted(mesh.folder, "ran")).size).toBe(noted(mesh.folder, "ran").length);

  const logged = (await mesh.mesh(["logs", "2", "--slot", "0"])).stdout.trim().split("\n");
  expect(logged.slice(0, -1)).toEqual(linesOf(count));
  const tasks = (await mesh.mesh(["logs", "2"])).stdout.match(/task \d+/g) ?? [];
  const expected = Array.from({ length: Math.ceil((count - 7) / 1_000) }, (_, i) => `task ${i * 1_000 + 7}`);
  expect(tasks.toSorted()).toEqual(expected.toSorted());

  await mesh.resultOf("console.log(1)");
  const jobs = (await jobsOf(mesh)).map(({ job: number, state }) => [number, state]);
  expect(jobs).toEqual([[3, "done"], [2, "done"], [1, "done"]]); // biome-ignore format: short
});

test("X3 F82 a detached job outlives the coordinator; logs and attach tell all of it afterwards", async () => {
  await using mesh = await TestMesh.start({ files: { "job.ts": endless } });
  expect((await mesh.mesh(["run", "-d", "job.ts"])).stdout).toBe("1\n");
  await whenNoted(mesh.folder, "hundreds", 3);
  await killCoordinator(mesh);
  await whenNoted(mesh.folder, "hundreds", noted(mesh.folder, "hundreds").length + 5);
  await mesh.startCoordinator();
  await until(async () => (await mesh.status()).jobs[0]?.nodes.length === 2, { what: "the head to be back" });
  open(mesh.folder, "enough");
  const attached = await mesh.mesh(["attach", "1"]);
  expect(attached.status).toBe(0);
  const logged = (await mesh.mesh(["logs", "1", "--slot", "0"])).stdout.trim().split("\n");
  const { wrong, count } = JSON.parse(logged.at(-1)!);
  expect([wrong, logged.slice(0, -1)]).toEqual([0, linesOf(count)]);
  for (const line of linesOf(count)) expect(attached.stdout).toContain(`${line}\n`);
  expect((await jobsOf(mesh))[0]).toMatchObject({ job: 1, state: "done", exitCode: 0, detached: true });
});

test("X3 F82 a detached job that ends while the coordinator is away tells its end and its last words when it is back", async () => {
  const script = `${prelude}
console.log("begun"); note("begun", 1); await gate("end"); console.log("last words"); process.exitCode = 3;`;
  await using mesh = await TestMesh.start({ workers: {}, files: { "job.ts": script } });
  expect((await mesh.mesh(["run", "-d", "job.ts"])).stdout).toBe("1\n");
  await whenNoted(mesh.folder, "begun");
  await killCoordinator(mesh);
  open(mesh.folder, "end");
  const slots = () => mesh.coordinator.processes.filter(({ command }) => command[1] === "slot");
  await until(() => slots().length === 0, { what: "the script to end" });
  await mesh.startCoordinator();
  await until(async () => (await jobsOf(mesh))[0]?.state === "failed", { what: "the end of the job to be told" });
  expect((await jobsOf(mesh))[0]).toMatchObject({ exitCode: 3, cause: null });
  expect((await mesh.mesh(["logs", "1"])).stdout).toMatch(/begun\n(.*\n)?.*last words\n/);
  expect((await mesh.mesh(["attach", "1"])).status).toBe(3);
});

test("X3 F77 an attached job that ends before its head has met the coordinator again: history and log are complete", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const script = `${prelude}
for (let i = 0; i < 500; i++) console.log("line " + i);
note("begun", 1); await gate("end"); console.log("last words");`;
  await using run = mesh.start(script);
  await whenNoted(mesh.folder, "begun");
  await killCoordinator(mesh);
  await mesh.startCoordinator();
  open(mesh.folder, "end");
  expect((await run.ended()).status).toBe(0);
  const lines = [...Array.from({ length: 500 }, (_, i) => `line ${i}`), "last words"];
  expect((await mesh.mesh(["logs", "1"])).stdout.trim().split("\n")).toEqual(lines);
  expect((await jobsOf(mesh))[0]).toMatchObject({ job: 1, state: "done", exitCode: 0 });
});

test("a second coordinator of the same state folder does not start, and the first one goes on", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const second = await mesh.mesh(["coordinator", "--listen", "tcp://127.0.0.1:0"]);
  expect([second.status, second.stderr]).toEqual([
    2,
    expect.stringMatching(/coordinator.* already .*mesh kill coordinator$/m),
  ]);
  expect((await mesh.status()).nodes.map(({ name, state }) => [name, state])).toContainEqual(["coordinator", "up"]);
});

test("a port that is taken is said so, with what to do, and nothing is left of the try", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const other = { XDG_STATE_HOME: mesh.folder.at("other") };
  const { status, stderr } = await mesh.mesh(["coordinator", "--listen", mesh.address], { env: other });
  expect([status, stderr]).toEqual([5, expect.stringContaining(mesh.address.slice("tcp://".length))]);
  expect(stderr).toMatch(/in use|taken/);
  expect((await mesh.mesh(["coordinator", "--listen", mesh.address], { env: other })).status).toBe(5);
  const worker = await mesh.mesh(["worker", "--name", "w1", "--listen", mesh.address]);
  expect([worker.status, worker.stderr]).toEqual([5, expect.stringMatching(/in use|taken/)]);
});
