// The same two kinds of router, over and over: how often the first attempt makes a hole. MESH_PUNCH_REPEATS=100 for figures.
import { expect, test } from "vitest";
import { until } from "../support/until.ts";
import { DESK, jsonOf } from "./lab-mesh.ts";
import { missingForNatLab } from "./namespaces.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const REPEATS = Number(process.env.MESH_PUNCH_REPEATS ?? 8);
/** Of a hundred, so many at least. */
const DIRECT = 97;

/** Each run is a new node, which the worker has never met. Stays until the file is there. */
const script = (gate: string) => `import { pool } from "mesh";
import { existsSync } from "node:fs";
const begun = performance.now();
await pool().map((x: number) => x, [1]);
const firstMs = performance.now() - begun;
while (!existsSync(${JSON.stringify(gate)})) await Bun.sleep(5);
console.log(JSON.stringify(firstMs));`;

test.skipIf(missing)(
  `F22 port-restricted routers: ${REPEATS} first attempts, of which ${DIRECT} % make a hole${missing ? ` (skipped: ${missing})` : ""}`,
  async () => {
    const stand: Stand = { nat: "port", router: { letsOut: true } };
    await using matrix = await NatMatrix.start({ w1: stand }, { desk: stand });
    const folder = matrix.mesh.folders.get(DESK)!;
    const outcomes = () => [...matrix.mesh.worker("w1").stderr.matchAll(/ met node=\S+ outcome="([^"]*)"/g)];
    const firstMs: number[] = [];
    for (let i = 0; i < REPEATS; i++) {
      await using run = matrix.mesh.run(script(folder.at(`gate-${i}`)));
      await until(() => outcomes().length > i, { what: "a meeting", timeoutMs: 20_000 });
      folder.write({ [`gate-${i}`]: "" });
      firstMs.push((await jsonOf(run)) as number);
    }
    firstMs.sort((a, b) => a - b);
    const words = outcomes().map(([, outcome]) => outcome!);
    const direct = words.filter((outcome) => outcome.startsWith("a hole to"));
    const others = words.filter((outcome) => !direct.includes(outcome));
    const [middle, longest] = [firstMs[REPEATS >> 1], firstMs.at(-1)].map((ms) => Math.round(ms!));
    console.log(`${direct.length} of ${REPEATS} directly; first answer after ${middle} ms, at most ${longest}`);
    expect(direct.length, others.join("\n")).toBeGreaterThanOrEqual(Math.floor((DIRECT * REPEATS) / 100));
  },
  30_000 + REPEATS * 5_000,
);
