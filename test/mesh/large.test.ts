// Values of any size between hosts: they hold up nobody else, and no node on the way holds them.
import { expect, test } from "vitest";
import { peakBytes } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { open, prelude, whenNoted } from "./notes.ts";

const MIB = 1024 * 1024;
/** 1 GiB with MESH_LARGE_MIB=1024. */
const LARGE_MIB = Number(process.env.MESH_LARGE_MIB ?? 256);
const LIMIT_MS = 30_000 + LARGE_MIB * 100;

test(
  `F26 X15 ${LARGE_MIB} MiB to one slot and back, while small messages go to another: exact, nobody is held up, no node grows`,
  async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 2 } });
    const script = `import { pool } from "mesh"; ${prelude}
const p = pool();
/** Its pattern fits no piece of it: what is lost, doubled or at another place shows. */
const make = (size: number) => { const made = new Uint8Array(size); for (let i = 0; i < 65_521; i++) made[i] = i * 31; for (let n = 65_521; n < size; n *= 2) made.copyWithin(n, 0, Math.min(n, size - n)); return made; };
const bytes = make(${LARGE_MIB * MIB});
const hash = (value: Uint8Array) => String(Bun.hash(value));
await p.apply(() => 0);
note("ready", 1);
await gate("go");
/** Small calls, one after the other, until the large one is over. */
const beside = async (large: Promise<unknown>) => {
  let isOver = false, count = 0, wrong = 0;
  void large.finally(() => { isOver = true; });
  while (!isOver) if ((await p.submit((i: number) => i, ++count)) !== count) wrong++;
  return [count, wrong];
};
const there = p.submit(hash, bytes);
const [during, wrong] = await beside(there);
const back = p.submit(make, bytes.length);
const [duringBack, wrongBack] = await beside(back);
out([during, wrong, (await there) === hash(bytes), duringBack, wrongBack, hash(await back) === hash(bytes)]);
note("over", 1);
await gate("end");`;
    await using run = mesh.start(script, { limitMs: LIMIT_MS });
    await whenNoted(mesh.folder, "ready", 1, 20_000);
    const nodes = run.processes.filter(({ command }) => /^(head|worker|coordinator|run)$/.test(command[1] ?? ""));
    expect(nodes).toHaveLength(4);
    const before = new Map(nodes.map(({ pid }) => [pid, peakBytes(pid)]));
    open(mesh.folder, "go");
    await whenNoted(mesh.folder, "over", 1, LIMIT_MS);
    const grown = nodes.map(({ pid, command }) => [command[1], (peakBytes(pid) - before.get(pid)!) / MIB] as const);
    open(mesh.folder, "end");
    const { stdout } = await run.ended();
    const [during, wrong, isExact, duringBack, wrongBack, isExactBack] = JSON.parse(stdout);
    // Windows and what waits to be collected, however large the value is.
    for (const [role, mib] of grown) expect(mib, `MiB by which ${role} has grown`).toBeLessThan(192);
    expect([wrong, isExact, wrongBack, isExactBack]).toEqual([0, true, 0, true]);
    // With one way for all, each of them would wait behind a window of the large value: some thirty in all.
    expect(during).toBeGreaterThan(200);
    expect(duringBack).toBeGreaterThan(200);
  },
  LIMIT_MS + 10_000,
);

test("F26 F34 large and small values through one pipe to another host keep their order", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const script = `import { pipe, pool } from "mesh"; ${prelude}
const [funnel, spout] = pipe<[number, Uint8Array]>();
const reader = pool().submit(async () => { const got: [number, number, number][] = []; for await (const [i, bytes] of spout) got.push([i, bytes.length, bytes.at(-1) ?? -1]); return got; });
const sizes = Array.from({ length: 60 }, (_, i) => (i % 7 === 3 ? 5_000_000 + i : i * 10));
for (const [i, size] of sizes.entries()) await funnel.send([i, new Uint8Array(size).fill(i)]);
await funnel.close();
out([sizes, await reader]);`;
  const [sizes, got] = (await mesh.resultOf(script)) as [number[], [number, number, number][]];
  expect(got).toEqual(sizes.map((size, i) => [i, size, size === 0 ? -1 : i]));
});
