// Workers of another build take over: jobs that run finish on the old ones and never notice.
import { describe, expect, test } from "vitest";
import { writeOtherBuild } from "../support/other-build.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  server.stop(true);
  return server.port;
}

/** All nodes of that name. */
async function named(mesh: TestMesh, name: string) {
  return (await mesh.status()).nodes.filter((node) => node.name === name);
}

async function isRetiring(mesh: TestMesh, name: string): Promise<void> {
  const states = async () => (await named(mesh, name)).map(({ state }) => state).join();
  await until(async () => (await states()) === "retiring", { what: `${name} to retire alone` });
}

/** A job whose first item waits at a gate on w1 until "go on"; it says where each item ran. */
const waiting = `import { pool, self } from "mesh"; ${prelude}
const work = async (i: number) => { note("begun", i + " " + process.ppid); if (i === 0) await gate("go on"); return i; };
out(await pool().map(work, [0, 1, 2, 3], { chunkSize: 1, retries: 3 }));`;

const begunOn = (mesh: TestMesh) => noted(mesh.folder, "begun").map((line) => line.split(" ").map(Number));

describe("F96 a worker of another build takes over", () => {
  test("F96 the job that runs finishes on the old one, each item once; new jobs use the new one; the old one ends by itself", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 2 } });
    const build = writeOtherBuild(mesh.folder.at("mesh2"));
    const script = `import { nodes, onNode, pool, self } from "mesh"; ${prelude}
onNode(({ event, node }) => note("events", event + " " + node.name));
const work = async (i: number) => { note("begun", i + " " + process.ppid); if (i < 2) await gate("go on"); return [i, self.node]; };
const all = pool();
const results = await all.map(work, Array.from({ length: 40 }, (_, i) => i), { chunkSize: 1 });
const later = await pool().map(work, [100, 101, 102]);
out([results, later, (await nodes()).map(({ name, status }) => name + " " + status)]);`;
    await using run = mesh.start(script);
    await whenNoted(mesh.folder, "begun", 2);
    const old = mesh.worker("w1");
    const before = (await named(mesh, "w1"))[0]!;
    old.signal("SIGUSR1");
    await isRetiring(mesh, "w1");
    const args = ["worker", "--name", "w1", "--slots", "3", "--listen", "tcp://127.0.0.1:0"];
    await using successor = mesh.command(args, { program: mesh.folder.at("mesh2"), limitMs: 60_000 });
    await successor.prints(/ ready /, "stderr");
    expect(await named(mesh, "w1")).toMatchObject([
      { state: "up", build, slots: 3 },
      { state: "retiring", build: before.build, node: before.node, slots: 2 },
    ]);
    const where = await mesh.resultOf(
      `import { pool } from "mesh"; console.log(JSON.stringify(await pool().apply(() => process.ppid)));`,
    );
    expect(where).toEqual([successor.pid, successor.pid, successor.pid]);
    open(mesh.folder, "go on");
    const { stdout, stderr, status } = await run.ended();
    expect([status, stderr]).toEqual([0, ""]);
    const items = Array.from({ length: 40 }, (_, i) => i);
    const [results, later, known] = JSON.parse(stdout) as [unknown, unknown, string[]];
    expect(results).toEqual(items.map((i) => [i, "w1"]));
    expect(later).toEqual([100, 101, 102].map((i) => [i, "w1"]));
    expect(known.filter((each) => each.startsWith("w1"))).toEqual(["w1 up"]);
    const begun = noted(mesh.folder, "begun").map((line) => line.split(" ").map(Number));
    expect(begun.map(([i]) => i!).sort((a, b) => a - b)).toEqual([...items, 100, 101, 102]);
    expect(new Set(begun.map(([, agent]) => agent))).toEqual(new Set([old.pid]));
    expect(noted(mesh.folder, "events").filter((event) => event.endsWith(" w1"))).toEqual([]);
    expect((await old.ended()).status).toBe(0);
    await until(async () => (await named(mesh, "w1")).length === 1, { what: "the old one to be gone from status" });
    expect(await named(mesh, "w1")).toMatchObject([{ state: "up", build }]);
    successor.signal("SIGTERM");
    await successor.ended();
  });

  test("F96 one without jobs ends at once; one in use is ended at once by SIGTERM, and its items run on its successor", async () => {
    await using mesh = await TestMesh.start({ workers: { idle: 1, w1: 1 } });
    const idle = mesh.worker("idle");
    idle.signal("SIGUSR1");
    expect((await idle.ended()).status).toBe(0);
    await until(async () => (await named(mesh, "idle")).length === 0, { what: "the idle one to be gone" });
    await using run = mesh.start(waiting);
    await whenNoted(mesh.folder, "begun");
    const old = mesh.worker("w1");
    old.signal("SIGUSR1");
    await isRetiring(mesh, "w1");
    const successor = await mesh.startWorker("w1", ["--slots", "1"]);
    old.signal("SIGTERM");
    expect((await old.ended()).status).toBe(0);
    await until(() => begunOn(mesh).some(([, agent]) => agent === successor.pid), { what: "work of the successor" });
    open(mesh.folder, "go on");
    const { stdout, stderr, status } = await run.ended();
    expect([status, JSON.parse(stdout)]).toEqual([0, [0, 1, 2, 3]]);
    expect(stderr).toContain("the job goes on without it");
  });

  test("F96 a command of mesh exec is waited for too, and new ones go to the successor", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const agent = "echo $PPID; while [ ! -e go ]; do sleep 0.02; done; echo over";
    const env = { HOME: mesh.folder.path };
    const old = await mesh.startWorker("w2", ["--slots", "1"], env);
    await using long = mesh.command(["exec", "w2", "--", "sh", "-c", agent]);
    await long.prints(`${old.pid}\n`);
    old.signal("SIGUSR1");
    await isRetiring(mesh, "w2");
    const successor = await mesh.startWorker("w2", ["--slots", "1"], env);
    const late = await mesh.mesh(["exec", "w*", "--", "sh", "-c", "echo $PPID"]);
    expect(late.stdout).toContain(`${successor.pid}\n`);
    expect(late.stdout).not.toContain(`${old.pid}\n`);
    mesh.folder.write({ go: "" });
    const { stdout, status } = await long.ended();
    expect([status, stdout]).toEqual([0, `${old.pid}\nover\n`]);
    expect((await old.ended()).status).toBe(0);
  });

  test("F96 without a coordinator: the signal is heeded, its job goes on, and both are known when the coordinator is back", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    await using run = mesh.start(waiting);
    await whenNoted(mesh.folder, "begun");
    mesh.coordinator.signal("SIGKILL");
    await mesh.coordinator.ended();
    const old = mesh.worker("w1");
    old.signal("SIGUSR1");
    await old.prints(/ retiring /, "stderr");
    await mesh.startCoordinator();
    await isRetiring(mesh, "w1");
    const successor = await mesh.startWorker("w1", ["--slots", "1"]);
    await until(async () => (await named(mesh, "w1")).map(({ state }) => state).join() === "up,retiring", {
      what: "both",
    });
    open(mesh.folder, "go on");
    const { stdout, status } = await run.ended();
    expect([status, JSON.parse(stdout)]).toEqual([0, [0, 1, 2, 3]]);
    expect(begunOn(mesh)).toEqual([0, 1, 2, 3].map((i) => [i, old.pid]));
    expect((await old.ended()).status).toBe(0);
    expect(successor.processes.filter(({ command }) => command[1] === "worker")).toHaveLength(1);
  });

  test("F96 a port that was chosen on purpose is the successor's at once", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const port = freePort();
    const start = () => mesh.command(["worker", "--name", "w1", "--slots", "1", "--listen", `tcp://127.0.0.1:${port}`]);
    await using old = start();
    await old.prints(/ ready /, "stderr");
    await using run = mesh.start(waiting);
    await whenNoted(mesh.folder, "begun");
    old.signal("SIGUSR1");
    await isRetiring(mesh, "w1");
    await using successor = start();
    await successor.prints(/ ready /, "stderr");
    const addresses = (await named(mesh, "w1")).map((node) => node.addresses);
    expect(addresses).toEqual([[`tcp://127.0.0.1:${port}`], [expect.not.stringContaining(`:${port}`)]]);
    open(mesh.folder, "go on");
    expect((await run.ended()).stdout).toBe("[0,1,2,3]\n");
    expect(new Set(begunOn(mesh).map(([, agent]) => agent))).toEqual(new Set([old.pid]));
    expect((await old.ended()).status).toBe(0);
    successor.signal("SIGTERM");
    expect((await successor.ended()).status).toBe(0);
  });

  test("F96 mesh kill ends all of that name; status says which is which", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    await using run = mesh.start(waiting);
    await whenNoted(mesh.folder, "begun");
    const old = mesh.worker("w1");
    old.signal("SIGUSR1");
    await isRetiring(mesh, "w1");
    const successor = await mesh.startWorker("w1", ["--slots", "1"]);
    const shown = await mesh.mesh(["status"]);
    expect(shown.stdout).toMatch(/w1 +worker +up.*\n.*w1 +worker +retiring/);
    expect((await mesh.mesh(["kill", "w1"])).stdout).toBe("node w1: ended\n");
    expect([(await old.ended()).status, (await successor.ended()).status]).toEqual([0, 0]);
    run.signal("SIGTERM");
    expect((await run.ended()).status).toBe(143);
  });

  test("F96 mesh up of another build: replaced, unchanged the next time; the job that ran finished on the old one", async () => {
    await using mesh = await TestMesh.start({
      workers: {},
      config: '[coordinator]\nlisten = ["tcp://127.0.0.1:0"]\n[hosts.w1]\nprovider = "local"\nslots = 1\n',
    });
    const build = writeOtherBuild(mesh.folder.at("mesh2"));
    const up = (program?: string) => mesh.mesh(["up"], program === undefined ? {} : { program });
    expect(await up()).toMatchObject({ status: 0 });
    await using run = mesh.start(waiting);
    await whenNoted(mesh.folder, "begun");
    const replaced = await up(mesh.folder.at("mesh2"));
    expect([replaced.status, replaced.stdout + replaced.stderr]).toEqual([0, expect.stringContaining("replaced")]);
    const states = async () => (await named(mesh, "w1")).map((node) => `${node.state} ${node.build === build}`);
    expect(await states()).toEqual(["up true", "retiring false"]);
    const again = await up(mesh.folder.at("mesh2"));
    expect([again.status, again.stdout + again.stderr]).toEqual([0, expect.stringContaining("unchanged")]);
    open(mesh.folder, "go on");
    const { stdout, stderr, status } = await run.ended();
    expect([status, stdout.trim(), stderr]).toEqual([0, "[0,1,2,3]", ""]);
    expect(new Set(begunOn(mesh).map(([, agent]) => agent)).size).toBe(1);
    await until(async () => (await states()).join() === "up true", { what: "the old one to be gone" });
    expect((await mesh.mesh(["down"])).status).toBe(0);
  });
});
