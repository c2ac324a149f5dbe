// Networks that break between hosts while a job runs, and heal.
import { describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf, LabMesh, QUICK } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";
import { WatchedJob } from "./watched-job.ts";

const missing = missingForLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const ONE_SLOT = { workers: { w1: 1, w2: 1 } };
/** A peer that is suspected soon, and given up late. */
const PATIENT = QUICK.replace('downAfter = "3s"', 'downAfter = "20s"');

/** A job on that host alone. */
const onHost = (host: string) => `import { pool, self } from "mesh"; ${out}
out(await pool({ hosts: "${host}" }).map(() => self.node, [1]));`;

/** Who is in the mesh, as the script sees it and as a slot on each host does. */
const views = `import { nodes, pool } from "mesh"; ${out}
const seen = async () => {
  // A coordinator that began less than 15 s ago takes nobody from the view who may yet come back: earlier heads.
  for (let i = 0; i < 2_000 && (await nodes()).length > 4; i++) await Bun.sleep(10);
  return (await nodes()).map(({ name, status }) => name.replace(/^desk\\..*/, "desk") + " " + status).sort();
};
out([await seen(), ...(await pool().apply(seen))]);`;

/** Ways in which a host may be cut off from all others. */
const cuts: [string, (mesh: LabMesh) => void][] = [
  ["X4 both ways", ({ lan }) => lan.cutOff("w1")],
  ["X5 nothing from it arrives", ({ lan }) => [CENTRE, DESK, "w2"].forEach((other) => void lan.cutOneWay("w1", other))],
  ["X5 nothing to it arrives", ({ lan }) => [CENTRE, DESK, "w2"].forEach((other) => void lan.cutOneWay(other, "w1"))],
];

describe.skipIf(missing)(`partitions${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test.each(cuts)(
    "%s, a worker cut off for less than downAfter: nobody notices, nothing runs twice",
    async (_, cut) => {
      await using mesh = await LabMesh.start({ ...ONE_SLOT, config: PATIENT });
      await using job = new WatchedJob(mesh);
      await job.waitsOn("w1", "w2");
      const slots = mesh.inRole("w1", "slot");
      cut(mesh);
      await mesh.nodeIs("w1", (node) => node?.state === "suspect");
      mesh.lan.heal();
      await mesh.nodeIs("w1", (node) => node?.state === "up");
      await job.hears("w1");
      expect(mesh.inRole("w1", "slot")).toEqual(slots);
      job.open();
      expect(await jsonOf(job.process)).toEqual(job.expected);
      expect(job.repeated, `${JSON.stringify(job.runs)} ${job.process.stderr}`).toEqual([]);
      expect(job.process.stderr).toBe("");
    },
  );

  test.each(cuts)(
    "%s, a worker cut off for longer: down on both sides, its slots end, the job ends elsewhere",
    async (title, cut) => {
      await using mesh = await LabMesh.start(ONE_SLOT);
      await using job = new WatchedJob(mesh);
      await job.waitsOn("w1", "w2");
      const [held] = job.runs.filter(({ host }) => host === "w1").slice(-1);
      cut(mesh);
      await mesh.nodeIs("w1", (node) => node?.state === "down");
      await until(() => mesh.inRole("w1", "slot").length === 0, { what: "the job's slots on w1 to end" });
      job.open();
      expect(await jsonOf(job.process)).toEqual(job.expected);
      expect(job.runs.filter(({ item }) => item === held!.item).map(({ host }) => host)).toEqual(["w1", "w2"]);
      expect(job.process.stderr).toContain("w1");
      mesh.lan.heal();
      await mesh.nodeIs("w1", (node) => node?.state === "up");
      expect(await mesh.resultOf(onHost("w1"))).toEqual(["w1"]);
      if (!title.startsWith("X4")) return;
      const [view, ...others] = (await mesh.resultOf(views)) as string[][];
      expect(view).toEqual(["coordinator up", "desk up", "w1 up", "w2 up"]);
      expect(others).toEqual([view, view]);
    },
  );

  test("X4 an item that a worker began while its answers did not get through is not begun elsewhere", async () => {
    await using mesh = await LabMesh.start({ ...ONE_SLOT, config: PATIENT });
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    mesh.lan.cutOneWay("w1", DESK);
    job.open();
    await until(() => job.runs.length > job.items, { what: "an item to begin again", timeoutMs: 3_000 }).catch(
      () => {},
    );
    mesh.lan.heal();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(job.repeated).toEqual([]);
  });
});
