// A worker that finds its coordinator by beacons.
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";

test("F10 a worker joins by a token and the beacons of the mesh alone; a coordinator that was not asked to sends none", async () => {
  // Beacons and probes stay on this machine.
  await using mesh = await TestMesh.start({ workers: {}, env: { MESH_DISCOVERY_INTERFACES: "lo" } });
  const token = async () => (await mesh.mesh(["token", "--role", "worker"])).stdout.trim().split("\n").at(-1)!;
  const state = { XDG_STATE_HOME: mesh.folder.at("elsewhere") };
  const join = ["worker", "--name", "found", "--slots", "1", "--join", "discover"];
  const silent = await mesh.mesh(join, { env: { ...state, MESH_TOKEN: await token() } });
  expect([silent.status, silent.stderr]).toEqual([5, expect.stringContaining("--discoverable")]);

  mesh.coordinator.signal("SIGTERM");
  await mesh.coordinator.ended();
  await mesh.startCoordinator(["--discoverable"]);
  await mesh.startWorker("found", ["--slots", "1", "--join", "discover"], { ...state, MESH_TOKEN: await token() });
  await mesh.nodeIs("found", (node) => node?.state === "up");
}, 60_000);
