// Hosts that others cannot connect to: whoever can dial does, by the coordinator's word.
import { describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { DESK, jsonOf, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";
import { WatchedJob } from "./watched-job.ts";

const missing = missingForLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const where = `import { pool, self } from "mesh"; ${out} out(await pool().map(() => self.node, [1, 2, 3]));`;

describe.skipIf(missing)(`firewalls${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test.each([
    ["w1", "DROP"],
    ["w1", "REJECT"],
    [DESK, "DROP"],
    [DESK, "REJECT"],
  ] as const)("F35 nobody can connect to %s (%s): the other side dials", async (host, how) => {
    await using mesh = await LabMesh.start({ workers: { w1: 1 } });
    mesh.lan.closeTo(host, how);
    expect(await mesh.resultOf(where)).toEqual(["w1", "w1", "w1"]);
  });

  test("F35 neither can connect to the other: said clearly, and the job goes on elsewhere", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
    mesh.lan.closeTo(DESK, "DROP");
    mesh.lan.closeTo("w1", "DROP");
    await using job = new WatchedJob(mesh);
    await until(() => /w1 cannot be/.test(job.process.stderr), { what: "words on w1", timeoutMs: 20_000 });
    job.open();
    expect(await jsonOf(job.process)).toEqual(job.expected);
    expect(new Set(job.runs.map(({ host }) => host))).toEqual(new Set(["w2"]));
  });
});
