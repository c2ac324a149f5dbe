// F49: local modules, npm packages and assets go along unseen; the bundles hold all of them.

import { describe, expect, test } from "vitest";
import { build, type Files, fixture, run, runBundle } from "./support/harness.ts";

type Case = [title: string, files: Files, expected: unknown[], script?: string];

const CASES: Case[] = [
  [
    "local modules, an npm package, JSON and text",
    {
      "job.ts": `import { pool } from "mesh";
import { scale } from "./lib/scale";
import { twice as double } from "tiny";
import config from "./config.json";
import text from "./note.txt" with { type: "text" };
out(await pool().map((x: number) => [scale(x), double(x), config.port, text.trim()], [2]));
out(await pool().map(double, [4]), await pool().map(scale, [1]));`,
      "lib/scale.ts": `import { factor } from "./factor.js"; export const scale = (x: number) => x * factor;`,
      "lib/factor.js": "export const factor = 10;",
      "config.json": `{ "port": 8080 }`,
      "note.txt": "remember\n",
      "node_modules/tiny/package.json": `{ "name": "tiny", "main": "index.js" }`,
      "node_modules/tiny/index.js": "module.exports = { twice: (x) => x * 2 };",
    },
    [[[20, 4, 8080, "remember"]], [8], [10]],
  ],
  [
    "top-level statements of the script run once, those of modules once in each process",
    {
      "job.ts": `import { pool } from "mesh"; import { loads } from "./count"; import "./effect";
out("statement"); if (true) { out("block"); }
for (const x of [1]) out(x);
out(await pool().map(() => [loads(), (globalThis as any).effect], [0, 0]));`,
      "count.ts": "let n = 0; n++; export const loads = () => n;",
      "effect.js": "globalThis.effect = (globalThis.effect ?? 0) + 1;",
    },
    [
      "statement",
      "block",
      1,
      [
        [1, 1],
        [1, 1],
      ],
    ],
  ],
  [
    "an imported module used only at the top level is still evaluated where its functions go",
    {
      "job.ts": `import { pool } from "mesh"; import { work } from "./lib"; import type { T } from "./types"; import { U } from "./types2";
const table = { work }; const t: T | U = 1; out(await pool().map(table["work"], [1]), t);`,
      "lib.ts": `import { pool } from "mesh"; const step = [1][0]; export function work(x: number) { return x + step; }`,
      "types.ts": "out('never'); export type T = number;",
      "types2.ts": "out('never'); export type U = number;",
    },
    [[2], 1],
  ],
  [
    "modules that ship functions themselves, with data of their own",
    {
      "job.ts": `import { square, Runner } from "./lib/square"; out(await square([3], 2)); out(await new Runner().go());`,
      "lib/square.ts": `import { pool, type Pool } from "mesh";
let calls = 0; const power = 2;
export async function square(xs: number[], add: number) { const helper = (x: number) => x ** power + add; return await pool().map((x) => { calls++; return [helper(x), calls]; }, xs); }
export class Runner { constructor(private p: Pool = pool()) {} go() { const n = 5; return this.p.map(() => n + power, [0]); } }`,
    },
    [[[11, 1]], [7]],
  ],
  [
    "exports of every kind, imported back by a module in a circle",
    {
      "job.ts": `import { pool } from "mesh"; import { callBack, sum } from "./back";
export const data = [1, 2].map((x) => x); export let later; export function helper(x: number) { return x + 1; }
export class Thing { v = 1; } export enum E { A = 4 } export type T = number; export { helper as renamed, data as list }; export * from "./more"; export { one as uno } from "./more";
later = 3;
export default async function (x: number) { return x; }
out(await pool().map((x: number) => callBack(x) + E.A, [1]), await pool().map((x: number) => data.length + x, [1]), sum());`,
      "back.ts": `import { helper, data, renamed } from "./job"; export const callBack = (x: number) => helper(x) * renamed(10); export const sum = () => data.length;`,
      "more.ts": "export const one = 1;",
    },
    [[26], [3], 2],
  ],
  [
    "circular modules whose functions are called before they are evaluated",
    {
      "job.ts": `import { pool } from "mesh"; import { a } from "./a"; out(await pool().map((x: number) => a(x), [1]));`,
      "a.ts": `import { b } from "./b"; export function a(x: number) { return [x].map((y) => y + b())[0]; } export const fromA = 1;`,
      "b.ts": `import { a } from "./a"; export const early = typeof a; export function b() { return 10; } [1].map(() => a(1));`,
    },
    [[11]],
  ],
  [
    "dynamic imports",
    {
      "job.ts": `import { pool } from "mesh"; const { half } = await import("./half");
out(half(4), await pool().map(async (x: number) => (await import("./half")).half(x), [8]), await pool().map(half, [2]));`,
      "half.ts": "export const half = (x: number) => x / 2;",
    },
    [2, [4], [1]],
  ],
  [
    "anonymous default exports: function, class, arrow, task",
    {
      "job.ts": `import { pool } from "mesh"; import f from "./f"; import C from "./c"; import arrow from "./arrow"; import marked from "./marked"; import gen from "./gen";
for (const fn of [f, arrow, marked]) out(await pool().map(fn, [1]), fn.name);
out(await pool().submit((c: any) => [c.v, c.constructor.name, c instanceof C], new C(3)), [...gen()]);`,
      "f.ts": "export default function (x: number) { return x + 1; }",
      "gen.ts": "export default function* <T>() { yield 1; }",
      "c.ts": "export default class { constructor(readonly v: number) {} }",
      "arrow.ts": "export default (x: number) => x + 2;",
      "marked.ts": `import { task } from "mesh"; export default task((x: number) => x + 3);`,
    },
    [[2], "default", [3], "default", [4], expect.any(String), [3, "default", true], [1]],
  ],
  [
    "CommonJS modules of the user's own",
    {
      "job.ts": `import { pool } from "mesh"; import cjs from "./old.cjs"; import { two } from "./old2.js";
out(await pool().map((x: number) => cjs.add(x, two()), [1]));`,
      "old.cjs": "const path = require('node:path'); module.exports = { add: (a, b) => a + b + path.sep.length };",
      "old2.js": "exports.two = () => 2;",
    },
    [[4]],
  ],
  [
    "JSX",
    {
      "job.tsx": `import { pool } from "mesh"; import { h } from "./h";
const Name = ({ who }: { who: string }) => <b>{who}</b>; const who = ["me"][0];
out(await pool().map((x: number) => <Name who={who + x} />, [1]));`,
      "h.ts": "export const h = 1;",
      "tsconfig.json": `{ "compilerOptions": { "jsx": "react-jsx", "jsxImportSource": "tinyjsx" } }`,
      "node_modules/tinyjsx/package.json": `{ "name": "tinyjsx", "exports": { "./*": "./runtime.js" } }`,
      "node_modules/tinyjsx/runtime.js":
        "export const jsx = (t, p) => typeof t === 'function' ? t(p) : '<' + t + '>' + p.children; export const jsxDEV = jsx; export const jsxs = jsx; export const Fragment = 0;",
    },
    [["<b>me1"]],
    "job.tsx",
  ],
];

describe("F49 what a script imports", () => {
  test.each(CASES)("%s", async (_title, files, expected, script) => {
    expect(await run(files, script)).toEqual(expected);
  });

  test("file names are those of the source, in both processes", async () => {
    using made = fixture({
      "job.ts": `import { pool } from "mesh"; import { names } from "./lib/names";
const here = () => [import.meta.path, import.meta.dir, import.meta.file, import.meta.filename, import.meta.dirname, import.meta.url];
out(here(), await pool().submit(here), names(), await pool().submit(names));
out(import.meta.main, await pool().submit(() => import.meta.main));
const __filename2 = { __filename, a: { __dirname: 1 } }; out(__filename2, __dirname);`,
      "lib/names.ts": "export const names = () => [import.meta.path, import.meta.main, __dirname];",
    });
    const { folder } = made;
    const here = [`${folder}/job.ts`, folder, "job.ts", `${folder}/job.ts`, folder, `file://${folder}/job.ts`];
    const names = [`${folder}/lib/names.ts`, false, `${folder}/lib`];
    expect(await runBundle(made, await build(made))).toEqual([
      here,
      here,
      names,
      names,
      true,
      false,
      { __filename: `${folder}/job.ts`, a: { __dirname: 1 } },
      folder,
    ]);
  });

  test("F50 a package with an addon for another platform falls back or says what is wrong", async () => {
    const files = {
      "job.ts": `import { pool } from "mesh"; import { speed } from "fast"; import * as bad from "bad";
out(speed, await pool().submit(() => speed)); try { bad.go(); } catch (e) { out(e.message); }`,
      "node_modules/fast/package.json": `{ "name": "fast", "main": "i.js" }`,
      "node_modules/fast/i.js": "let s; try { s = require('./fast.node'); } catch { s = 'slow'; } exports.speed = s;",
      "node_modules/fast/fast.node": "not really machine code",
      "node_modules/bad/package.json": `{ "name": "bad", "main": "i.js" }`,
      "node_modules/bad/i.js": "exports.go = () => require('./bad.node');",
      "node_modules/bad/bad.node": "not really machine code",
    };
    const [first, second, message] = await run(files);
    expect([first, second]).toEqual(["slow", "slow"]);
    // The fixture's folder is still there while it runs, so that the addon is tried; it is no machine code.
    expect(message).toMatch(/bad\.node/);
  });
});
