import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import type { DetachedJob } from "../../core/coordinator/submissions.ts";
import { MeshError } from "../../core/errors.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { until } from "../support/until.ts";
import { rejection, settled, submitBody, TestCoordinator, TestNode, tempFolder } from "./support.ts";

const lastJob = async (user: TestNode) =>
  (await user.ask<{ jobs: JobRecord[] }>(MessageType.jobs, { limit: 1 })).jobs[0];

describe("Coordinator: submitJob", () => {
  it("F82: keeps the code, starts a head, and the job runs without who submitted it; its end and log are kept", async () => {
    using folder = tempFolder();
    const started: [string, DetachedJob][] = [];
    await using mesh = new TestCoordinator({
      folder: folder.path,
      startDetached: async (at, job) => {
        started.push([at, job]);
        return {};
      },
    });
    const user = await mesh.join("ann", "client");
    expect(await user.ask(MessageType.submitJob, submitBody)).toEqual({ job: 1 });
    const { driver: _driver, worker: _worker, ...rest } = submitBody;
    const job = { ...rest, job: 1, head: "job-1" };
    const jobFolder = join(folder.path, "jobs", "1");
    expect(started).toEqual([[jobFolder, job]]);
    const files = readdirSync(jobFolder).sort();
    expect(files).toEqual(["driver.js", "job.json", "worker.js"]);
    expect(
      [jobFolder, ...files.map((file) => join(jobFolder, file))].map((path) => statSync(path).mode & 0o777),
    ).toEqual([0o700, 0o600, 0o600, 0o600]);
    expect(readFileSync(join(jobFolder, "driver.js"), "utf8")).toBe("driver code");
    expect(JSON.parse(readFileSync(join(jobFolder, "job.json"), "utf8"))).toEqual(job);

    user.leave();
    const head = await mesh.join("job-1", "head");
    expect(await head.begin({ job: 1, detached: true })).toEqual({ job: 1 });
    mesh.clock.advance(60_000);
    await head.print("found 9\n");
    await head.ask(MessageType.endJob, { exitCode: 0 });
    const reader = await mesh.join("bob", "client");
    expect(await lastJob(reader)).toMatchObject({ job: 1, state: "done", detached: true, user: "ann", exitCode: 0 });
    await reader.ask(MessageType.logs, { job: 1, reader: 1, follow: true });
    await until(() => reader.text === "found 9\n", { what: "the log" });
    await until(() => !existsSync(jobFolder), { what: "the code to be removed" });
  });

  it("F82: the job is given to the head that was started for it, and to no other", async () => {
    using folder = tempFolder();
    const node = 4_000_000_000;
    await using mesh = new TestCoordinator({ folder: folder.path, startDetached: async () => ({ node }) });
    const user = await mesh.join("ann", "client");
    await user.ask(MessageType.submitJob, submitBody);
    const other = await mesh.join("run-7", "head");
    expect(await other.begin({ job: 1 })).toEqual({ job: 2 });
    const namesake = await mesh.join("job-1", "head");
    expect(await namesake.begin({ job: 1 })).toEqual({ job: 3 });
    namesake.leave();
    await settled();
    const head = new TestNode("job-1", "head", node);
    mesh.connect(head);
    await head.register();
    expect(await head.begin({ job: 1, detached: true })).toEqual({ job: 1 });
  });

  it("F82: a head that does not come within 15 s: the job is lost, with the cause", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    await user.ask(MessageType.submitJob, submitBody);
    mesh.clock.advance(15_000);
    expect(await lastJob(user)).toMatchObject({ state: "lost", cause: "its head was started and did not come" });
  });

  it("F82: what cannot be started has failed, and both who asked and the history know why", async () => {
    using folder = tempFolder();
    const failure = new MeshError("UNREACHABLE", "no more processes");
    await using mesh = new TestCoordinator({ folder: folder.path, startDetached: () => Promise.reject(failure) });
    const user = await mesh.join("ann", "client");
    expect(await rejection(user.ask(MessageType.submitJob, submitBody))).toMatchObject({
      code: "UNREACHABLE",
      message: "no more processes",
    });
    expect(await lastJob(user)).toMatchObject({
      ...{ job: 1, state: "failed", cause: "it could not be started: no more processes" },
    });
    await until(() => !existsSync(join(folder.path, "jobs", "1")), { what: "the code to be removed" });
  });

  it("F82, X3: a detached job goes on while the coordinator is away", async () => {
    using folder = tempFolder();
    const before = new TestCoordinator({ folder: folder.path });
    const user = await before.join("ann", "client");
    await user.ask(MessageType.submitJob, submitBody);
    const head = await before.join("job-1", "head");
    await head.begin({ job: 1, detached: true });
    await before.coordinator.close();
    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    expect(existsSync(join(folder.path, "jobs", "1", "worker.js"))).toBe(true);
    after.connect(head);
    expect(await head.begin({ job: 1, detached: true })).toEqual({ job: 1 });
    await head.ask(MessageType.endJob, { exitCode: 0 });
    expect(await lastJob(await after.join("bob", "client"))).toMatchObject({ job: 1, state: "done" });
  });

  it.each([
    ["code that is no bytes", { driver: "text" }],
    ["args that are no list", { args: "a b" }],
    ["half a million slots", { options: { eager: false, slots: 500_000 } }],
    ["a path of 10 KB", { script: "/".repeat(10_000) }],
  ])("bad input: %s", async (_, more) => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const user = await mesh.join("ann", "client");
    const asked = user.ask(MessageType.submitJob, { ...submitBody, ...more });
    expect(await rejection(asked)).toMatchObject({ code: "USAGE" });
    expect(existsSync(join(folder.path, "jobs"))).toBe(false);
    expect(await lastJob(user)).toBeUndefined();
  });
});
