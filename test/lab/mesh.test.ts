// A mesh over several hosts: how they join, which addresses they use, and that they talk to each other directly.
import { describe, expect, test } from "vitest";
import { CENTRE, DESK, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./lan.ts";

const missing = missingForLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe.skipIf(missing)(`hosts of a LAN${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("F11 F17 workers and the user's machine join by token; a job uses all hosts", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
    const script = `import { pool, self } from "mesh"; import { hostname } from "node:os"; ${out}
out(await pool().map(async (i: number) => { await Bun.sleep(20); return [i * 2, self.node, hostname()]; }, Array.from({ length: 30 }, (_, i) => i)));`;
    const results = (await mesh.resultOf(script)) as [number, string, string][];
    expect(results.map(([value]) => value)).toEqual(Array.from({ length: 30 }, (_, i) => i * 2));
    expect([...new Set(results.map(([, node, host]) => `${node} on ${host}`))].sort()).toEqual([
      "w1 on w1",
      "w2 on w2",
    ]);
  });
});
