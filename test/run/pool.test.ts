// Calls of the pool on real processes: what comes back, in which order, from how many slots, and how far sources are read.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MeshProcess, nothingLeft, resultOf, runScript, testFolder } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("F39 the same script", () => {
  const script = `import { pool } from "mesh"; ${out}
const base = 10;
const p = pool();
out([
  await p.map((x: number) => x * base, [3, 1, 2]),
  await p.starmap((a: number, b: string) => a + b, [[1, "a"], [2, "b"]]),
  await p.submit((x: number) => x + 1, 41),
]);`;
  const expected = [[30, 10, 20], ["1a", "2b"], 42];

  test.each(["1", "2", "7"])("F39 gives the same on %s slots", async (slots) => {
    expect(await resultOf(script, { args: ["--slots", slots] })).toEqual(expected);
  });
});

describe("F40 map and apply", () => {
  test("F40 keeps the order over all slots, however long each item takes", async () => {
    const script = `import { pool, self } from "mesh"; ${out}
const done = await pool().map(async (i: number) => { await Bun.sleep((i * 7919) % 11); return [i, self.slot]; }, Array.from({ length: 300 }, (_, i) => i), { chunkSize: 1 });
out({ inOrder: done.every(([i], at) => i === at), slots: [...new Set(done.map(([, slot]) => slot))].sort() });`;
    expect(await resultOf(script, { args: ["--slots", "3"] })).toEqual({ inOrder: true, slots: [1, 2, 3] });
  });

  test("F40 passes extra arguments after the item, by `args`", async () => {
    const script = `import { pool } from "mesh"; ${out}
out(await pool().map((x: number, y: number, z: { n: number }) => [x, y, z.n], [1, 2], { args: [5, { n: 6 }] }));`;
    expect(await resultOf(script)).toEqual([
      [1, 5, 6],
      [2, 5, 6],
    ]);
  });

  test("F40 apply runs once on every slot, in their order", async () => {
    const script = `import { pool, self } from "mesh"; ${out}
const p = pool();
out([await p.apply((x: number) => [self.slot, x, self.isDriver], 9), new Set(await p.apply(() => process.pid)).size, self.slot, self.isDriver]);`;
    const each = [1, 2, 3].map((slot) => [slot, 9, false]);
    expect(await resultOf(script, { args: ["--slots", "3"] })).toEqual([each, 3, 0, true]);
  });

  test("F40 apply reaches the same processes each time: what one call leaves there the next one finds", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool();
await p.apply((n: number) => void ((globalThis as any).kept = n), 5);
out(await p.apply(() => (globalThis as any).kept));`;
    expect(await resultOf(script, { args: ["--slots", "3"] })).toEqual([5, 5, 5]);
  });
});

describe("F41 more than map", () => {
  test("F41 submit, imap, imapUnordered and starmap", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 2 });
const slowFirst = async (x: number) => { await Bun.sleep(x === 0 ? 300 : 1); return x; };
const ordered = [], unordered = [];
for await (const x of p.imap(slowFirst, [0, 1, 2, 3], { chunkSize: 1 })) ordered.push(x);
for await (const x of p.imapUnordered(slowFirst, [0, 1, 2, 3], { chunkSize: 1 })) unordered.push(x);
out([await p.submit((a: number, b: number) => a * b, 6, 7), ordered, unordered, await p.starmap((...n: number[]) => Math.max(...n), [[1, 9, 2], [3]])]);`;
    expect(await resultOf(script)).toEqual([42, [0, 1, 2, 3], [1, 2, 3, 0], [9, 3]]);
  });

  test("F41 takes iterables and async iterables, and gives generators' values as lists", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool();
function* sync() { for (let i = 0; i < 5; i++) yield i; }
async function* slow() { for (let i = 0; i < 5; i++) { await Bun.sleep(2); yield i; } }
const imapped = [];
for await (const x of p.imap((x: number) => -x, slow())) imapped.push(x);
out([await p.map((x: number) => x + 1, sync()), await p.map((x: number) => x + 1, slow()), imapped, await p.map((x: string) => x, new Set(["a", "b"])), await p.map(function* (n: number) { for (let i = 0; i < n; i++) yield i; }, [2, 3]), await p.map((x: number) => x, []), await p.submit(async function* () { yield 1; yield 2; })]);`;
    const upTo5 = [1, 2, 3, 4, 5];
    expect(await resultOf(script)).toEqual([
      upTo5,
      upTo5,
      [0, -1, -2, -3, -4],
      ["a", "b"],
      [
        [0, 1],
        [0, 1, 2],
      ],
      [],
      [1, 2],
    ]);
  });

  test.each([
    ["a sync generator", "function* source() { try { for (;;) yield read++; } finally { closed = true; } }"],
    ["an async generator", "async function* source() { try { for (;;) yield read++; } finally { closed = true; } }"],
  ])("F41 an endless source, %s, is read only as far as results are taken", async (_, source) => {
    const script = `import { pool } from "mesh"; ${out}
let read = 0, closed = false;
${source}
const taken: number[] = [];
for await (const x of pool({ slots: 2 }).imap(async (x: number) => { await Bun.sleep(5); return x; }, source())) {
  taken.push(x);
  if (taken.length === 20) break;
}
await Bun.sleep(0);
out({ taken: taken.at(-1), ahead: read - taken.length, closed });`;
    const { ahead, ...rest } = (await resultOf(script)) as { ahead: number };
    expect(rest).toEqual({ taken: 19, closed: true });
    expect(ahead).toBeLessThanOrEqual(64);
  });

  test("F41 a reader that stops reading stops the source", async () => {
    const script = `import { pool } from "mesh"; ${out}
let read = 0;
function* source() { for (;;) yield read++; }
const results = pool({ slots: 2 }).imapUnordered((x: number) => x, source());
await results.next();
let before = -1;
while (before !== read) { before = read; await Bun.sleep(150); } // until it has come to rest
out(read);
await results.return();`;
    const read = (await resultOf(script)) as number;
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(4_096);
  });
});

describe("F42 slots", () => {
  test("F42 are as many as cores by default", async () => {
    const script = `import { pool, nodes } from "mesh"; ${out}
out([(await pool().apply(() => process.pid)).length, (await nodes()).map((n) => [n.name, n.slots])]);`;
    const cores = availableParallelism();
    expect(await resultOf(script)).toEqual([cores, [["here", cores]]]);
  });

  test("F42 are chosen by --slots, and by pool({ slots }) for a pool, fewer or more", async () => {
    const script = `import { pool } from "mesh"; ${out}
const count = async (slots?: number) => (await pool(slots ? { slots } : {}).apply(() => process.pid)).length;
out([await count(), await count(1), await count(5)]);`;
    // What outlives the last result (a link opened twice, say) would hold the end up.
    expect(await resultOf(script, { args: ["--slots", "3"], limitMs: 4_000 })).toEqual([3, 1, 5]);
  });

  test.each(["0", "-1", "1.5", "many", "4097"])("F42 --slots %s is refused", async (slots) => {
    const { status, stderr } = await runScript("", { args: ["--slots", slots] });
    expect([status, stderr]).toEqual([2, expect.stringContaining("whole number of 1 to 4096")]);
  });
});

describe("F43 sessions", () => {
  const alive =
    "const alive = (pid: number) => { try { process.kill(pid, 0); return true; } catch { return false; } };";

  test.each([
    ["await using", "{ await using p = pool(); pids = await p.apply(() => process.pid); }"],
    ["close", "const p = pool(); pids = await p.apply(() => process.pid); await p.close(); await p.close();"],
  ])("F43 %s ends the pool's slots; another pool starts others", async (_, use) => {
    const script = `import { pool } from "mesh"; ${out} ${alive}
let pids: number[] = [];
${use}
const end = performance.now() + 5_000;
while (pids.some(alive) && performance.now() < end) await Bun.sleep(5);
const later = await pool().apply(() => process.pid);
out([pids.length, pids.some(alive), later.some((pid) => pids.includes(pid)), later.length]);`;
    expect(await resultOf(script, { args: ["--slots", "2"] })).toEqual([2, false, false, 2]);
  });

  test("F43 a slot that another pool uses stays", async () => {
    const script = `import { pool } from "mesh"; ${out}
const first = pool();
const pids = await first.apply(() => process.pid);
{ await using second = pool(); await second.apply(() => process.pid); }
out(JSON.stringify(await first.apply(() => process.pid)) === JSON.stringify(pids));`;
    expect(await resultOf(script, { args: ["--slots", "2"] })).toBe(true);
  });

  test("F43 two runs at once share nothing, and end by themselves", async () => {
    const script = `import { pool, args } from "mesh";
await pool().apply((mine: string) => void ((globalThis as any).mine = mine), args[0]!);
console.log("ready");
await new Promise((done) => process.stdin.once("data", done).once("end", done));
console.log(JSON.stringify(await pool().apply(() => [(globalThis as any).mine, process.pid])));`;
    using folder = testFolder({ "job.ts": script });
    const start = (name: string) => new MeshProcess(folder, ["run", "--slots", "2", "job.ts", name]);
    await using one = start("one");
    await using two = start("two");
    const ends = await Promise.all([one.ended(), two.ended()]);
    const [seen1, seen2] = ends.map(({ stdout }) => JSON.parse(stdout.split("\n")[1]!) as [string, number][]);
    expect([seen1!.map(([name]) => name), seen2!.map(([name]) => name)]).toEqual([
      ["one", "one"],
      ["two", "two"],
    ]);
    expect(new Set([...seen1!, ...seen2!].map(([, pid]) => pid)).size).toBe(4);
    await nothingLeft(folder);
  });
});

describe("F46 chunks", () => {
  test("F46 a million tiny items and five heavy ones are both fine", async () => {
    const script = `import { pool } from "mesh"; ${out}
const n = 1_000_000;
const tiny = await pool().map((x: number) => x + 1, Array.from({ length: n }, (_, i) => i));
const heavy = await pool().map((x: number) => { const end = performance.now() + 60; while (performance.now() < end); return [x, process.pid]; }, [1, 2, 3, 4, 5]);
out([tiny.length, tiny.every((x, i) => x === i + 1), heavy.map(([x]) => x), new Set(heavy.map(([, pid]) => pid)).size]);`;
    expect(await resultOf(script, { args: ["--slots", "2"] })).toEqual([1_000_000, true, [1, 2, 3, 4, 5], 2]);
  });

  test("F45 what waits in a slot behind a long item is done by the others", async () => {
    // The long item ends when all others are done: if one of them waited behind it, neither would ever be.
    const script = `import { existsSync, writeFileSync } from "node:fs";
import { args, pool } from "mesh"; ${out}
const go = args[0];
const wait = (i: number) => {
  const end = performance.now() + 20_000;
  while (i === 0 && !existsSync(go) && performance.now() < end);
  return [i, performance.now() < end];
};
const order: number[] = [];
for await (const [i, inTime] of pool().imapUnordered(wait, Array.from({ length: 300 }, (_, i) => i), { chunkSize: 1 })) {
  if (!inTime) throw new Error("an item waited behind the long one");
  if (order.push(i) === 299) writeFileSync(go, "");
}
out([order.length, new Set(order).size, order.at(-1)]);`;
    using folder = testFolder();
    const options = { args: ["--slots", "2"], scriptArgs: [join(folder.path, "go")] };
    expect(await resultOf(script, options)).toEqual([300, 300, 0]);
  });

  test("F45 items of very different length: no slot waits behind a long one", async () => {
    // One item takes as long as all others together: with it in the first chunk, the other slot does the rest.
    const script = `import { pool } from "mesh"; ${out}
const done = await pool().map(async (i: number) => { await Bun.sleep(i === 0 ? 400 : 4); return process.pid; }, Array.from({ length: 60 }, (_, i) => i));
out(done.filter((pid) => pid === done[0]).length);`;
    const besideTheLongOne = (await resultOf(script, { args: ["--slots", "2"] })) as number;
    expect(besideTheLongOne).toBeLessThan(25);
  });
});
