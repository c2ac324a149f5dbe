// A mesh from its start to its end, by commands alone.
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";

const endless = `import { pool } from "mesh";
console.log("begun");
await pool().map(async () => { console.log("working"); await Bun.sleep(600_000); }, [1, 2]);`;

test("F9 F78 F84 status shows a mesh at work; kill ends one job, one node, and all that is left", async () => {
  await using mesh = await TestMesh.start();
  await using job = mesh.start(endless);
  await job.prints(/working\n(.*\n)*.*working/);
  for (const name of ["w1", "w2"]) await mesh.nodeIs(name, (node) => node?.used === 1);
  const { nodes, jobs } = await mesh.status();
  const workers = nodes.filter(({ role }) => role === "worker").map(({ name, used, state }) => [name, used, state]);
  expect(workers).toEqual([
    ["w1", 1, "up"],
    ["w2", 1, "up"],
  ]);
  expect(jobs).toEqual([expect.objectContaining({ job: 1, name: "job.ts", state: "running", detached: false })]);

  const killed = await mesh.mesh(["kill", "1"]);
  expect([killed.status, killed.stdout]).toEqual([0, expect.stringMatching(/^job 1 .*killed/)]);
  const { status, stderr } = await job.ended();
  expect([status, stderr]).toEqual([143, expect.stringContaining("killed by a command")]);
  for (const worker of mesh.workers.values()) {
    expect(worker.processes.filter(({ command }) => command[1] === "slot")).toEqual([]);
  }

  expect((await mesh.mesh(["kill", "w1"])).stdout).toBe("node w1: ended\n");
  expect(await mesh.worker("w1").ended()).toMatchObject({ status: 0 });
  await mesh.nodeIs("w1", (node) => node === undefined);

  const refused = await mesh.mesh(["kill", "--all"]);
  expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining("--yes")]);
  expect(await mesh.mesh(["kill", "--all", "--yes"])).toMatchObject({ status: 0 });
  expect(await mesh.worker("w2").ended()).toMatchObject({ status: 0 });
  await mesh.mesh(["kill", "coordinator"]);
  expect(await mesh.coordinator.ended()).toMatchObject({ status: 0 });
  expect((await mesh.mesh(["status"])).status).toBe(5);
});

test("F16 F95 a coordinator that comes back on another port is found by workers and detached heads of its machine", async () => {
  await using mesh = await TestMesh.start();
  mesh.folder.write({ "job.ts": endless });
  expect((await mesh.mesh(["run", "-d", "job.ts"])).stdout).toBe("1\n");
  await mesh.nodeIs("job-1", (node) => node?.state === "up");
  const before = mesh.address;
  mesh.coordinator.signal("SIGKILL");
  await mesh.coordinator.ended();
  await mesh.moveCoordinator();
  expect(mesh.address).not.toBe(before);
  for (const name of ["w1", "w2", "job-1"]) await mesh.nodeIs(name, (node) => node?.state === "up");
  expect((await mesh.status()).jobs).toEqual([expect.objectContaining({ job: 1, state: "running" })]);
  expect(await mesh.mesh(["kill", "1"])).toMatchObject({ status: 0 });
}, 60_000);
