// However a job or one of its processes ends, nothing of the job stays on any host; every test looks at what runs before and after.
import { describe, expect, test } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { kill, type MeshProcess, type ProcessInfo } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

/** Down after a second of silence; a job without its head is given up a second later. */
const hasty = '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\nlease = "1s"\n';

/** Tasks on both workers and the script are busy; all hold children that left them in every way there is. */
const busy = `import { pool, self } from "mesh"; import { spawn } from "node:child_process"; ${prelude}
const leave = () => {
  spawn("sleep", ["321"], { stdio: "ignore" }).unref();
  spawn("sh", ["-c", "(setsid sleep 322 &) ; exit 0"], { stdio: "ignore" });
  spawn("sleep", ["323"], { detached: true, stdio: "ignore" }).unref();
};
const hold = (ms: number) => { const end = performance.now() + ms; while (performance.now() < end); };
leave();
const p = pool();
await p.apply(async () => { leave(); await Bun.sleep(50); note("slots", self.node + " " + process.pid); });
note("script", process.pid);
`;
const waits = "await p.map(async (i: number) => { await gate('go on'); return i; }, [1, 2, 3, 4]);";
const blocks =
  "void p.map(() => { hold(60_000); }, [1, 2]).catch(() => {}); await Bun.sleep(200); note('blocked', 1); hold(60_000);";

const isOfJob = ({ command }: ProcessInfo) =>
  /^(sleep|sh)$/.test(command[0] ?? "") || /^(slot|head|run)$/.test(command[1] ?? "");
const ofJob = (mesh: TestMesh) => mesh.coordinator.processes.filter(isOfJob);
const pidOf = (mesh: TestMesh, role: string) =>
  mesh.coordinator.processes.find(({ command }) => command[1] === role)!.pid;

interface Busy extends AsyncDisposable {
  mesh: TestMesh;
  run: MeshProcess;
  /** Process ids of the slots, by their workers. */
  slots: Map<string, number>;
}

async function start(rest: string, config?: string): Promise<Busy> {
  const mesh = await TestMesh.start(config === undefined ? {} : { config });
  const run = mesh.start(busy + rest, { limitMs: 25_000 });
  await whenNoted(mesh.folder, "script");
  if (rest === blocks) await whenNoted(mesh.folder, "blocked");
  const slots = new Map(noted(mesh.folder, "slots").map((line) => [line.split(" ")[0]!, Number(line.split(" ")[1])]));
  await until(() => ofJob(mesh).length === 2 + 3 + 9, { what: "mesh run, head, three slots and nine children" });
  const end = async () => {
    await run[Symbol.asyncDispose]();
    await mesh[Symbol.asyncDispose]();
  };
  return { mesh, run, slots, [Symbol.asyncDispose]: end };
}

const gone = (mesh: TestMesh) =>
  until(() => ofJob(mesh).length === 0, { what: "nothing of the job to be left", timeoutMs: 3_000 });

async function lastJob(mesh: TestMesh): Promise<JobRecord> {
  return (JSON.parse((await mesh.mesh(["jobs", "--json"])).stdout) as { jobs: JobRecord[] }).jobs[0]!;
}

async function jobBecomes(mesh: TestMesh, state: string): Promise<JobRecord> {
  await until(async () => (await lastJob(mesh)).state === state, { what: `the job to be ${state}` });
  return await lastJob(mesh);
}

/** The mesh is as before the job: all nodes up, and a job runs on all slots. */
async function serves(mesh: TestMesh): Promise<void> {
  expect(
    await mesh.resultOf(
      `import { pool, self } from "mesh"; console.log(JSON.stringify(await pool().apply(() => self.node)))`,
    ),
  ).toEqual([...mesh.workers.keys()]);
}

describe("X26 F95 the end of mesh run", () => {
  test.each([
    ["SIGINT", 130, waits],
    ["SIGTERM", 143, waits],
    ["SIGHUP", 129, waits],
    ["SIGINT", 130, blocks],
  ] as const)(
    "X26 F95 X38 %s: status %i, and when it returns nothing is left on any host",
    async (signal, status, rest) => {
      await using job = await start(rest);
      const { mesh, run } = job;
      run.signal(signal);
      expect((await run.ended()).status).toBe(status);
      expect(ofJob(mesh)).toEqual([]);
      expect(await lastJob(mesh)).toMatchObject({ state: "killed", cause: `stopped by ${signal}` });
      await serves(mesh);
    },
  );

  test("X26 F95 kill -9 of mesh run: its head ends the job everywhere and says why", async () => {
    await using job = await start(blocks);
    const { mesh, run } = job;
    run.signal("SIGKILL");
    await run.ended();
    await gone(mesh);
    expect(await jobBecomes(mesh, "killed")).toMatchObject({ cause: "its terminal is gone" });
    await serves(mesh);
  });

  test.each([
    ["waits", waits],
    ["holds its loop", blocks],
  ])("X26 F95 kill -9 of the head, while all %s: workers end its slots, mesh run says so", async (_, rest) => {
    await using job = await start(rest, hasty);
    const { mesh, run } = job;
    kill(pidOf(mesh, "head"), "SIGKILL");
    const { status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([5, expect.stringContaining("the head of the job was ended by SIGKILL")]);
    await gone(mesh);
    expect((await jobBecomes(mesh, "lost")).cause).toMatch(/its head, run-\w+, went away/);
    await serves(mesh);
  });

  test("X26 kill -9 of the script's own process", async () => {
    await using job = await start(waits);
    const { mesh, run } = job;
    kill(Number(noted(mesh.folder, "script")[0]), "SIGKILL");
    const { status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([137, expect.stringContaining("the script was ended by SIGKILL")]);
    expect(ofJob(mesh)).toEqual([]);
    expect(await lastJob(mesh)).toMatchObject({
      state: "failed",
      exitCode: 137,
      cause: expect.stringContaining("SIGKILL"),
    });
  });
});

describe("X26 the end of others, while a job uses them", () => {
  test("X26 X27 kill -9 of a slot on a worker: what its task had started is gone, daemons too; another takes its place", async () => {
    await using job = await start(waits);
    const { mesh, run, slots } = job;
    kill(slots.get("w1")!, "SIGKILL");
    const sleeps = () => ofJob(mesh).filter(({ command }) => command[0] === "sleep").length;
    await until(() => sleeps() === 6, { what: "the children of one slot to be gone", timeoutMs: 3_000 });
    await until(() => run.inRole("slot").length === 3, { what: "another slot" });
    open(mesh.folder, "go on");
    const { status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([
      0,
      expect.stringMatching(/^mesh: slot w1\/1 was ended by SIGKILL \(not sent by mesh\); another takes its place\n$/),
    ]);
    expect(ofJob(mesh)).toEqual([]);
  });

  test.each(["SIGTERM", "SIGINT", "SIGKILL"] as const)(
    "X26 F18 %s of a worker: nothing of it is left, the job goes on elsewhere",
    async (signal) => {
      await using job = await start(waits);
      const { mesh, run } = job;
      const worker = mesh.worker("w1");
      worker.signal(signal);
      const { status, signal: by } = await worker.ended();
      expect(by ?? status).toBe(signal === "SIGKILL" ? "SIGKILL" : 0);
      await until(() => ofJob(mesh).length === 2 + 2 + 6, {
        what: "its slot and its children to be gone",
        timeoutMs: 3_000,
      });
      open(mesh.folder, "go on");
      expect((await run.ended()).status).toBe(0);
      expect(ofJob(mesh)).toEqual([]);
      await until(() => mesh.folder.runFolders().length === 1, { what: "its run folder to be gone", timeoutMs: 3_000 });
    },
  );

  test("X26 SIGTERM of the coordinator: it ends, the job does not notice", async () => {
    await using job = await start(waits);
    const { mesh, run } = job;
    mesh.coordinator.signal("SIGTERM");
    expect((await mesh.coordinator.ended()).status).toBe(0);
    expect(ofJob(mesh)).toHaveLength(14);
    open(mesh.folder, "go on");
    expect((await run.ended()).status).toBe(0);
    expect(ofJob(mesh)).toEqual([]);
  });

  test("F78 F95 mesh kill of the job returns when nothing of it is left; mesh kill of a worker when that is gone", async () => {
    await using job = await start(waits);
    const { mesh, run } = job;
    const killed = await mesh.mesh(["kill", "1"]);
    expect([killed.status, killed.stdout]).toEqual([0, expect.stringMatching(/^job 1 \(job\.ts\): killed/)]);
    expect(ofJob(mesh).filter(({ command }) => command[1] !== "head" && command[1] !== "run")).toEqual([]);
    expect((await run.ended()).stderr).toContain("killed by a command");
    expect((await mesh.mesh(["kill", "w1"])).status).toBe(0);
    expect((await mesh.worker("w1").ended()).status).toBe(0);
    await mesh.startWorker("w1");
  });
});

describe("X38 user code that holds its loop for longer than downAfter", () => {
  test("X38 heartbeats flow: nobody is taken for dead, each item runs once", async () => {
    await using mesh = await TestMesh.start({ config: hasty });
    const script = `import { pool } from "mesh"; ${prelude}
const hold = (ms: number) => { note("holds", process.pid); const end = performance.now() + ms; while (performance.now() < end); return process.pid; };
const both = pool().map(() => hold(3_000), [1, 2]);
await Bun.sleep(100);
hold(3_000);
out(new Set(await both).size);`;
    await using run = mesh.start(script);
    await whenNoted(mesh.folder, "holds", 3);
    expect((await mesh.status()).nodes.filter(({ state }) => state !== "up")).toEqual([]);
    const { status, stdout, stderr } = await run.ended();
    expect([status, stdout, stderr]).toEqual([0, "2\n", ""]);
    expect(noted(mesh.folder, "holds")).toHaveLength(3);
  });
});

describe("X41 the machine of the head stands still for longer than the lease", () => {
  test("X41 F95 an attached job is over, nothing of it is left on the workers; when its head goes on it ends and says why", async () => {
    await using job = await start(waits, hasty);
    const { mesh, run } = job;
    const stopped = [
      pidOf(mesh, "head"),
      run.pid,
      ...ofJob(mesh)
        .map(({ pid }) => pid)
        .filter((pid) => pid === Number(noted(mesh.folder, "script")[0])),
    ];
    for (const pid of stopped) kill(pid, "SIGSTOP");
    await until(() => ofJob(mesh).length === 2 + 1 + 3, { what: "the slots on workers to be gone", timeoutMs: 5_000 });
    expect((await jobBecomes(mesh, "lost")).cause).toMatch(/its head, run-\w+, went away: .*did not answer for 1 s/);
    for (const pid of stopped) kill(pid, "SIGCONT");
    const { stderr, status } = await run.ended();
    expect([status, stderr]).toEqual([
      137,
      expect.stringMatching(/stood still for \d+ s; after 1 s the mesh has given the job up/),
    ]);
    expect(ofJob(mesh)).toEqual([]);
    expect(["lost", "killed"]).toContain((await lastJob(mesh)).state);
    await serves(mesh);
  });

  test("X41 F82 a detached job goes on while who watches it stands still", async () => {
    await using mesh = await TestMesh.start({
      config: hasty,
      files: { "job.ts": `${busy}${waits}console.log("over");` },
    });
    await mesh.mesh(["run", "-d", "job.ts"]);
    await using watcher = mesh.command(["attach", "1"]);
    await whenNoted(mesh.folder, "script");
    await mesh.nodeIs("w1", (node) => node?.used === 1);
    kill(watcher.pid, "SIGSTOP");
    open(mesh.folder, "go on");
    expect(await jobBecomes(mesh, "done")).toMatchObject({ exitCode: 0 });
    await gone(mesh);
    kill(watcher.pid, "SIGCONT");
    await watcher.ended();
    expect((await mesh.mesh(["attach", "1"])).stdout).toBe("over\n");
  });

  test("X41 F82 a detached job whose own head stands still goes on afterwards: what ran on workers runs anew", async () => {
    await using mesh = await TestMesh.start({ config: hasty });
    mesh.folder.write({ "job.ts": `${busy}${waits}console.log("over");` });
    await mesh.mesh(["run", "-d", "job.ts"]);
    await whenNoted(mesh.folder, "script");
    const stopped = [pidOf(mesh, "head"), Number(noted(mesh.folder, "script")[0])];
    for (const pid of stopped) kill(pid, "SIGSTOP");
    await jobBecomes(mesh, "lost");
    await until(() => ofJob(mesh).length === 1 + 1 + 3, { what: "the slots on workers to be gone", timeoutMs: 5_000 });
    for (const pid of stopped) kill(pid, "SIGCONT");
    await jobBecomes(mesh, "running");
    open(mesh.folder, "go on");
    expect(await jobBecomes(mesh, "done")).toMatchObject({ job: 1, exitCode: 0 });
    await gone(mesh);
  });
});
