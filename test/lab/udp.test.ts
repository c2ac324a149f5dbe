// A mesh over UDP alone, on a network that loses packets, or that lets nothing but UDP through.
import { describe, expect, test } from "vitest";
import { jsonOf, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";

const missing = missingForLab();
const MIB = 1024 * 1024;
const udp = ["--listen", "udp://[::]:0"];
const options = { workers: { w1: 1, w2: 1 }, workerArgs: { w1: udp, w2: udp }, transport: "udp" as const };
const script = `import { pool, self } from "mesh";
const squares = await pool().map((i: number) => i * i, Array.from({ length: 500 }, (_, i) => i));
const bytes = new Uint8Array(${4 * MIB}).map((_, i) => i * 31 + (i >>> 16));
const hashes = await pool().apply((value: Uint8Array) => self.node + " " + String(Bun.hash(value)), bytes);
console.log(JSON.stringify([squares.every((value, i) => value === i * i), hashes.sort(), String(Bun.hash(bytes))]));`;

describe.skipIf(missing)(`UDP${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test.each([
    ["IPv4", 4],
    ["IPv6", 6],
  ] as const)(
    "X6 F23 %s, a packet in 20 is lost on its way to every host: results are exact",
    async (_, family) => {
      await using mesh = await LabMesh.start({ ...options, family });
      mesh.lan.lose(0.05, "udp");
      const [areRight, hashes, hash] = (await mesh.resultOf(script)) as [boolean, string[], string];
      expect([areRight, hashes]).toEqual([true, [`w1 ${hash}`, `w2 ${hash}`]]);
    },
    90_000,
  );

  test("F23 F35 where no TCP gets through at all, nodes join, and work, over UDP", async () => {
    await using mesh = await LabMesh.start(options);
    mesh.lan.lose(1, "tcp");
    await mesh.stop("w1");
    await mesh.startWorker("w1");
    await using run = mesh.run(script);
    const [areRight, hashes] = (await jsonOf(run)) as [boolean, string[]];
    expect([areRight, hashes.length]).toEqual([true, 2]);
    const { nodes } = await mesh.status();
    expect(nodes.filter(({ role }) => role === "worker").map(({ path }) => path?.kind)).toEqual(["udp", "udp"]);
  }, 90_000);
});
