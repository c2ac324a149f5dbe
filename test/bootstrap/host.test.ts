import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";
import { stopOrder, TestHost } from "./test-host.ts";

test("mesh host: F6 F9 a worker is started, found, left alone when asked again, and ended", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const order = await host.order("w1");
  const started = await host.talk<"start">(order);
  expect(started).toMatchObject({ word: "started", outcome: "started" });
  await mesh.nodeIs("w1", (node) => node?.state === "up" && node.slots === 2);
  expect(host.workers()).toEqual([started.pid]);
  expect(await host.talk<"start">(order)).toEqual({ ...started, outcome: "unchanged" });
  expect(host.certificates).toBe(1);
  const found = await host.talk<"list">({ op: "list", meshName: "mesh" });
  expect(found.workers).toEqual([{ mesh: "mesh", name: "w1", pid: started.pid, build: order.build }]);
  expect(
    await mesh.resultOf(
      "console.log(JSON.stringify(await pool().map((x: number) => x + 1, [1, 2])))".replace(
        /^/,
        'import { pool } from "mesh";',
      ),
    ),
  ).toEqual([2, 3]);
  expect(await host.talk<"stop">(stopOrder("w1"))).toMatchObject({ outcome: "stopped", removed: [] });
  expect(host.workers()).toEqual([]);
  expect(await host.talk<"stop">(stopOrder("w1"))).toMatchObject({ outcome: "absent" });
});
