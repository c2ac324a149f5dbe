// Users of a mesh whose coordinator runs elsewhere: here with a state folder of their own.
import { mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";

const job = `import { pool, self } from "mesh";
console.log(JSON.stringify([self.node, await pool().apply(() => self.node)]));`;

test("F17 who joined with a head's token runs jobs side by side and commands, without a coordinator on that machine", async () => {
  await using mesh = await TestMesh.start();
  const elsewhere = mesh.folder.at("elsewhere");
  mkdirSync(elsewhere, { mode: 0o700 });
  const env = { XDG_STATE_HOME: elsewhere };
  const without = await mesh.mesh(["status"], { env });
  expect([without.status, without.stderr]).toEqual([5, expect.stringContaining("mesh join")]);

  const token = (await mesh.mesh(["token", "--role", "head"])).stdout.trim().split("\n").at(-1)!;
  const joined = await mesh.mesh(["join", mesh.address, "--name", "laptop"], { env: { ...env, MESH_TOKEN: token } });
  expect([joined.status, joined.stderr]).toEqual([0, expect.stringContaining("laptop is in the mesh")]);

  const runs = await Promise.all([mesh.resultOf(job, { env }), mesh.resultOf(job, { env })]);
  const names = runs.map((result) => (result as [string, string[]])[0]);
  expect(runs.map((result) => (result as [string, string[]])[1].sort())).toEqual([["w1", "w2"], ["w1", "w2"]]); // biome-ignore format: short
  expect(names.every((name) => name.startsWith("laptop."))).toBe(true);
  expect(new Set(names).size).toBe(2);

  const submitted = await mesh.mesh(["run", "-d", "job.ts"], { env });
  expect(submitted.status).toBe(0);
  const attached = await mesh.mesh(["attach", submitted.stdout.trim()], { env });
  expect([attached.status, JSON.parse(attached.stdout)[1].sort()]).toEqual([0, ["w1", "w2"]]);
});

test("a mesh that is known but not up is said so, with how to start it, and the run uses this machine", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  mesh.coordinator.signal("SIGTERM");
  await mesh.coordinator.ended();
  await using run = mesh.start(job);
  const { status, stdout, stderr } = await run.ended();
  expect([status, JSON.parse(stdout)[0]]).toEqual([0, "here"]);
  expect(stderr).toMatch(/the mesh mesh is not up .*`mesh coordinator`.*This run uses this machine alone/);
  await using local = mesh.start(job, { args: ["--local"] });
  expect((await local.ended()).stderr).toBe("");
  await mesh.startCoordinator();
});
