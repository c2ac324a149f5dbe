// The two texts themselves: what they hold, what they are not changed by, and that stack traces show the user's own files.

import { describe, expect, test } from "vitest";
import { build, type Files, fixture, run, runBundle } from "./support/harness.ts";

const WITHOUT_MAP = /\/\/# sourceMappingURL=.*/;

function codeOf(text: string): string {
  return text.replace(WITHOUT_MAP, "");
}

describe("buildJob", () => {
  test("both texts start with // @bun and end with an inline map", async () => {
    using made = fixture(`import { pool } from "mesh"; out(await pool().map((x) => x, [1]));`);
    const { driver, worker, hash, usesMesh } = await build(made);
    for (const text of [driver, worker]) {
      expect(text).toMatch(/^\/\/ @bun\n/);
      expect(text).toMatch(/\n\/\/# sourceMappingURL=data:application\/json;base64,[\w+/=]+\n$/);
    }
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(usesMesh).toBe(true);
  });

  test("the same files give the same hash, another text another", async () => {
    using made = fixture({ "job.ts": "console.log(1);", "other.ts": "console.log(2);" });
    const [first, second, other] = [await build(made), await build(made), await build(made, "other.ts")];
    expect(second.hash).toBe(first.hash);
    expect(other.hash).not.toBe(first.hash);
  });

  test("the map names the sources by absolute path and holds the text of own files only", async () => {
    using made = fixture({
      "job.ts": `import { f } from "./lib"; import { p } from "pkg"; f(p); out((() => 1)());`,
      "lib.ts": "export function f(x: unknown) { return x; }",
      "node_modules/pkg/index.js": "export const p = Math.random();",
    });
    const { driver } = await build(made);
    const map = JSON.parse(atob(driver.match(/base64,(.*)/)![1]!));
    const contents = Object.fromEntries(
      map.sources.map((source: string, i: number) => [source, map.sourcesContent[i]]),
    );
    expect(contents).toMatchObject({
      [made.path("job.ts")]: expect.stringMatching(/^import \{ f \}/),
      [made.path("lib.ts")]: "export function f(x: unknown) { return x; }",
      [made.path("node_modules/pkg/index.js")]: null,
    });
  });

  test("the worker holds functions and none of the statements", async () => {
    using made = fixture(`import { pool } from "mesh";
const secret = "only " + "driver" + Math.random();
function keep() { return secret.length; }
console.log("statement"); await pool().map(keep, [1]);
for (const x of [1]) console.log("loop");`);
    const { driver, worker } = await build(made);
    expect(codeOf(driver)).toMatch(/statement[\s\S]*loop/);
    expect(codeOf(worker)).toContain("secret.length");
    expect(codeOf(worker)).not.toMatch(/statement|loop|Math\.random|await/);
  });

  test("F51 the extracted function is the user's code alone, and a named one is itself", async () => {
    const [inline, named] = await run(`import { pool, task } from "mesh";
const f = task((x: number) => { let s = 0; for (let i = 0; i < x; i++) s += Math.sqrt(i); return s; });
export const named = function (x: number) { return x + 1; };
out(await pool().submit((g: Function, x: number) => [g.toString().replace(/\\s+/g, " "), g === f], f, 1));
out(await pool().submit((g: Function) => [g === named, g.toString().replace(/\\s+/g, " ")], named));`);
    expect(inline).toEqual(["(x) => { let s = 0; for (let i = 0;i < x; i++) s += Math.sqrt(i); return s; }", true]);
    expect(named).toEqual([true, "function(x) { return x + 1; }"]);
  });

  test("usesMesh is false when only types of mesh are used", async () => {
    using made = fixture(
      `import type { Pool } from "mesh"; import { type Topic } from "mesh"; let p: Pool | Topic; out(1);`,
    );
    const bundle = await build(made);
    expect(bundle.usesMesh).toBe(false);
    expect(await runBundle(made, bundle)).toEqual([1]);
  });
});

const SOURCES: [title: string, files: Files, expected: unknown[], script?: string][] = [
  ["an empty script", "", []],
  ["a script with only types", "export type A = number; interface B {}\n", []],
  ["a script with only a comment", "// nothing here", []],
  ["no mesh at all", "const f = (x: number) => x; out(f(1));", [1]],
  [
    "a hashbang and 'use strict'",
    `#!/usr/bin/env mesh\n'use strict';\nimport { pool } from "mesh"; const k = [2][0];\nout(await pool().map((x) => x * k, [1]));`,
    [[2]],
  ],
  ["a byte order mark", `\uFEFFimport { pool } from "mesh"; out(await pool().map((x) => x + 1, [1]));`, [[2]]],
  [
    "Windows newlines",
    `import { pool } from "mesh";\r\nconst k = [2][0];\r\nasync function f() {\r\n  const t = \`a\r\nb\`;\r\n  return pool().map((x) => [x * k, t], [1]);\r\n}\r\nout(await f());\r\n`,
    [[[2, "a\nb"]]],
  ],
  [
    "imports without semicolons",
    {
      "job.ts": `import { pool } from "mesh"\nimport { l } from "./l"\nimport * as all from "./l"\nexport { l } from "./l"\nexport default l\nclass A {}\n;[1].map(() => new A())\nout(await pool().map((x) => l(x) + all.l(x), [1]))`,
      "l.ts": "export const l = (x: number) => x * 2",
    },
    [[4]],
  ],
  [
    "require in a script, kept like an import",
    {
      "job.ts": `import { pool } from "mesh"; const path = require("node:path"); const { double: twice } = require("./lib.cjs");
out(await pool().map((x: string) => path.basename(x) + twice(2), ["/a/b"]), await pool().map(path.extname, ["a.c"]));`,
      "lib.cjs": "exports.double = (x) => x * 2;",
    },
    [["b4"], [".c"]],
  ],
  ["require alone", { "job.ts": `const path = require("node:path"); out(import.meta.main, path.sep);` }, [true, "/"]],
  [
    "the environment is read where it runs",
    `import { pool } from "mesh"; const read = () => typeof process.env.NODE_ENV + typeof process.env["NODE_ENV"]; out(read() === (await pool().submit(read)), /process\\.env\\.NODE_ENV/.test(read.toString()));`,
    [true, true],
  ],
  [
    "no semicolons",
    `import { pool } from "mesh"\nconst k = [1][0]\nconst f = (x) => x + k\nclass A { v = f }\n;[1].map(f)\nout(await pool().map(f, [1]))\n(() => out("iife"))`
      .replace("\n(()", "\n;(()")
      .concat("()"),
    [[2], "iife"],
  ],
  [
    "a .js script",
    { "job.js": `import { pool } from "mesh"; const k = [3][0]; out(await pool().map((x) => x * k, [1]));` },
    [[3]],
    "job.js",
  ],
  [
    "a .mts script",
    {
      "job.mts": `import { pool } from "mesh"; const k: number = [3][0]!; out(await pool().map((x) => <any>x * k, [1]));`,
    },
    [[3]],
    "job.mts",
  ],
  ["a CommonJS script", { "job.cjs": `const path = require("node:path"); out(path.sep);` }, ["/"], "job.cjs"],
  [
    "several declarators, destructuring with defaults, var twice, var in a block",
    `import { pool } from "mesh";
const a = 1, f = (x) => x + a + b, [b, { c = 5 } = {}] = [2]; var v = 1; var v = 7; if (a) { var w = 8; } let u, z = f;
out(await pool().map((x) => [f(x), b, c, v, w, u ?? "none", typeof z], [1]));`,
    [[[4, 2, 5, 7, 8, "none", "function"]]],
  ],
  [
    "literals that change before they are captured",
    `import { pool } from "mesh"; const list = [1], map = { a: 1 }; list.push(2); map.a = 5;
out(await pool().map((x) => [list, map.a], [1]));`,
    [[[[1, 2], 5]]],
  ],
  [
    "a script beside a folder of its own name, in a folder with odd characters",
    {
      "a b+(c)/job.ts": `import { pool } from "mesh"; import { l } from "./job/lib"; out(await pool().map((x) => l(x), [1]));`,
      "a b+(c)/job/lib.ts": "export const l = (x: number) => x * 9;",
    },
    [[9]],
    "a b+(c)/job.ts",
  ],
  [
    "sibling folders",
    {
      "jobs/job.ts": `import { pool } from "mesh"; import { l } from "../lib/l"; out(await pool().map(l, [1]), l.name);`,
      "lib/l.ts": "export const l = (x: number) => x * 9;",
    },
    [[9], "l"],
    "jobs/job.ts",
  ],
  [
    "the same name in two files",
    {
      "job.ts": `import { pool } from "mesh"; import { other } from "./lib"; function helper(x: number) { return x + 1; } out(await pool().map(helper, [1]), helper.name, await pool().map(other, [1]));`,
      "lib.ts":
        "function helper(x: number) { return x + 10; } export function other(x: number) { return [helper(x), helper.name]; }",
    },
    [[2], "helper", [[11, "helper"]]],
  ],
];

describe("sources of every form", () => {
  test.each(SOURCES)("%s", async (_title, files, expected, script) => {
    expect(await run(files, script)).toEqual(expected);
  });
});

describe("stack traces", () => {
  /** The places of the fixture's files in a stack, as "file:line:column". */
  const places = (stack: unknown) =>
    [...String(stack).matchAll(/\/([\w.]+\.m?[jt]sx?:\d+:\d+)\)?$/gm)].map(([, place]) => place);
  const stackOf = (script: string) => script.replace(/RUN\((.*)\);/s, "try { await $1; } catch (e) { out(e.stack); }");

  test.each([
    [
      "an inline lambda",
      `import { pool } from "mesh";\n\nRUN(pool().map((x: number) => {\n  const y = x;\n  throw new Error("boom" + y);\n}, [1]));`,
      ["job.ts:5:13"],
    ],
    [
      "with Windows newlines",
      `import { pool } from "mesh";\r\n\r\nRUN(pool().map((x: number) => {\r\n  const y = x;\r\n  throw new Error("boom" + y);\r\n}, [1]));`,
      ["job.ts:5:13"],
    ],
    [
      "a helper of a function, through the extracted lambda",
      `import { pool } from "mesh";\nasync function main(k: number) {\n  const helper = (x: number): number => {\n    if (x) throw new TypeError("boom");\n    return k;\n  };\n  await pool().map((x: number) => {\n    return helper(x) + 1;\n  }, [1]);\n}\nRUN(main(1));`,
      ["job.ts:4:22", "job.ts:8:12"],
    ],
    [
      "a module-level function of the script",
      `#!/usr/bin/env mesh\nimport { pool } from "mesh";\ntype T = number;\nfunction fail(x: T): never {\n  throw new Error("boom" + x);\n}\nconst go = (x: T) => { fail(x); };\nRUN(pool().map(go, [1]));`,
      ["job.ts:5:13", "job.ts:7:24"],
    ],
    [
      "a method of a class with a guard",
      `import { pool } from "mesh";\nclass A { #n = 1; constructor() { this.#n = 2; } m() { throw new Error("x" + this.#n); } }\nRUN(pool().map(() => [new A().m()], [1]));`,
      ["job.ts:2:66", "job.ts:3:39"],
    ],
  ])("%s", async (_title, script, expected) => {
    const [stack] = await run(stackOf(script));
    expect(places(stack).slice(0, expected.length)).toEqual(expected);
  });

  // Calls in tail position leave no frame in JavaScriptCore; what the tests call is not in one.
  test("an imported module, and the driver's own statements", async () => {
    const [remote, local] = await run({
      "job.ts": `import { pool } from "mesh";\nimport { fail } from "./lib";\n\ntry { await pool().map((x) => [fail(x)], [1]); } catch (e) { out(e.stack); }\ntry {\n  fail(2);\n} catch (e) { out(e.stack); }`,
      "lib.ts": `// a comment\nexport const fail = (x: number) => {\n  throw new Error("boom" + x);\n};`,
    });
    expect(places(remote).slice(0, 2)).toEqual(["lib.ts:3:13", "job.ts:4:32"]);
    expect(places(local).slice(0, 2)).toEqual(["lib.ts:3:13", "job.ts:6:3"]);
  });
});
