// A mesh over several hosts: how they join, which addresses they use, and that they talk to each other directly.
import { describe, expect, test } from "vitest";
import { jsonOf, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";
import { WatchedJob } from "./watched-job.ts";

const missing = missingForLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

/** Where items of a job run: "w1 on w1", node and machine. */
const places = `import { pool, self } from "mesh"; import { hostname } from "node:os"; ${out}
out(await pool().map(async (i: number) => { await Bun.sleep(20); return [i * 2, self.node + " on " + hostname()]; }, Array.from({ length: 30 }, (_, i) => i)));`;

async function placesOf(mesh: LabMesh): Promise<string[]> {
  const results = (await mesh.resultOf(places)) as [number, string][];
  expect(results.map(([value]) => value)).toEqual(Array.from({ length: 30 }, (_, i) => i * 2));
  return [...new Set(results.map(([, place]) => place))].sort();
}

describe.skipIf(missing)(`hosts of a LAN${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("F11 F17 workers and the user's machine join by token; a job uses all hosts", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
    expect(await placesOf(mesh)).toEqual(["w1 on w1", "w2 on w2"]);
  });

  test("F13 nodes listen where they are told, on fixed ports, and tell others what they are told to", async () => {
    await using mesh = await LabMesh.start({
      workers: { w1: 1, w2: 1 },
      coordinatorArgs: [
        "--listen",
        "tcp://0.0.0.0:7450",
        "tcp://127.0.0.1:7451",
        "--advertise",
        "tcp://10.77.0.2:7450",
      ],
      workerArgs: {
        w1: ["--listen", "tcp://10.77.0.4:7460"],
        w2: ["--listen", "tcp://0.0.0.0:7461", "--advertise", "tcp://10.77.0.5:7461", "tcp://router.example:17461"],
      },
    });
    const { nodes, mesh: info } = await mesh.status();
    const told = Object.fromEntries(nodes.map(({ name, addresses }) => [name, addresses]));
    expect(info.coordinator.addresses).toEqual(["tcp://10.77.0.2:7450"]);
    expect(told.w1).toEqual(["tcp://10.77.0.4:7460"]);
    expect(told.w2).toEqual(["tcp://10.77.0.5:7461", "tcp://router.example:17461"]);
    expect(await placesOf(mesh)).toEqual(["w1 on w1", "w2 on w2"]);
  });

  test("F16 a worker that joined once comes back without a token; the coordinator killed and restarted finds all again", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1 } });
    await mesh.stop("w1");
    await mesh.startWorker("w1");
    mesh.coordinator.signal("SIGKILL");
    await mesh.coordinator.ended();
    await mesh.startCoordinator();
    await mesh.nodeIs("w1", (node) => node?.state === "up");
    expect(await placesOf(mesh)).toEqual(["w1 on w1"]);
  });

  test("F11 a LAN that has IPv6 only", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 }, family: 6, coordinatorArgs: [] });
    expect(await placesOf(mesh)).toEqual(["w1 on w1", "w2 on w2"]);
    const { nodes } = await mesh.status();
    expect(nodes.find(({ name }) => name === "w1")?.addresses[0]).toMatch(/^tcp:\/\/\[fd77::4\]:\d+$/);
  });

  test("X1 a worker on another host is killed by kill -9 in mid-task: its item runs elsewhere, each result once", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
    await using job = new WatchedJob(mesh);
    await job.waitsOn("w1", "w2");
    const [held] = job.runs.filter(({ host }) => host === "w1").slice(-1);
    mesh.worker("w1").signal("SIGKILL");
    await job.process.prints("goes on without it", "stderr");
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(job.runs.filter(({ item }) => item === held!.item).map(({ host }) => host)).toEqual(["w1", "w2"]);
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    await mesh.startWorker("w1");
    expect(await placesOf(mesh)).toEqual(["w1 on w1", "w2 on w2"]);
  });

  test.each([1, 5, 10])(
    "X6 every host loses %i in 100 packets of TCP: values of all sizes arrive exact",
    async (percent) => {
      await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
      mesh.lan.lose(percent / 100);
      const script = `import { pool } from "mesh"; ${out}
const sizes = Array.from({ length: 60 }, (_, i) => [1, 1000, 70_000, 300_000][i % 4]!);
const filled = (size: number, seed: number) => { const bytes = new Uint8Array(size); for (let i = 0; i < size; i++) bytes[i] = (i * 31 + seed) & 255; return bytes; };
const back = await pool().map((bytes: Uint8Array) => { const other = new Uint8Array(bytes.length); for (let i = 0; i < bytes.length; i++) other[i] = bytes[bytes.length - 1 - i]! ^ 255; return other; }, sizes.map(filled));
out(back.map((bytes, i) => { const sent = filled(sizes[i]!, i); return bytes.length === sent.length && bytes.every((byte, at) => byte === (sent[sent.length - 1 - at]! ^ 255)); }));`;
      expect(await mesh.resultOf(script)).toEqual(Array.from({ length: 60 }, () => true));
    },
  );
});
