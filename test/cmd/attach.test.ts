import { describe, expect, it } from "vitest";
import * as attach from "../../cmd/operate/attach.ts";
import type { LogLines } from "../../core/coordinator/answers.ts";
import { until } from "../support/until.ts";
import { around, FakeMesh, jobOf, record, run, Screen, type Setting } from "./fake-mesh.ts";

/** A job that prints a line and then ends so; without `end` it runs on. */
function meshOf(end: Partial<LogLines> | undefined, cause: string | null = null): FakeMesh {
  const { state = "done", exitCode = null } = end ?? {};
  const mesh: FakeMesh = new FakeMesh({
    logs: async (_, from) => {
      void mesh
        .lines(from, { records: [record("hello\n")] })
        .then(() => end && mesh.lines(from, { end: true, ...end }))
        .catch(() => {});
      return { job: 7, state: "running" };
    },
    stopLogs: () => {},
    jobs: () => ({ jobs: [jobOf({ job: 7, state, exitCode, cause })] }),
  });
  return mesh;
}

function follow(mesh: FakeMesh, line = ["7"], setting: Setting = {}) {
  const screen = new Screen();
  return { screen, ended: run(attach, ["attach", ...line], around(mesh, screen, setting)) };
}

describe("mesh attach (F82)", () => {
  it("reads from the beginning, and on to the end", async () => {
    const mesh = meshOf({ state: "done", exitCode: 0 });
    const { screen, ended } = follow(mesh);
    await ended;
    expect(screen).toMatchObject({ stdout: "hello\n", stderr: "", status: 0 });
    expect(mesh.asked).toEqual([["logs", { job: 7, reader: 1, follow: true }]]);
    expect(mesh.open).toBe(0);
  });

  it.each([
    [{ state: "failed", exitCode: 42 }, 42, "failed, exit status 42"],
    [{ state: "killed", exitCode: 143 }, 143, "killed, exit status 143"],
    [{ state: "killed", exitCode: null }, 143, "killed"],
    [{ state: "lost", exitCode: null }, 1, "lost"],
    [{ state: "failed", exitCode: -1 }, 1, "failed, exit status -1"],
  ] as const)("ends with the job's own status and says its cause (F84): %j", async (end, status, words) => {
    const { screen, ended } = follow(meshOf(end, "its head was lost"));
    await ended;
    expect(screen.status).toBe(status);
    expect(screen.stderr).toBe(`mesh: job 7 (primes): ${words}: its head was lost\n`);
  });

  it("says how it ended even when the history cannot be asked", async () => {
    const mesh = meshOf({ state: "failed", exitCode: 3 });
    delete mesh.answers.jobs;
    const { screen, ended } = follow(mesh);
    await ended;
    expect(screen).toMatchObject({ status: 3, stderr: "mesh: job 7: failed, exit status 3\n" });
  });

  it("Ctrl-C detaches: says so, ends with 0, kills nothing", async () => {
    const mesh = meshOf(undefined);
    const { screen, ended } = follow(mesh, ["7"], { tty: true });
    await until(() => screen.stdout.includes("hello"), { what: "the line" });
    screen.interrupt.abort("SIGINT");
    await ended;
    expect(screen.status).toBe(0);
    expect(screen.stderr).toBe("mesh: detached; job 7 goes on: `mesh attach 7` comes back, `mesh kill 7` ends it\n");
    await until(() => mesh.asked.length === 2, { what: "the stop" });
    expect(mesh.asked[1]).toEqual(["stopLogs", { reader: 1 }]);
  });

  it("--json (F87): the same lines as logs, and the job's status", async () => {
    const { screen, ended } = follow(meshOf({ state: "failed", exitCode: 9 }), ["7", "--json"]);
    await ended;
    const lines = screen.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([{ line: "hello" }, { end: true, state: "failed", exitCode: 9 }]);
    expect(screen).toMatchObject({ status: 9, stderr: "" });
  });
});
