// F48: lambdas and closures with the values they capture, run in another process.

import { describe, expect, test } from "vitest";
import { run } from "./support/harness.ts";

type Case = [title: string, script: string, expected: unknown[]];

const CASES: Case[] = [
  [
    "top-level data, a helper and a constant",
    `import { pool } from "mesh";
    const k = 3;
    function helper(x: number) { return x + k; }
    out(await pool().map((x: number) => helper(x) ** 2 * k, [1, 2, 3]));`,
    [[48, 75, 108]],
  ],
  [
    "top-level data with a value only the driver has",
    `import { pool } from "mesh";
    const base = await Promise.resolve(40), { a, ...rest } = { a: 1, b: 1 };
    const list: number[] = []; list.push(5);
    function deep() { return base + rest.b; }
    const call = () => deep() + a;
    out(await pool().map((x: number) => call() + list.length * x, [1, 2]));`,
    [[43, 44]],
  ],
  [
    "data as it is at the time of the call",
    `import { pool } from "mesh";
    let n = 1;
    const p = pool();
    const first = p.map((x) => x * n, [10]);
    n = 2;
    const second = p.map((x) => x * n, [10]);
    n = 3;
    out(await first, await second);`,
    [[10], [20]],
  ],
  [
    "variables of enclosing functions, in nested scopes with the same name",
    `import { pool } from "mesh";
    const k = 1;
    async function main(k: number) {
      const outer = () => k;
      { const k = 100; { const k2 = k; return await pool().map((x) => outer() + k + k2 + x, [1000]); } }
    }
    out(await main(10), k);`,
    [[1210], 1],
  ],
  [
    "variables hidden by others of the same name where the function stands",
    `import { pool, task } from "mesh";
    async function main(k: number) {
      const outer = () => k;
      {
        const k = "inner";
        const p = pool();
        out(await p.map((x) => [outer(), x], [1]), await p.submit(() => [k, outer()]));
        return await p.submit(async () => await pool().submit(() => [k, outer()]));
      }
    }
    out(await main(10));`,
    [[[10, 1]], ["inner", 10], ["inner", 10]],
  ],
  [
    "a loop's variable in each round",
    `import { pool } from "mesh";
    const p = pool(); const calls = [];
    async function go() { for (let i = 0; i < 3; i++) calls.push(p.submit(() => i)); for (const c of "ab") calls.push(p.submit(() => c)); }
    await go();
    out(await Promise.all(calls));`,
    [[0, 1, 2, "a", "b"]],
  ],
  [
    "a loop's variable at the top level",
    `import { pool } from "mesh";
    const p = pool(); const calls = [];
    for (let i = 0; i < 3; i++) calls.push(p.submit(() => i));
    out(await Promise.all(calls));`,
    [[0, 1, 2]],
  ],
  [
    "local helpers that capture, recurse and call each other",
    `import { pool } from "mesh";
    async function main(start: number) {
      const add = (x: number): number => x + start;
      function even(n: number): boolean { return n === 0 || odd(n - 1); }
      function odd(n: number): boolean { return n !== 0 && even(n - 1); }
      const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
      class Box { constructor(readonly v: number) {} get twice() { return add(this.v) * 2; } }
      const p = pool();
      out(await p.map((x) => [even(x), factorial(x), new Box(x).twice], [4, 5]));
      out(await p.map(factorial, [6]), await p.map(even, [7]));
    }
    await main(1);`,
    [
      [
        [true, 24, 10],
        [false, 120, 12],
      ],
      [720],
      [false],
    ],
  ],
  [
    "defaults, destructuring, rest, async, generators",
    `import { pool } from "mesh";
    const p = pool(); const d = [7].map((x) => x)[0];
    out(await p.starmap(({ a, b = d }: any, [c]: any, ...more: any[]) => [a, b, c, more], [[{ a: 1 }, [2], 3, 4]]));
    out(await p.map(async (x: number) => { await 0; return x; }, [1]));
    out(await p.map(async (n: number) => { const g = function* () { yield n; yield d; }; return [...g()]; }, [1]));
    out(await p.submit(async () => { const r = []; for await (const v of (async function* () { yield d; })()) r.push(v); return r; }));`,
    [[[1, 7, 2, [3, 4]]], [1], [[1, 7]], [7]],
  ],
  [
    "function expressions, conditionals, logicals, sequences, casts",
    `import { pool } from "mesh";
    const p = pool(); const flag = Math.random() < 2;
    const f = flag ? (x: number) => x + 1 : (x: number) => x + 2;
    let g; g = (x: number) => x * 10;
    out(await p.map(flag ? function (x) { return x; } : () => 0, [1]));
    out(await p.map(f, [1]), await p.map(g, [2]));
    out(await p.map(((0, (x: number) => x + 5) as any)!, [1]));
    out(await p.map((null ?? ((x) => -x)) satisfies Function, [1]));`,
    [[1], [2], [20], [6], [-1]],
  ],
  [
    "functions through variables, arrays and objects of other modules' making",
    `import { pool } from "mesh";
    const double = (x: number) => x * 2; function triple(x: number) { return x * 3; }
    const table = { double, triple };
    for (const f of [double, triple, table["double"]]) out(await pool().map(f, [2]));`,
    [[4], [6], [4]],
  ],
  [
    "expressions of globals, builtins and static methods",
    `import { pool } from "mesh"; import path, { basename } from "node:path"; import * as all from "node:path";
    class Tool { static twice(x: number) { return x * 2; } }
    const p = pool();
    out(await p.map(Math.sqrt, [16]), await p.map(path.basename, ["/a/b"]), await p.map(basename, ["/a/c"]));
    out(await p.map(all.extname, ["a.ts"]), await p.map(Tool.twice, [3]), await p.map(parseInt, ["12"]), await p.map(Number.isInteger, [1.5]));`,
    [[4], ["b"], ["c"], [".ts"], [6], [12], [false]],
  ],
  [
    "task(...) anywhere, and functions as values",
    `import { pool, task } from "mesh";
    const makeAdder = (n: number) => task((x: number) => x + n);
    const add3 = makeAdder(3);
    const twice = task((f: any) => (x: number) => f(f(x)));
    out(await pool().map((x: number) => add3(x), [1]));
    out(await pool().map(add3, [2]));
    out(await pool().starmap((f: any, x: number) => f(x), [[add3, 5], [makeAdder(1), 1]]));
    async function inner() { const local = makeAdder(100); return await pool().map((x) => local(x), [1]); }
    out(await inner());
    out(await pool().submit((fs: any) => fs.list[0](1), { list: [add3] }));`,
    [[4], [5], [8, 2], [101], 4],
  ],
  [
    "a function that comes back and goes again",
    `import { pool, task } from "mesh";
    async function main(n: number) { return await pool().submit((m: number) => task((x: number) => x + n + m), 10); }
    const back = await main(100);
    out(back(1), await pool().map(back, [2]));`,
    [111, [112]],
  ],
  [
    "nested pools inside a shipped function",
    `import { pool } from "mesh";
    const base = [1].length;
    async function main(k: number) {
      const helper = (x: number) => x * k;
      return await pool().map(async (x: number) => {
        const y = x + 1;
        return await pool().map((z: number) => helper(z) + y + base, [1, 2]);
      }, [10]);
    }
    out(await main(100));`,
    [[[112, 212]]],
  ],
  [
    "all ways to hold a pool",
    `import { pool as make, type Pool } from "mesh"; import * as mesh from "mesh"; import type * as m from "mesh";
    const f0 = [0][0];
    const held = make(); let later; later = mesh.pool(); await using third = (await make())!;
    out(await held.map((x) => x + f0 + 1, [0]), await later.map((x) => x + 2, [0]), await third.map((x) => x + 3, [0]));
    const use = (p: Pool, q: m.Pool | undefined) => Promise.all([p.map((x) => x + 4, [0]), q?.map((x) => x + 5, [0])]);
    out(await use(held, later));
    class Owner { #q = make(); p: Pool; constructor(private readonly r: Pool) { this.p = r; }
      all() { return Promise.all([this.p.map((x) => x + 6, [0]), this.r.map((x) => x + 7, [0]), this.#q.map((x) => x + 8, [0])]); } }
    out(await new Owner(held).all());
    const withDefault = (p = make()) => p.submit((x) => x, 9);
    out(await withDefault(), await (Math.random() < 2 ? held : later).submit(() => 10));
    for await (const v of held.imap((x) => x + 11, [0])) out(v);
    out(await held["map"]((x) => x + 12, [0]), await held.apply((a, b) => a + b, [6, 7]));`,
    [[1], [2], [3], [[4], [5]], [[6], [7], [8]], 9, 10, 11, [12], 13],
  ],
  [
    "Process, expose, spawn",
    `import { Process, expose, spawn } from "mesh";
    const k = [5][0];
    out(await new Process((a: number, b: number) => a + b + k, { args: [1, 2] }).start());
    const remote = expose((x: number) => x * k); out(await remote(3));
    class Counter { #n = k; add(x: number) { return (this.#n += x); } }
    out(await spawn(Counter, "add", 2));
    async function local(start: number) { class Local { go(x: number) { return x + start + k; } } return await spawn(Local, "go", 1); }
    out(await local(10));`,
    [8, 15, 7, 16],
  ],
  [
    "shadowed names: a local pool, arrays' map, a variable called $mesh",
    `import { pool } from "mesh";
    const $mesh = [1][0], $mesh1 = 2, registry = [3];
    function fake() { const pool = () => ({ map: (f: any, xs: any) => "fake:" + typeof f + xs.map((x: number) => x + 1) }); return pool().map((x: number) => x, [1]); }
    const own = { map: (f: () => number) => f() };
    out(fake(), own.map(() => 1));
    out(await pool().map((x: number) => [1, 2].map((y) => y + x + $mesh + $mesh1 + registry[0]), [0]));`,
    ["fake:function2", 1, [[7, 8]]],
  ],
  [
    "labels, template literals, unicode, shorthand, optional chaining, regular expressions",
    `import { pool } from "mesh";
    const größe = [2][0], 名 = \`n\${größe}\`;
    async function main({ ключ }: { ключ: number }) {
      return await pool().map((x: number) => {
        const found: number[] = [];
        outer: for (let i = 0; i < 3; i++) for (const j of [1, 2]) { if (j === 2) continue outer; if (i === 2) break outer; found.push(i); }
        return { größe, ключ, t: \`\${名}-\${x}\`, found, o: ({ a: null } as any)?.a?.b ?? "none", r: /a\\/b/g.test("a/b") };
      }, [1]);
    }
    out(await main({ ключ: 1 }));`,
    [[{ größe: 2, ключ: 1, t: "n2-1", found: [0, 1], o: "none", r: true }]],
  ],
  [
    "variables of its own may be assigned, captured objects changed",
    `import { pool } from "mesh";
    const box = { n: [1][0] };
    out(await pool().map((x: number) => { let sum = 0; for (let i = 0; i <= x; i++) sum += i; box.n = sum; x++; return [box.n, x]; }, [3]), box.n);`,
    [[[6, 4]], 1],
  ],
  [
    "generics, overloads, enums, namespaces, const assertions",
    `import { pool } from "mesh";
    enum Color { Red = 1, Green }
    const enum Fast { A = 5 }
    namespace Geo { export const scale = 2; export function area(x: number) { return x * scale; } }
    function pick(x: string): string; function pick(x: number): number; function pick<T>(x: T): T { return x; }
    const id = <T,>(x: T): T => x;
    type Item = { a: number }; interface Other extends Item {}
    abstract class Shape { abstract area(): number; twice() { return this.area() * 2; } }
    class Square extends Shape { constructor(private readonly side: number) { super(); } area() { return this.side ** 2; } }
    const conf = { a: 1, deep: [1, 2] } as const satisfies object;
    out(await pool().map(<T extends number>(x: T): unknown => [Color.Green, Fast.A, Geo.area(x), pick(x), id<T>(x), new Square(x).twice(), conf.deep[1]], [3]));`,
    [[[2, 5, 6, 3, 3, 18, 2]]],
  ],
  [
    "enums and namespaces that need the driver's data are missing elsewhere, not wrong",
    `import { pool } from "mesh"; const base = [5].length;
    enum E { A = base, B = 2 } namespace N { export const b = base; } namespace Side { out("side"); export const v = 1; }
    out(E.A, N.b, Side.v);
    for (const f of [() => E.B, () => N.b, () => Side.v]) void f;
    const p = pool();
    for (const call of [p.submit(() => E.B), p.submit(() => N.b), p.submit(() => Side.v)]) { try { out(await call); } catch (e) { out(e.name); } }`,
    ["side", 1, 1, 1, "ReferenceError", "ReferenceError", "ReferenceError"],
  ],
  [
    "names at all depths: catch, loops, switch, labels, static blocks, generators, closures in parameters",
    `import { pool } from "mesh"; const p = pool();
    async function main(n = [1][0]) {
      const r: unknown[] = [];
      try { throw 7; } catch (e) { r.push(await p.submit(() => e)); }
      for (const [i, { v }] of [[1, { v: 2 }]] as any) r.push(await p.submit(() => i + v + n));
      switch (n) { case 1: function inCase(x: number) { return x + n; } r.push(...(await p.map(inCase, [1]))); }
      let i = 0; while (i < 1) { const j = i++; r.push(await p.submit(() => j)); }
      class S { static r: Promise<unknown>; static { const z = n + 10; const own = () => z; S.r = p.submit(() => own()); } }
      r.push(await S.r);
      const g = (f = p.submit(() => n * 3)) => f; r.push(await g());
      const o = { async m(k: number) { return p.submit(() => k); }, get x() { return p.submit(() => n); } }; r.push(await o.m(4), await o.x);
      r.push(await (async (...rest: number[]) => p.submit(() => rest))(8, 9));
      return r;
    }
    out(await main());`,
    [[7, 4, 2, 0, 11, 3, 4, 1, [8, 9]]],
  ],
  [
    "constants defined by others, also in a circle that never runs",
    `import { pool } from "mesh";
    const a = 2, b = a * 3 + -1, c = \`\${b}!\`, d = a > 1 ? [b] : null;
    function never() { const x: number = y + 1, y: number = x + 1; return x; }
    out(await pool().submit(() => [a, b, c, d, typeof never]));`,
    [[2, 5, "5!", [5], "function"]],
  ],
  [
    "a captured name that a parameter repeats",
    `import { pool } from "mesh";
    async function main(k: number) { const h = () => k; return await pool().map((k: number) => h() + k, [1]); }
    out(await main(10));`,
    [[11]],
  ],
  [
    "explicit resource management inside and outside",
    `import { pool } from "mesh";
    const log: string[] = [];
    { using handle = { id: 1, [Symbol.dispose]() { log.push("gone"); } }; log.push("held" + handle.id); }
    out(await pool().map((x: number) => { const r: string[] = []; { using h = { [Symbol.dispose]() { r.push("disposed"); } }; r.push("in"); } return r; }, [1]), log);`,
    [[["in", "disposed"]], ["held1", "gone"]],
  ],
  [
    "function names and arity stay",
    `import { pool } from "mesh";
    const arrow = (a: number, b: number) => a + b; const expression = function (a: number) { return a; };
    function declared() {} const K = class {}; export default (x: number) => x;
    out(arrow.name, arrow.length, expression.name, declared.name, K.name);
    async function main() { const local = (x: number) => x; await pool().map(local, [1]); return local.name; }
    out(await main());`,
    ["arrow", 2, "expression", "declared", "K", "local"],
  ],
];

describe("F48 F92 shipped functions", () => {
  test.each(CASES)("%s", async (_title, script, expected) => {
    expect(await run(script)).toEqual(expected);
  });
});
