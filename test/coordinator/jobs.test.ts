import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { JobStore } from "../../core/coordinator/job-store.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { until } from "../support/until.ts";
import { rejection, START, settled, submitBody, TestCoordinator, type TestNode, tempFolder } from "./support.ts";

const jobsOf = (asker: TestNode) =>
  asker.ask<{ jobs: JobRecord[] }>(MessageType.jobs, {}).then(({ jobs }) => jobs.map(summary));
const summary = ({ job, state, exitCode, cause }: JobRecord) => ({ job, state, exitCode, cause });

describe("Coordinator: jobs", () => {
  it("numbers them from 1, and tells how each ended", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const heads = [
      await mesh.join("run-1", "head"),
      await mesh.join("run-2", "head"),
      await mesh.join("run-3", "head"),
    ];
    expect(await Promise.all(heads.map((head) => head.begin()))).toEqual([{ job: 1 }, { job: 2 }, { job: 3 }]);
    mesh.clock.advance(5_000);
    await heads[0]!.ask(MessageType.endJob, { exitCode: 0, nodes: ["gpu1", "gpu2"] });
    await heads[1]!.ask(MessageType.endJob, { exitCode: 3, cause: "the script threw" });
    await heads[2]!.ask(MessageType.endJob, { exitCode: 130, killed: true });
    expect(await jobsOf(user)).toEqual([
      { job: 3, state: "killed", exitCode: 130, cause: null },
      { job: 2, state: "failed", exitCode: 3, cause: "the script threw" },
      { job: 1, state: "done", exitCode: 0, cause: null },
    ]);
    const { jobs } = await user.ask<{ jobs: JobRecord[] }>(MessageType.jobs, { limit: 3 });
    expect(jobs[2]).toMatchObject({ endedAt: START + 5_000, nodes: ["gpu1", "gpu2"], head: { name: "run-1" } });
    expect(await user.ask<{ jobs: JobRecord[] }>(MessageType.jobs, { limit: 1 })).toMatchObject({ jobs: [{ job: 3 }] });
    expect(mesh.coordinator.status.jobs).toEqual([]);
  });

  it("a head that asks twice has one job; one that ends none is told so", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const head = await mesh.join("run-1", "head");
    expect((await rejection(head.ask(MessageType.endJob, { exitCode: 0 }))).code).toBe("PROTOCOL");
    expect([await head.begin(), await head.begin()]).toEqual([{ job: 1 }, { job: 1 }]);
  });

  it("X12: a head's clock is not asked: both ends of a job are by the coordinator's", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const head = await mesh.join("run-1", "head");
    await head.begin({ startedAt: START + 3_600_000 });
    expect(mesh.coordinator.status.jobs).toMatchObject([{ startedAt: START }]);
  });

  it("no job is refused for its words: they are cut, and steer no terminal", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const head = await mesh.join("run-1", "head");
    expect(await head.begin({ name: "a\u001b[2Jb", script: "/x".repeat(5_000) })).toEqual({ job: 1 });
    const [running] = mesh.coordinator.status.jobs;
    expect([running?.name, running?.script.length]).toEqual(["a\ufffd[2Jb", 4_096]);
    await head.ask(MessageType.endJob, { exitCode: 1, cause: `two\nlines\u0007${"!".repeat(9_000)}` });
    expect((await jobsOf(user))[0]?.cause).toMatch(/^two\nlines\ufffd!{4086}$/);
  });

  it("X33: the first end counts; what comes again, late or from another head changes nothing", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const [head, other] = [await mesh.join("run-1", "head"), await mesh.join("run-2", "head")];
    await head.begin();
    await other.begin();
    await head.ask(MessageType.endJob, { exitCode: 0 });
    expect(await head.ask(MessageType.endJob, { exitCode: 1, cause: "again" })).toEqual({ job: 1 });
    await other.ask(MessageType.endJob, { job: 1, exitCode: 2 });
    expect(await jobsOf(user)).toMatchObject([
      { job: 2, state: "failed", exitCode: 2 },
      { job: 1, state: "done", exitCode: 0 },
    ]);
  });

  it("F16: a head that is back within the lease keeps its job; one that is not loses it, with the cause", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const head = await mesh.join("run-1", "head");
    await head.begin();
    head.crash();
    await settled();
    mesh.clock.advance(9_999);
    mesh.connect(head);
    mesh.clock.advance(60_000);
    expect(await head.begin({ job: 1 })).toEqual({ job: 1 });
    head.crash();
    await settled();
    mesh.clock.advance(10_000);
    expect(await jobsOf(user)).toMatchObject([
      { job: 1, state: "lost", cause: expect.stringMatching(/its head, run-1, went away: .*it crashed/) },
    ]);
  });

  it("a head that goes on purpose without a word: lost after the lease, too", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path, leaseMs: 100 });
    const user = await mesh.join("ann", "client");
    const head = await mesh.join("run-1", "head");
    await head.begin();
    head.leave();
    await settled();
    mesh.clock.advance(100);
    expect((await jobsOf(user))[0]).toMatchObject({
      state: "lost",
      cause: "its head, run-1, went away without a word of the job",
    });
  });

  it("X33: a job given up too early is running again when its head is back, and its late end is the true one", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const [first, second] = [await mesh.join("run-1", "head"), await mesh.join("run-2", "head")];
    for (const head of [first, second]) {
      await head.begin();
      head.crash();
    }
    await settled();
    mesh.clock.advance(10_000);
    expect((await jobsOf(user)).map(({ state }) => state)).toEqual(["lost", "lost"]);
    mesh.connect(first);
    mesh.connect(second);
    expect(await first.begin({ job: 1 })).toEqual({ job: 1 });
    expect(mesh.coordinator.status.jobs.map(({ job, state }) => [job, state])).toEqual([[1, "running"]]);
    await second.ask(MessageType.endJob, { exitCode: 4 });
    expect((await jobsOf(user)).map(({ state }) => state)).toEqual(["failed", "running"]);
  });

  it("a head cannot take another's job by its number: it gets one of its own", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [head, thief] = [await mesh.join("run-1", "head"), await mesh.join("run-2", "head")];
    await head.begin();
    expect(await thief.begin({ job: 1 })).toEqual({ job: 2 });
    const late = await mesh.join("run-3", "head");
    expect(await late.begin({ job: 10_000_000 })).toEqual({ job: 3 });
    expect(mesh.coordinator.status.jobs.map(({ job, head: { name } }) => [job, name])).toEqual([
      [1, "run-1"],
      [2, "run-2"],
      [3, "run-3"],
    ]);
  });

  it("unknown jobs: the nearest name, or the last number", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const kill = (job: unknown) => rejection(user.ask(MessageType.killJob, { job }));
    expect((await kill(3)).message).toBe("there is no job 3: none has run yet; mesh jobs lists them");
    const head = await mesh.join("run-1", "head");
    await head.begin();
    expect(await kill("prims")).toMatchObject({
      code: "USAGE",
      message: 'there is no job "prims"; did you mean "primes"?',
    });
    expect((await kill(3)).message).toBe("there is no job 3: the last one is 1; mesh jobs lists them");
  });
});

describe("Coordinator: restart", () => {
  it("X3, F16: nodes register again and everything is as it was; running jobs go on under their numbers", async () => {
    using folder = tempFolder();
    const before = new TestCoordinator({ folder: folder.path });
    const [worker, head] = [await before.join("gpu1"), await before.join("run-1", "head")];
    await head.begin();
    before.clock.advance(50);
    await settled();
    await before.coordinator.close(); // as for the folder; nodes hear nothing of it

    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    expect(after.coordinator.status.jobs).toMatchObject([{ job: 1, state: "running" }]);
    after.connect(head);
    await head.register();
    await settled();
    expect(head.names).toEqual(["coordinator", "gpu1", "run-1"]); // gpu1 is not back, and not gone either
    after.connect(worker);
    await worker.register();
    expect(await head.begin({ job: 1 })).toEqual({ job: 1 });
    after.clock.advance(60_000);
    await settled();
    expect(after.names).toEqual(["coordinator", "gpu1", "run-1"]);
    expect(head.names).toEqual(["coordinator", "gpu1", "run-1"]);
    await head.ask(MessageType.endJob, { exitCode: 0 });
    const next = await after.join("run-2", "head");
    expect(await next.begin()).toEqual({ job: 2 });
    const user = await after.join("ann", "client");
    expect((await jobsOf(user)).map(({ state }) => state)).toEqual(["running", "done"]);
  });

  it("X3: a job whose head does not come back within 15 s is lost; a node that does not, is gone", async () => {
    using folder = tempFolder();
    const before = new TestCoordinator({ folder: folder.path });
    const worker = await before.join("gpu1");
    await before.join("gpu2");
    await (await before.join("run-1", "head")).begin();
    before.clock.advance(50);
    await settled();
    await before.coordinator.close();

    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    after.connect(worker);
    await worker.register();
    const user = await after.join("ann", "client");
    after.clock.advance(14_999);
    await settled();
    expect(worker.names).toEqual(["coordinator", "gpu1", "gpu2", "run-1"]);
    expect((await jobsOf(user))[0]?.state).toBe("running");
    after.clock.advance(1);
    await settled();
    expect(worker.names).toEqual(["coordinator", "gpu1"]);
    expect(await jobsOf(user)).toEqual([
      {
        ...{ job: 1, state: "lost", exitCode: null },
        cause: "its head did not come back after the coordinator's restart",
      },
    ]);
  });

  it("another process of the same name cannot take the job over", async () => {
    using folder = tempFolder();
    const before = new TestCoordinator({ folder: folder.path });
    await (await before.join("run-1", "head")).begin();
    await before.coordinator.close();
    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    const namesake = await after.join("run-1", "head");
    expect(await namesake.begin({ job: 1 })).toEqual({ job: 2 });
  });
});

describe("Coordinator: history", () => {
  it("keeps the last 1,000 jobs and those that run; logs go with their jobs", async () => {
    using folder = tempFolder();
    const mesh = new TestCoordinator({ folder: folder.path });
    const [first, second] = [await mesh.join("run-1", "head"), await mesh.join("run-2", "head")];
    await first.begin();
    await second.begin();
    await second.print("gone with its job\n");
    await second.ask(MessageType.endJob, { exitCode: 0 });
    const running = mesh.coordinator.status.jobs[0]!;
    const log = join(folder.path, "logs", "2");
    await mesh.coordinator.close();
    const store = new JobStore(join(folder.path, "jobs.sqlite"));
    for (let job = 3; job <= 1_002; job++) store.save({ ...running, job, state: "done" });
    store.close();

    await using again = new TestCoordinator({ folder: folder.path }, mesh.clock, 17);
    const user = await again.join("ann", "client");
    again.connect(first);
    await first.begin({ job: 1 });
    const list = async () => {
      const { jobs } = await user.ask<{ jobs: JobRecord[] }>(MessageType.jobs, { limit: 1_000 });
      return [jobs.length, jobs[0]?.job, jobs.at(-1)?.job];
    };
    expect(existsSync(log)).toBe(true);
    const next = await again.join("run-3", "head");
    await next.begin();
    await next.ask(MessageType.endJob, { exitCode: 0 });
    expect(await list()).toEqual([1_000, 1_003, 4]);
    await until(() => !existsSync(log), { what: "the log to be removed" });
    expect((await rejection(user.ask(MessageType.logs, { job: 2, reader: 1, follow: false }))).code).toBe("USAGE");
    expect(again.coordinator.status.jobs.map(({ job }) => job)).toEqual([1]);
    await first.ask(MessageType.endJob, { exitCode: 0 });
    expect((await rejection(user.ask(MessageType.logs, { job: 1, reader: 1, follow: false }))).code).toBe("USAGE");
  });

  it("X13: a history that cannot be written touches no job: it is written when it can be", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const [head, next] = [await mesh.join("run-1", "head"), await mesh.join("run-2", "head")];
    const other = new Database(join(folder.path, "jobs.sqlite"));
    other.run("BEGIN IMMEDIATE"); // nobody else can write now
    const { job, warning } = await head.begin();
    expect(job).toBe(1);
    expect(warning).toMatch(/cannot write the history of jobs, .*jobs\.sqlite: .*; the job goes on/);
    expect(await next.begin()).toMatchObject({ job: 2 });
    await head.ask(MessageType.endJob, { exitCode: 0 });
    expect(await rejection(user.ask(MessageType.submitJob, submitBody))).toMatchObject({ code: "STORAGE" });
    const expected = [
      { job: 2, state: "running" },
      { job: 1, state: "done" },
    ];
    expect(await jobsOf(user)).toMatchObject(expected);
    expect(other.query("SELECT * FROM jobs").all()).toEqual([]);
    other.run("ROLLBACK");
    mesh.clock.advance(5_000);
    expect(other.query("SELECT job, state FROM jobs ORDER BY job DESC").all()).toEqual(expected);
    other.close();
  });

  it("X13: a head brings back the number that could not be written down before a restart", async () => {
    using folder = tempFolder();
    const before = new TestCoordinator({ folder: folder.path });
    const [first, head] = [await before.join("run-1", "head"), await before.join("run-2", "head")];
    await first.begin();
    const other = new Database(join(folder.path, "jobs.sqlite"));
    other.run("BEGIN IMMEDIATE");
    expect(await head.begin()).toMatchObject({ job: 2, warning: expect.any(String) });
    await before.coordinator.close();
    other.close();
    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    after.connect(head);
    expect(await head.begin({ job: 2 })).toEqual({ job: 2 });
    expect(await (await after.join("run-3", "head")).begin()).toEqual({ job: 3 });
  });
});
