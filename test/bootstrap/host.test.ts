import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
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

test("mesh host: F96 other settings replace a worker; a job that runs on the old one ends there, and its name is the new one's", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const first = await host.talk<"start">(await host.order("w1"));
  await mesh.nodeIs("w1", (node) => node?.state === "up");
  await using run = mesh.start(`
    import { existsSync, writeFileSync } from "node:fs";
    import { pool } from "mesh";
    const wait = async (folder: string) => {
      writeFileSync(folder + "/runs", "");
      while (!existsSync(folder + "/go")) await Bun.sleep(5);
      return process.ppid;
    };
    console.log((await pool({ hosts: ["w1"] }).map(wait, [${JSON.stringify(mesh.folder.path)}]))[0]);
  `);
  await until(() => existsSync(mesh.folder.at("runs")), { what: "the task to run" });
  const second = await host.talk<"start">(await host.order("w1", { slots: 3 }));
  expect(second.outcome).toBe("replaced");
  await mesh.nodeIs("w1", (node) => node?.state === "up" && node.slots === 3);
  expect(host.workers().toSorted()).toEqual([first.pid, second.pid].toSorted());
  const found = await host.talk<"list">({ op: "list", meshName: "mesh" });
  expect(found.workers.map(({ pid }) => pid)).toEqual([second.pid, first.pid]);
  mesh.folder.write({ go: "" });
  expect((await run.ended()).stdout.trim()).toBe(String(first.pid));
  await until(() => !host.workers().includes(first.pid), { what: "the old worker to end" });
  expect((await host.talk<"start">(await host.order("w1", { slots: 3 }))).outcome).toBe("unchanged");
  await host.talk<"stop">(stopOrder("w1"));
});
