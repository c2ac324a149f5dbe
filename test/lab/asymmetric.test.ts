// Hosts of which some reach each other and some do not: a job needs the way between its head and its workers, and no other.
import { describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";
import { WatchedJob } from "./watched-job.ts";

const missing = missingForLab();
const ONE_SLOT = { workers: { w1: 1, w2: 1 } };

describe.skipIf(missing)(`ways that are cut between some hosts${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("X4 coordinator and worker cut: the worker is down for the mesh, and goes on for the job that has a session with it", async () => {
    await using mesh = await LabMesh.start(ONE_SLOT);
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    const slots = mesh.inRole("w1", "slot");
    mesh.lan.cut(CENTRE, "w1");
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    await mesh.worker("w1").prints("coordinator lost", "stderr");
    expect(mesh.inRole("w1", "slot")).toEqual(slots);
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(job.repeated, `${JSON.stringify(job.runs)} ${job.process.stderr}`).toEqual([]);
    expect(job.runs.filter(({ host }) => host === "w1").length).toBeGreaterThan(5);
    mesh.lan.heal();
    await mesh.nodeIs("w1", (node) => node?.state === "up");
  });

  test("X4 F93 head and worker cut, both reach the coordinator: it relays, and the job goes on where it was", async () => {
    await using mesh = await LabMesh.start(ONE_SLOT);
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    const slots = mesh.inRole("w1", "slot");
    mesh.lan.cut(DESK, "w1");
    const isRelayed = async () => {
      const { nodes } = await mesh.status();
      return nodes.find(({ name }) => name === "w1")?.peers.some(({ path }) => path === "relay") ?? false;
    };
    await until(isRelayed, { what: "w1 to be relayed", timeoutMs: 15_000 });
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(job.repeated, `${JSON.stringify(job.runs)} ${job.process.stderr}`).toEqual([]);
    expect(mesh.inRole("w1", "slot").every((pid) => slots.includes(pid))).toBe(true);
  });

  test("X4 F24 a job that begins while its head cannot dial a worker reaches it through the coordinator", async () => {
    await using mesh = await LabMesh.start(ONE_SLOT);
    mesh.lan.cut(DESK, "w1");
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(new Set(job.runs.map(({ host }) => host))).toEqual(new Set(["w1", "w2"]));
  });

  test("F35 F16 the coordinator cut off: head and worker talk directly; it hears of the job when it is back", async () => {
    await using mesh = await LabMesh.start(ONE_SLOT);
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    mesh.lan.cutOff(CENTRE);
    await mesh.nodeIs("w2", (node) => node?.state === "down");
    await mesh.worker("w2").prints("coordinator lost", "stderr");
    mesh.lan.heal();
    await mesh.nodeIs("w1", (node) => node?.state === "up");
    await mesh.nodeIs("w2", (node) => node?.state === "up");
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(job.repeated, `${JSON.stringify(job.runs)} ${job.process.stderr}`).toEqual([]);
  });
});
