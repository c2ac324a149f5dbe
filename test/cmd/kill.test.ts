import { describe, expect, it } from "vitest";
import { exitStatusOf } from "../../cmd/exit.ts";
import * as kill from "../../cmd/operate/kill.ts";
import type { KilledJob } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import { until } from "../support/until.ts";
import {
  type Answers,
  around,
  FakeMesh,
  jobOf,
  NOW,
  nodeOf,
  run,
  Screen,
  type Setting,
  statusOf,
} from "./fake-mesh.ts";

const nodes = [
  nodeOf({ name: "coordinator", role: "coordinator", slots: 0 }),
  nodeOf({ name: "gpu1" }),
  nodeOf({ name: "gpu2" }),
  nodeOf({ name: "both" }),
  nodeOf({ name: "lost1", state: "down" }),
  nodeOf({ name: "run-7", role: "head", slots: 0 }),
];
const jobs = [jobOf({ job: 7 }), jobOf({ job: 8, name: "both" }), jobOf({ job: 9 })];
const over = jobOf({ job: 3, name: "old", state: "failed", exitCode: 2, cause: "exited with status 2", endedAt: NOW });

const killed = (job: number, name = "primes"): KilledJob => ({
  job,
  name,
  state: "killed",
  exitCode: 143,
  cause: "killed by its user",
});

/** A mesh of which all can be killed. */
function meshOf(answers: Answers = {}) {
  return new FakeMesh({
    status: () => statusOf({ nodes, jobs }),
    jobs: () => ({ jobs: [...jobs, over] }),
    killJob: (body) => {
      if ("all" in body) return { jobs: [] };
      return { jobs: [killed(body.job as number, jobs.find(({ job }) => job === body.job)?.name)] };
    },
    killNode: (body) => ({ nodes: "name" in body ? [body.name] : [] }),
    ...answers,
  });
}

async function end(line: string[], setting: Setting = {}, mesh = meshOf()) {
  const screen = new Screen();
  const error = await run(kill, ["kill", ...line], around(mesh, screen, setting)).then(
    () => undefined,
    (thrown: unknown) => thrown as MeshError,
  );
  expect(mesh.open).toBe(0);
  const orders = mesh.asked.filter(([name]) => name.startsWith("kill"));
  return { ...screen, orders, error };
}

const stuck = (message: string) => () => {
  throw new MeshError("TIMEOUT", message);
};

describe("mesh kill (F78)", () => {
  it("a number is a job; says what ended and how (F84)", async () => {
    const { stdout, status, orders } = await end(["7"]);
    expect(stdout).toBe("job 7 (primes): killed, exit status 143: killed by its user\n");
    expect(status).toBe(0);
    expect(orders).toEqual([["killJob", { job: 7, graceMs: 5_000 }]]);
  });

  it("a name is a node, or else the last running job of that name", async () => {
    const node = await end(["gpu1"]);
    expect(node).toMatchObject({ stdout: "node gpu1: ended\n", status: 0 });
    expect(node.orders).toEqual([["killNode", { name: "gpu1", graceMs: 5_000 }]]);
    expect((await end(["primes"])).orders).toEqual([["killJob", { job: 9, graceMs: 5_000 }]]);
  });

  it("a name of both is refused, naming both and how to say which", async () => {
    const { error, orders } = await end(["both"]);
    expect(error).toMatchObject({ code: "USAGE" });
    expect(error!.message).toBe(
      '"both" is a node (a worker on both) and a running job (8): ' +
        "`mesh kill 8` ends the job, `mesh kill --node both` the node",
    );
    expect(orders).toEqual([]);
    expect((await end(["--node", "both"])).orders).toEqual([["killNode", { name: "both", graceMs: 5_000 }]]);
    expect((await end(["--job", "both"])).orders).toEqual([["killJob", { job: 8, graceMs: 5_000 }]]);
  });

  it.each([
    [["gpu3"], /no node or running job is named "gpu3": did you mean "gpu1"\?/],
    [["--job", "prines"], /no running job is named "prines": did you mean "primes"\?/],
    [["--node", "primes"], /no node is named "primes": `mesh status` lists/],
    [["99"], /there is no job 99 in this mesh: the last one is job 7 \(primes\); `mesh jobs`/],
    [["7", "nonsense"], /no node or running job is named "nonsense"/],
  ])("%j: an error, before anything is ended (F88)", async (line, told) => {
    const { error, orders } = await end(line);
    expect(error).toMatchObject({ code: "USAGE" });
    expect(error!.message).toMatch(told);
    expect(orders).toEqual([]);
  });

  it("a job that is over already, by number or name, is dead: 0, and how it ended", async () => {
    for (const name of ["3", "old"]) {
      const { stdout, status, orders } = await end([name]);
      expect(stdout).toBe("job 3 (old): was over already: failed, exit status 2: exited with status 2\n");
      expect({ status, orders }).toEqual({ status: 0, orders: [] });
    }
    expect(await end(["lost1"])).toMatchObject({ stdout: "node lost1: was down already\n", status: 0, orders: [] });
  });

  it("returns only when it is dead, however long that takes within the limit", async () => {
    const dead = Promise.withResolvers<void>();
    const mesh = meshOf({
      killJob: async () => {
        await dead.promise;
        return { jobs: [killed(7)] };
      },
    });
    const screen = new Screen();
    const running = run(kill, ["kill", "7", "--grace", "1m"], around(mesh, screen));
    await until(() => mesh.asked.some(([name]) => name === "killJob"), { what: "the order" });
    mesh.clock.advance(89_999);
    expect(screen).toMatchObject({ stdout: "", status: undefined });
    dead.resolve();
    await running;
    expect(screen).toMatchObject({ status: 0 });
  });

  it("a coordinator that never says that it is dead: TIMEOUT, so exit status 124", async () => {
    const mesh = meshOf({ killJob: () => new Promise(() => {}) });
    const ended = end(["7", "--grace", "1m"], {}, mesh);
    await until(() => mesh.asked.some(([name]) => name === "killJob"), { what: "the order" });
    mesh.clock.advance(90_000);
    const { error } = await ended;
    expect(error!.message).toMatch(/^job 7 \(primes\) could not be ended: no answer/);
    expect(exitStatusOf(error)).toBe(124);
  });

  it("--grace: a time, or 0", async () => {
    expect((await end(["7", "--grace", "0"])).orders).toEqual([["killJob", { job: 7, graceMs: 0 }]]);
    expect((await end(["7", "--grace", "1m30s"])).orders).toEqual([["killJob", { job: 7, graceMs: 90_000 }]]);
    expect((await end(["7", "--grace", "5"])).error!.message).toContain("expected a time such as");
    expect((await end(["7", "--grace", "2h"])).error!.message).toContain("at most 1h");
  });

  it("several, each once; 3 when only some are dead, and those that are not are named", async () => {
    const all = await end(["7", "primes", "9", "gpu1"]);
    expect(all.status).toBe(0);
    expect(all.orders.map(([, body]) => body)).toEqual([
      { job: 7, graceMs: 5_000 },
      { job: 9, graceMs: 5_000 },
      { name: "gpu1", graceMs: 5_000 },
    ]);
    const some = await end(["7", "gpu1"], {}, meshOf({ killNode: stuck("gpu1 has not ended") }));
    expect(some).toMatchObject({ status: 3, error: undefined });
    expect(some.stdout).toBe("job 7 (primes): killed, exit status 143: killed by its user\n");
    expect(some.stderr).toBe("mesh: node gpu1 could not be ended: gpu1 has not ended\n");
    const none = await end(["gpu1", "gpu2"], {}, meshOf({ killNode: stuck("it has not ended") }));
    expect(none.error!.message).toBe("node gpu1 could not be ended: it has not ended");
    expect(none.stderr).toBe("mesh: node gpu2 could not be ended: it has not ended\n");
  });

  it("the coordinator by its name, even when it is gone before it can answer", async () => {
    const mesh: FakeMesh = meshOf({
      killNode: () => {
        mesh.coordinator!.close();
        return new Promise(() => {});
      },
    });
    expect(await end(["coordinator"], {}, mesh)).toMatchObject({ stdout: "node coordinator: ended\n", status: 0 });
    const other: FakeMesh = meshOf({
      killNode: () => {
        other.coordinator!.close();
        return new Promise(() => {});
      },
    });
    expect((await end(["gpu1"], {}, other)).error).toMatchObject({ code: "LINK_CLOSED" });
  });

  it("--json (F87): jobs, nodes, and what could not be ended", async () => {
    const { stdout, stderr, status } = await end(["--json", "7", "gpu1"], {}, meshOf({ killNode: stuck("no") }));
    expect({ stderr, status }).toEqual({ stderr: "", status: 3 });
    expect(JSON.parse(stdout)).toEqual({
      jobs: [killed(7)],
      nodes: [{ name: "gpu1", ended: false }],
      errors: ["node gpu1 could not be ended: no"],
    });
  });
});

describe("mesh kill --all (F78)", () => {
  it("asks on a terminal, saying what it would end; a no ends nothing", async () => {
    const { questions, error, orders } = await end(["--all"], { tty: true, answer: false });
    expect(questions).toEqual(["End job 7 (primes), job 8 (both), job 9 (primes), 4 workers of the mesh lab?"]);
    expect(error).toMatchObject({ code: "CANCELLED", message: "nothing was ended" });
    expect(orders).toEqual([]);
  });

  it("ends all jobs, also those that begin meanwhile, then all workers; the coordinator stays", async () => {
    const mesh = meshOf({
      killJob: (body) => ({ jobs: ["all" in body ? killed(10, "late") : killed(body.job as number)] }),
    });
    const { stdout, status, orders } = await end(["--all"], { tty: true, answer: true }, mesh);
    expect(status).toBe(0);
    expect(stdout.split("\n").map((line) => line.split(":")[0])).toEqual([
      ...["job 7 (primes)", "job 8 (primes)", "job 9 (primes)", "job 10 (late)"],
      ...["node gpu1", "node gpu2", "node both", "node lost1", ""],
    ]);
    expect(orders.map(([, body]) => body)).toEqual([
      ...[7, 8, 9].map((job) => ({ job, graceMs: 5_000 })),
      { all: true, graceMs: 5_000 },
      ...["gpu1", "gpu2", "both"].map((name) => ({ name, graceMs: 5_000 })),
    ]);
  });

  it("--yes asks nobody; without a terminal it is needed", async () => {
    expect(await end(["--all", "--yes"])).toMatchObject({ status: 0, questions: [] });
    const { error, orders } = await end(["--all"]);
    expect(error).toMatchObject({ code: "USAGE" });
    expect(error!.message).toContain("add --yes");
    expect(orders).toEqual([]);
  });

  it("3 when a job does not end: the others are told, the workers ended all the same", async () => {
    const mesh = meshOf({
      killJob: (body) => ("job" in body && body.job === 8 ? stuck("its head is away")() : { jobs: [killed(7)] }),
    });
    const { status, stderr, orders } = await end(["--all", "--yes"], {}, mesh);
    expect(status).toBe(3);
    expect(stderr).toBe("mesh: job 8 (both) could not be ended: its head is away\n");
    expect(orders.at(-1)).toEqual(["killNode", { name: "both", graceMs: 5_000 }]);
  });

  it("nothing there is fine, and no question", async () => {
    const empty = meshOf({ status: () => statusOf({ nodes: nodes.slice(0, 1) }) });
    const { stdout, status, questions } = await end(["--all"], { answer: false }, empty);
    expect({ stdout, status, questions }).toEqual({
      stdout: "nothing runs that could be ended\n",
      status: 0,
      questions: [],
    });
  });

  it.each([
    [[], "nothing to kill"],
    [["--all", "7"], "--all goes without names"],
    [["--job", "--node", "x"], "cannot be used with"],
    [["7", "--grase", "1s"], "Did you mean --grace?"],
  ])("%j is a usage error", async (line, told) => {
    const { error, orders } = await end(line);
    expect(error!.message).toContain(told);
    expect(orders).toEqual([]);
  });
});
