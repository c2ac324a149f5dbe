// Hosts of which some reach each other and some do not: a job needs the way between its head and its workers, and no other.
import { describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf, LabMesh, QUICK } from "./lab-mesh.ts";
import { missingForLab, run } from "./namespaces.ts";
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

  test("X4 two workers cut from each other, and nobody to relay: what one does on the other goes on when they are back", async () => {
    const config = `${QUICK}[rendezvous]\nports = "40000-40003"\n`;
    await using mesh = await LabMesh.start({ ...ONE_SLOT, config });
    for (const protocol of ["tcp", "udp"]) {
      const toRendezvous = ["-p", protocol, "--dport", "40000:40003", "-j", "DROP"];
      run(...mesh.lan.through(CENTRE), "iptables", "-w", "-A", "INPUT", ...toRendezvous);
    }
    await using job = mesh.run(`import { pool } from "mesh";
const answers = await pool({ hosts: "w1" }).submit(async () => {
  const got: number[] = [];
  for (let i = 0; i < 200; i++) {
    got.push(await pool({ hosts: "w2" }).submit((n: number) => n * 2, i));
    await Bun.sleep(20);
  }
  return got;
});
console.log(JSON.stringify(answers));`);
    const reaches = async () => {
      const { nodes } = await mesh.status();
      const [w1, w2] = ["w1", "w2"].map((name) => nodes.find((node) => node.name === name)!);
      expect([w1!.state, w2!.state]).toEqual(["up", "up"]);
      return w1!.peers.some(({ name }) => name === "w2");
    };
    await until(reaches, { what: "w1 to tell that it reaches w2" });
    mesh.lan.cut("w1", "w2");
    await until(async () => !(await reaches()), { what: "w1 to have lost w2", timeoutMs: 20_000 });
    mesh.lan.heal();
    expect(await jsonOf(job)).toEqual(Array.from({ length: 200 }, (_, i) => i * 2));
  }, 60_000);

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
