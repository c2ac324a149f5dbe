// A disk that is really full: a small tmpfs, which only root may mount. Elsewhere jobs.test.ts and job-logs.test.ts make
// writes fail in other ways.
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { JobRecord, LogLines } from "../../core/coordinator/answers.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { until } from "../support/until.ts";
import { rejection, submitBody, TestCoordinator, tempFolder } from "./support.ts";

const disk = tempFolder();
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", disk.path], {
  encoding: "utf8",
});
const canMount = mounted.status === 0;
if (!canMount) console.log(`skipped: no tmpfs can be mounted here: ${mounted.stderr ?? mounted.error?.message}`);

afterAll(() => {
  if (canMount) spawnSync("umount", ["-l", disk.path]);
  disk[Symbol.dispose]();
});

/** Takes all room there is. */
function fill(): Disposable {
  const path = join(disk.path, "filler");
  for (let size = 65_536; size >= 1; ) {
    try {
      appendFileSync(path, Buffer.alloc(size));
    } catch {
      size = Math.floor(size / 2);
    }
  }
  return { [Symbol.dispose]: () => rmSync(path) };
}

describe.skipIf(!canMount)("Coordinator on a full disk", () => {
  it("X13: who asks is told, jobs go on, and all of it works again when there is room", async () => {
    chmodSync(disk.path, 0o700);
    const mesh = new TestCoordinator({ folder: disk.path });
    const [head, other, user] = [
      await mesh.join("run-1", "head"),
      await mesh.join("run-2", "head"),
      await mesh.join("ann", "client"),
    ];
    await head.begin();
    await head.print("before\n");
    {
      using _full = fill();
      const noSpace = { code: "STORAGE", message: expect.stringContaining("no space is left on that disk") };
      let begun = await other.begin({ script: "x".repeat(4_000) });
      expect(begun.job).toBe(2);
      // What SQLite had room for in its file is used up first.
      for (let job = 3; begun.warning === undefined && job < 100; job++) {
        await other.ask(MessageType.endJob, { exitCode: 0 });
        begun = await other.begin({ script: "x".repeat(4_000) });
      }
      expect(begun.warning).toMatch(/no space is left on that disk; .*the job goes on/);
      expect(await rejection(head.print("x".repeat(10_000)))).toMatchObject(noSpace);
      expect(await rejection(head.print("x".repeat(10_000)))).toMatchObject(noSpace);
      expect(await rejection(user.ask(MessageType.submitJob, submitBody))).toMatchObject(noSpace);
      expect(mesh.coordinator.status.jobs.map(({ state }) => state)).toEqual(["running", "running"]);
      await head.ask(MessageType.endJob, { exitCode: 0 });
      await head.begin();
    }
    await head.print("after\n");
    await head.ask(MessageType.endJob, { exitCode: 0 });
    mesh.clock.advance(5_000);
    expect(await user.ask(MessageType.submitJob, submitBody)).toMatchObject({ job: expect.any(Number) });
    await other.print("two\n");
    const expected = await user.ask<{ jobs: JobRecord[] }>(MessageType.jobs, {});
    await mesh.coordinator.close();

    await using again = new TestCoordinator({ folder: disk.path });
    const reader = await again.join("bob", "client");
    expect(await reader.ask(MessageType.jobs, {})).toEqual(expected);
    await reader.ask(MessageType.logs, { job: 1, reader: 1, follow: false });
    await until(() => reader.lines.some(({ end }) => end), { what: "the log" });
    expect(reader.text).toBe("before\n");
  });

  it("X13: what could not be logged is told where it is missing", async () => {
    const mesh = new TestCoordinator({ folder: disk.path });
    const [head, user] = [await mesh.join("run-1", "head"), await mesh.join("ann", "client")];
    const { job } = await head.begin();
    await head.print("before\n");
    {
      using _full = fill();
      await rejection(head.print("x".repeat(9_999)));
      await rejection(head.print("y".repeat(10_000)));
    }
    await head.print("after\n");
    await user.ask(MessageType.logs, { job, reader: 1, follow: false });
    await until(() => user.lines.some(({ end }) => end), { what: "the log" });
    const said = user.lines.map(({ records, droppedBytes }: LogLines) => [
      records.map(({ bytes }) => Buffer.from(bytes).toString()).join(""),
      droppedBytes,
    ]);
    expect(said).toEqual([
      ["before\n", undefined],
      ["after\n", 19_999],
      ["", undefined],
    ]);
    await mesh.coordinator.close();
  });
});
