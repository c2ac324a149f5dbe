import { describe, expect, it } from "vitest";
import * as jobs from "../../cmd/operate/jobs.ts";
import { around, FakeMesh, jobOf, NOW, run, Screen, type Setting } from "./fake-mesh.ts";

const history = [
  jobOf({ job: 12, nodes: ["gpu1", "gpu2"] }),
  jobOf({ job: 11, state: "killed", exitCode: 143, endedAt: NOW - 65_000, cause: "killed by its user" }),
  jobOf({ job: 10, state: "lost", endedAt: NOW, cause: "its head, run-10, was lost: no heartbeat for 10 s" }),
  jobOf({ job: 9, name: "a-name-that-is-rather-long", state: "done", exitCode: 0, endedAt: NOW - 124_500 }),
];

async function list(line: string[], setting: Setting = {}, records = history) {
  const mesh = new FakeMesh({ jobs: () => ({ jobs: records }) });
  const screen = new Screen();
  await run(jobs, ["jobs", ...line], around(mesh, screen, setting));
  expect(mesh.open).toBe(0);
  return { ...screen, asked: mesh.asked };
}

describe("mesh jobs", () => {
  it("tells of each job how it ended, and why (F84)", async () => {
    const { stdout, stderr, status } = await list([]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout.split("\n")).toEqual([
      "JOB  NAME                        STATE    EXIT  STARTED               TIME  USER          NODES      CAUSE",
      " 12  primes                      running        2026-01-02 15:02:00  2m05s  alice@laptop  gpu1,gpu2",
      " 11  primes                      killed    143  2026-01-02 15:02:00  1m00s  alice@laptop  gpu1       killed by its user",
      " 10  primes                      lost           2026-01-02 15:02:00  2m05s  alice@laptop  gpu1       its head, run-10, was lost: no heartbeat for 10 s",
      "  9  a-name-that-is-rather-long  done        0  2026-01-02 15:02:00     1s  alice@laptop  gpu1",
      "",
    ]);
  });

  it("--json (F87): the records as they are", async () => {
    const { stdout } = await list(["--json"]);
    expect(JSON.parse(stdout)).toEqual({ jobs: history });
  });

  it("fits a terminal, and keeps causes longer than users and nodes", async () => {
    const { stdout } = await list([], { tty: true, columns: 80 });
    const lines = stdout.trimEnd().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines[0]).toMatch(/^JOB +NAME +STATE +EXIT +TIME +CAUSE$/);
  });

  it("-n says how many; the limit is that of the history", async () => {
    expect((await list([])).asked).toEqual([["jobs", { limit: 20 }]]);
    expect((await list(["-n", "3"])).asked).toEqual([["jobs", { limit: 3 }]]);
    for (const wrong of ["0", "-1", "1001", "many", "1.5"]) {
      await expect(list(["-n", wrong])).rejects.toThrow("whole number of 1 to 1000");
    }
  });

  it("an empty history is said in words, or as an empty list", async () => {
    expect((await list([], {}, [])).stdout).toBe("no job has run in this mesh yet\n");
    expect(JSON.parse((await list(["--json"], {}, [])).stdout)).toEqual({ jobs: [] });
  });
});
