// What goes into tasks and comes back: every kind of value, large ones, many, and calls inside of calls.
import { describe, expect, test } from "vitest";
import { resultOf, runScript } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("results", () => {
  test("undefined, null, NaN, -0, infinities, BigInt, Map, Set, Date, bytes, RegExp, URL, errors come back as they were", async () => {
    const script = `import { pool } from "mesh"; import { inspect } from "node:util"; import { isDeepStrictEqual } from "node:util"; ${out}
const values = [undefined, null, NaN, -0, 0, Infinity, -Infinity, 2 ** 53 + 2, 12345678901234567890n, -5n, "", "ümlaut 🎈 \\0", new Map<unknown, unknown>([[{ k: 1 }, new Map([["a", 1n]])]]), new Set([1, "1"]), new Date(0), new Uint8Array([1, 2, 3]), new Float32Array([1.5]), new ArrayBuffer(4), /a+/gi, [undefined, , 3], { a: undefined, "__proto__x": 1 }, new RangeError("r", { cause: "c" }), Symbol.iterator === Symbol.iterator];
const p = pool();
const asItems = await p.map((x: unknown) => x, values, { chunkSize: 1 });
const asArgs = await Promise.all(values.map((value) => p.submit((x: unknown) => x, value)));
const captured = await p.submit(() => values);
const wrong = (got: unknown[]) => got.flatMap((x, i) => isDeepStrictEqual(x, values[i]) ? [] : [i + ": " + inspect(values[i]) + " became " + inspect(x)]);
out([wrong(asItems), wrong(asArgs), wrong(captured), asItems.length]);`;
    const [asItems, asArgs, captured] = (await resultOf(script)) as string[][];
    // CBOR as we write it knows no gaps in lists and no -0; lists of numbers alone travel as doubles and keep it.
    const gap = expect.stringContaining("1 empty item");
    expect([asItems, asArgs, captured]).toEqual([[gap], ["3: -0 became 0", gap], ["3: -0 became 0", gap]]);
  });

  test("lists of numbers alone, which travel in a form of their own, are the same ones", async () => {
    const script = `import { pool } from "mesh"; import { isDeepStrictEqual } from "node:util"; ${out}
const numbers = [0, -0, NaN, Infinity, -Infinity, 1.5, 2 ** 53 - 1, Number.MIN_VALUE, -1];
const p = pool();
out([isDeepStrictEqual(await p.map((x: number) => x, numbers), numbers), isDeepStrictEqual(await p.map((x: number) => x, numbers, { chunkSize: 4 }), numbers), await p.map((x: number) => (x === 1 ? "s" : x), [0, 1, 2], { chunkSize: 3 })]);`;
    expect(await resultOf(script)).toEqual([true, true, [0, "s", 2]]);
  });

  test("instances of the script's classes keep class, private fields and identity", async () => {
    const script = `import { pool } from "mesh"; ${out}
class Counter { #n = 0; label = "c"; add(k: number) { this.#n += k; return this; } get n() { return this.#n; } }
const c = new Counter().add(2);
const back = await pool().submit((x: Counter) => x.add(3), c);
const [same] = await pool().map((pair: Counter[]) => pair[0] === pair[1], [[c, c]]);
const made = await pool().submit(() => new Counter().add(9));
out([back instanceof Counter, back.n, back.label, c.n, same, made.n]);`;
    expect(await resultOf(script)).toEqual([true, 5, "c", 2, true, 9]);
  });

  test("a million strings there and back", async () => {
    const script = `import { pool } from "mesh"; ${out}
const done = await pool().map((s: string) => s + "!", Array.from({ length: 1_000_000 }, (_, i) => "item " + i));
out([done.length, done[0], done[999_999], done.every((s, i) => s === "item " + i + "!")]);`;
    expect(await resultOf(script)).toEqual([1_000_000, "item 0!", "item 999999!", true]);
  });

  test("200 MB there and back", async () => {
    const script = `import { pool } from "mesh"; ${out}
const big = new Uint8Array(200 << 20);
for (let i = 0; i < big.length; i += 4096) big[i] = i >>> 12;
const back = await pool({ slots: 1 }).submit((bytes: Uint8Array) => { bytes[1] = 7; return bytes; }, big);
let same = back.length === big.length && back[1] === 7;
for (let i = 0; i < big.length; i += 4096) if (back[i] !== big[i]) same = false;
out([back instanceof Uint8Array, same]);`;
    expect(await resultOf(script, { limitMs: 30_000 })).toEqual([true, true]);
  });

  test("large items in numbers: no more of them is under way than is good", async () => {
    const script = `import { pool } from "mesh"; ${out}
function* large() { for (let i = 0; i < 60; i++) yield new Uint8Array(4 << 20).fill(i); }
let sum = 0;
for await (const x of pool({ slots: 2 }).imap((bytes: Uint8Array) => bytes[bytes.length - 1]!, large())) sum += x;
out(sum);`;
    expect(await resultOf(script)).toBe((59 * 60) / 2);
  });
});

describe("what cannot be sent", () => {
  test.each([
    [
      "an item",
      "await p.map((x: unknown) => 1, [1, { a: [new WeakMap()] }])",
      /pool\.map: item 1\.a\[0\]: a WeakMap cannot travel/,
    ],
    [
      "an argument of submit",
      "await p.submit((a: unknown, b: unknown) => 1, 1, { socket: new WeakMap() })",
      /args\[1\]\.socket: a WeakMap cannot travel/,
    ],
    [
      "an extra argument",
      "await p.map((x: number, y: unknown) => 1, [1], { args: [new WeakMap()] })",
      /args\[0\]: a WeakMap cannot travel/,
    ],
    ["a captured value", "await p.submit(() => held)", /held\.deep: a WeakMap cannot travel/],
    [
      "a captured value of a block",
      "const inner = { deep: new WeakMap() }; await p.submit(() => inner)",
      /captured inner\.deep: a WeakMap cannot travel/,
    ],
    [
      "an item of an async source",
      "await p.map((x: unknown) => 1, (async function* () { yield 0; yield new WeakMap(); })())",
      /item 1: a WeakMap cannot travel/,
    ],
    [
      "a function that was not seen",
      "await p.submit((f: Function) => f(), globalThis.eval('(() => 1)'))",
      /args\[0\].*cannot travel/,
    ],
  ])("CANNOT_TRAVEL: %s, by its path; the pool goes on", async (_, call, expected) => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool(), held = { deep: new WeakMap() };
let said: unknown;
try { ${call}; } catch (e: any) { said = [e.code, e.message]; }
out([said, await p.map((x: number) => x, [1, 2])]);`;
    const [said, after] = (await resultOf(script)) as unknown[];
    expect(said).toEqual(["CANNOT_TRAVEL", expect.stringMatching(expected)]);
    expect(after).toEqual([1, 2]);
  });
});

describe("calls inside of calls", () => {
  test.each(["1", "2", "3"])(
    "a task that uses a pool, three deep, on %s slots: nobody waits forever",
    async (slots) => {
      const script = `import { pool } from "mesh"; ${out}
const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
out(await pool().map(async (x: number) => sum(await pool().map(async (y: number) => sum(await pool().map((z: number) => x + y + z, [1, 2])), [10, 20, 30])), [100, 200, 300, 400]));`;
      const expected = [100, 200, 300, 400].map((x) =>
        [10, 20, 30].flatMap((y) => [1, 2].map((z) => x + y + z)).reduce((a, b) => a + b),
      );
      expect(await resultOf(script, { args: ["--slots", slots] })).toEqual(expected);
    },
  );

  test("a nested pool of one slot, and an error from the depth", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 1 });
out([await p.map(async (x: number) => (await pool({ slots: 1 }).map((y: number) => y * x, [1, 2])).join(), [1, 2, 3]), await p.submit(async () => { await pool().submit(() => { throw new RangeError("deep"); }); }).catch((e) => [e.constructor.name, e.message])]);`;
    expect(await resultOf(script, { args: ["--slots", "1"] })).toEqual([
      ["1,2", "2,4", "3,6"],
      ["RangeError", "deep"],
    ]);
  });

  test.each(["1", "2", "3"])("recursion over the mesh, on %s slots", async (slots) => {
    const script = `import { pool } from "mesh"; ${out}
async function fibonacci(n: number): Promise<number> {
  if (n < 2) return n;
  const [a, b] = await pool().map(fibonacci, [n - 1, n - 2]);
  return a! + b!;
}
out(await fibonacci(9));`;
    expect(await resultOf(script, { args: ["--slots", slots] })).toBe(34);
  });

  test("a slot that dies while its task waits for tasks of its own", async () => {
    const script = `import { pool } from "mesh"; import { existsSync, writeFileSync } from "node:fs"; ${out}
const flag = process.env.XDG_RUNTIME_DIR + "/died";
out(await pool().map(async (x: number) => {
  const inner = await pool().map(async (y: number) => { await Bun.sleep(20); return y * x; }, [1, 2, 3]);
  if (x === 2 && !existsSync(flag)) { writeFileSync(flag, ""); process.kill(process.pid, "SIGKILL"); }
  return inner;
}, [1, 2]));`;
    expect(await resultOf(script, { args: ["--slots", "2"] })).toEqual([
      [1, 2, 3],
      [2, 4, 6],
    ]);
  });

  test.each([
    ["submit", "await p.submit(() => 1)"],
    ["a map of two", "await p.map((x: number) => x, [1, 2])"],
    ["imap over an iterable", "for await (const _ of p.imap((x: number) => x, new Set([1, 2, 3])));"],
  ])("a short call, %s, does not wait for the end of a long one", async (_, short) => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 2 }), order: string[] = [];
const long = p.map((x: number) => { const end = performance.now() + 2; while (performance.now() < end); }, Array.from({ length: 500 }, (_, i) => i)).then(() => order.push("long"));
await Bun.sleep(100);
${short};
order.push("short");
await long;
out(order);`;
    expect(await resultOf(script)).toEqual(["short", "long"]);
  });

  test("two pools at once, many calls at once: each gets its own results", async () => {
    const script = `import { pool } from "mesh"; ${out}
const a = pool(), b = pool({ slots: 1 });
const all = await Promise.all(Array.from({ length: 50 }, (_, k) => k % 2 ? a.map((x: number) => x * k, [1, 2, 3]) : b.map((x: number) => x * k, [1, 2, 3])));
out(all.every((list, k) => list.join() === [k, 2 * k, 3 * k].join()));`;
    expect(await resultOf(script)).toBe(true);
  });
});

describe("F48 lambdas and closures", () => {
  test("F48 captured values are those of the time of the call; functions call each other", async () => {
    const script = `import { pool, task } from "mesh"; ${out}
const factor = 3, config = { offset: 1 };
const helper = (x: number) => x * factor + config.offset;
const scale = (n: number) => task((x: number) => x * n);
const results: Promise<number[]>[] = [];
for (let i = 0; i < 3; i++) results.push(pool().map((x: number) => x + i, [0, 10]));
config.offset = 2;
out([await pool().map(helper, [1, 2]), await pool().map(scale(4), [1]), await Promise.all(results), await pool().map((f: (x: number) => number) => f(5), [scale(2), helper])]);`;
    expect(await resultOf(script)).toEqual([
      [5, 8],
      [4],
      [
        [0, 10],
        [1, 11],
        [2, 12],
      ],
      [10, 17],
    ]);
  });

  test("F48 F51 a function's own state stays in its slot: a copy, not the script's", async () => {
    const script = `import { pool } from "mesh"; ${out}
const seen: number[] = [];
const lengths = await pool({ slots: 1 }).map((x: number) => seen.push(x), [1, 2]).catch((e) => e.message);
out([lengths, seen]);`;
    const [, seen] = (await resultOf(script)) as unknown[];
    expect(seen).toEqual([]);
  });
});

describe("F49 F50 dependencies", () => {
  const files = {
    "lib/shapes.ts": `import { unit } from "./unit.ts"; export const area = (r: number) => r * r * unit; export class Box { constructor(readonly side: number) {} get volume() { return this.side ** 3; } }`,
    "lib/unit.ts": "export const unit = 2; export let loads = 0; loads++;",
    "data/table.json": `{ "a": [1, 2, 3] }`,
    "data/note.txt": "a note\n",
    "node_modules/left/package.json": `{ "name": "left", "version": "1.0.0", "type": "module", "exports": { ".": "./main.js", "./deep": "./deep.cjs" } }`,
    "node_modules/left/main.js": `import { createRequire } from "node:module"; export const left = (s, n) => s.padStart(n, "."); export default { left };`,
    "node_modules/left/deep.cjs": "module.exports = { deep: (x) => x + 1 };",
  };

  test("F49 local modules, npm packages, JSON and text are found and shipped unseen", async () => {
    const script = `import { pool } from "mesh"; ${out}
import { area, Box } from "./lib/shapes.ts";
import { left } from "left";
import { deep } from "left/deep";
import table from "./data/table.json";
import note from "./data/note.txt" with { type: "text" };
import { basename } from "node:path";
out(await pool().map((x: number) => [area(x), new Box(x).volume, left("x", 3), deep(x), table.a, note, basename("/a/b")], [2]));`;
    expect(await resultOf(script, { files })).toEqual([[8, 8, "..x", 3, [1, 2, 3], "a note\n", "b"]]);
  });

  test("F49 an instance of an imported class comes back as one", async () => {
    const script = `import { pool } from "mesh"; import { Box } from "./lib/shapes.ts"; ${out}
const box = await pool().submit(() => new Box(3));
out([box instanceof Box, box.volume]);`;
    expect(await resultOf(script, { files })).toEqual([true, 27]);
  });

  test("F49 an imported module is loaded once in each slot, whatever it is used for", async () => {
    const script = `import { pool } from "mesh"; import { loads } from "./lib/unit.ts"; import { area } from "./lib/shapes.ts"; ${out}
const p = pool({ slots: 1 });
out([await p.submit(() => loads), await p.map((x: number) => [area(x), loads], [1, 2]), loads]);`;
    expect(await resultOf(script, { files })).toEqual([
      1,
      [
        [2, 1],
        [8, 1],
      ],
      1,
    ]);
  });

  test("F50 a native addon: an error that says so, or it works", async () => {
    const native = {
      "node_modules/odd/package.json": `{ "name": "odd", "version": "1.0.0", "main": "./odd.node" }`,
      "node_modules/odd/odd.node": "not really one",
    };
    const { status, stderr } = await runScript(
      `import { pool } from "mesh"; import odd from "odd"; console.log(await pool().submit(() => odd.x));`,
      { files: native },
    );
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/odd/);
    expect(stderr).not.toContain("bug in mesh");
  });
});
