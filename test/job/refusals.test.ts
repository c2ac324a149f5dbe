// F94: what cannot travel is said at build time, with variable, file, line and reason.

import { describe, expect, test } from "vitest";
import { formatDiagnostics } from "../../core/job/diagnostics.ts";
import { problems, run } from "./support/harness.ts";

type Case = [title: string, script: string, expected: (string | RegExp)[]];

const CANNOT_TRAVEL: Case[] = [
  [
    "assignment to top-level data",
    `import { pool } from "mesh";
let count = 0;
await pool().map(() => { count++; }, [1]);`,
    [/^job.ts:3:26 `count` is assigned here, in code that runs in another process \(handed to Pool.map at line 3\)/],
  ],
  [
    "every way to assign",
    `import { pool } from "mesh";
let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
await pool().submit(() => { a = 1; b += 1; [c] = [1]; ({ d, x: e } = { d: 1, x: 2 }); for (f of [1]); });`,
    [/:3:29 `a`/, /:3:36 `b`/, /:3:45 `c`/, /:3:58 `d`/, /:3:64 `e`/, /:3:92 `f`/],
  ],
  [
    "assignment to a variable of the enclosing function, by a helper, by a helper's helper",
    `import { pool } from "mesh";
async function main() {
  let n = 0;
  const bump = () => { n += 1; };
  const more = () => bump();
  await pool().map(() => more(), [1]);
}
await main();`,
    [/^job.ts:4:24 `n` is assigned here/],
  ],
  [
    "assignment to top-level data in a module-level function it calls",
    `import { pool } from "mesh";
let total = 0;
function add(x: number) { total += x; }
class Tool { go() { add(1); } }
await pool().map((x: number) => new Tool().go(), [1]);`,
    [/^job.ts:3:27 `total` is assigned here/],
  ],
  [
    "a handed-over module-level function itself",
    `import { pool } from "mesh";
let total = 0;
function add(x: number) { total += x; }
await pool().map(add, [1]);`,
    [/^job.ts:3:27 `total` is assigned here/],
  ],
  [
    "this, arguments, super, new.target of outside",
    `import { pool } from "mesh";
class A { m() { return 1; } }
class B extends A {
  x = 1;
  m() { pool().map(() => this.x, [1]); pool().map(() => super.m(), [1]); return 1; }
}
function f() { pool().map(() => arguments.length, [1]); pool().map(() => new.target, [1]); }`,
    [/^job.ts:5:26 `this`/, /^job.ts:5:57 `super`/, /^job.ts:7:33 `arguments`/, /^job.ts:7:74 `new.target`/],
  ],
  [
    "private names of the class around it",
    `import { pool } from "mesh";
class A { #x = 1; static #y = 2;
  go() { const self = this; return pool().map(function (v: number) { return self.#x + v; }, [1]); }
  has(o: object) { return pool().map((v: number) => #y in o, [1]); } inner() { return pool().submit(() => new (class { #x = 3; get() { return this.#x; } })().get()); } }`,
    [/^job.ts:3:82 `#x` of the class around it/, /^job.ts:4:53 `#y`/],
  ],
  [
    "a helper that uses this of outside",
    `import { pool } from "mesh";
function f(this: { x: number }) { const h = () => this.x; return pool().map(() => h(), [1]); }`,
    [/^job.ts:2:51 `this`/],
  ],
  [
    "functions made by an unmarked function, called and handed over",
    `import { pool } from "mesh";
const makeAdder = (n: number) => (x: number) => x + n;
const add = makeAdder(3);
await pool().map((x: number) => add(x), [1]);
await pool().map(add, [1]);
await pool().map(makeAdder(1), [1]);`,
    [
      /^job.ts:4:33 `add` is used as a function here, but it is a function made by `makeAdder`.*write `task\(\.\.\.\)` around the function where `makeAdder` makes it/,
      /^job.ts:5:18 `add` is used as a function here/,
      /^job.ts:6:18 this is used as a function here/,
    ],
  ],
  [
    "bound functions, functions of packages and of text",
    `import { pool } from "mesh"; import { promisify } from "node:util";
const o = { m() {} };
async function main() {
  const bound = o.m.bind(o), promised = promisify(setTimeout), text = new Function("return 1");
  await pool().map(() => { bound(); promised(); text(); }, [1]);
}`,
    [
      /^job.ts:5:28 `bound`.*made by `\.bind\(\)`/,
      /^job.ts:5:37 `promised`.*made by `promisify` of "node:util"/,
      /^job.ts:5:49 `text`.*made from text/,
    ],
  ],
  [
    "a class that reads the script's data while it is declared",
    `import { pool } from "mesh";
const limit = Number(process.env.NONE ?? 4);
class A { static max = limit; }
class B extends A {}
await pool().map(() => [A.max, new B()], [1]);`,
    [
      /^job.ts:3:24 class `A` reads `limit` while it is declared/,
      /^job.ts:4:17 class `B` reads `A` while it is declared/,
    ],
  ],
  [
    "all problems of several files together, sorted",
    `import { pool } from "mesh";
let z = 0; let y = 0;
await pool().map(() => { z = 1; }, [1]);
await pool().map(() => { y = 1; }, [1]);
await pool().map(() => { z = 2; }, [1]);`,
    [/^job.ts:3:26 `z`/, /^job.ts:4:26 `y`/, /^job.ts:5:26 `z`/],
  ],
];

describe("F94 functions that cannot travel", () => {
  test.each(CANNOT_TRAVEL)("%s", async (_title, script, expected) => {
    const { error, lines } = await problems(script);
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)));
    expect(error.code).toBe("CANNOT_TRAVEL");
  });

  test("in an imported module, beside those of the script", async () => {
    const { lines } = await problems({
      "job.ts": `import { go } from "./lib/go"; import { pool } from "mesh"; let n = 0;\nawait go(); await pool().map(() => n++, [1]);`,
      "lib/go.ts": `import { pool } from "mesh";\nexport async function go() { let m = 0; await pool().map(() => m++, [1]); }`,
    });
    expect(lines).toEqual([expect.stringMatching(/^job.ts:2:36 `n`/), expect.stringMatching(/^lib\/go.ts:2:64 `m`/)]);
  });

  test("a diagnostic names the variable, and is shown with its line and a caret", async () => {
    const { error } = await problems(`import { pool } from "mesh";\nlet n = 0;\n\tawait pool().map(() => n++, [1]);`);
    expect(error.diagnostics).toMatchObject([{ variable: "n", line: 3, column: 25 }]);
    // The fixture is gone by now; a file that is still there shows its source.
    const { BuildError } = await import("../../core/job/diagnostics.ts");
    const file = import.meta.filename;
    const shown = formatDiagnostics(new BuildError("SCRIPT", [{ file, line: 1, column: 4, message: "bad" }]));
    expect(shown.split("\n")).toEqual([
      "test/job/refusals.test.ts:1:4: bad",
      "1 | // F94: what cannot travel is said at build time, with variable, file, line and reason.",
      "       ^",
    ]);
  });
});

const SCRIPT_PROBLEMS: [title: string, files: Record<string, string>, expected: RegExp[]][] = [
  ["a syntax error", { "job.ts": "const a = 1;\nconst = 2;" }, [/^job.ts:2:7 cannot be parsed: Unexpected token/]],
  [
    "a name declared twice",
    { "job.ts": "const a = 1;\nconst a = 2;" },
    [/^job.ts:2:7 cannot be parsed: .*'a'.*declared/],
  ],
  ["what only the bundler refuses", { "job.ts": "const a = 1;\nfunction f() {}\na = 2;" }, [/^job.ts:3:1 /]],
  [
    "syntax errors of several files",
    {
      "job.ts": `import { a } from "./a";\nimport "./b";\na();`,
      "a.ts": "export const a = () => ;",
      "b.ts": "class {}",
    },
    [/^a.ts:1:24 cannot be parsed/, /^b.ts:1:7 cannot be parsed/],
  ],
  [
    "imports that are not there",
    {
      "job.ts": `import { pool } from "mesh";\nimport x from "left-padd";\nimport { y } from "./hepler";\nimport z from "@a/b/c";\nconsole.log(x, y, z, pool);`,
      "helper.ts": "export const y = 1;",
    },
    [
      /^job.ts:2:15 cannot find "left-padd".*npm install left-padd/,
      /^job.ts:3:19 cannot find ".\/hepler": did you mean ".\/helper.ts"\?/,
      /^job.ts:4:15 cannot find "@a\/b\/c".*npm install @a\/b`/,
    ],
  ],
  [
    "a dynamic import and a file without functions",
    {
      "job.ts": `import "./data";\nconst m = await import("./nothing");`,
      "data.ts": `import { a } from "./gone";\nexport const b = a;`,
    },
    [/^data.ts:1:19 cannot find ".\/gone"/, /^job.ts:2:24 cannot find ".\/nothing"/],
  ],
  [
    "names that mesh does not export",
    {
      "job.ts": `import { pol, Pool, task as t } from "mesh"; import m from "mesh";\nlet p: Pool; t(() => 1); pol(); m();`,
    },
    [/^job.ts:1:10 "mesh" has no export `pol`: did you mean `pool`\?/, /^job.ts:1:53 "mesh" has no default export/],
  ],
  [
    "F50 a native addon",
    { "job.ts": `import addon from "./build/addon.node";\nconsole.log(addon);`, "build/addon.node": "ELF" },
    [
      new RegExp(
        `^job.ts:1:19 the native addon "./build/addon.node" cannot travel.*${process.platform}-${process.arch}`,
      ),
    ],
  ],
  [
    "a file that would lie beside the bundle",
    { "job.ts": `import logo from "./logo.png";\nconsole.log(logo);`, "logo.png": "PNG" },
    [/^job.ts:0:0 imports the file logo-\w+.png by its path/],
  ],
  [
    "a name another file does not export",
    {
      "job.ts": `import { pool } from "mesh"; import { nothing } from "./lib";\nout(() => nothing(), pool);`,
      "lib.ts": "export const f = () => 1;",
    },
    [/^job.ts:1:39 .*nothing/],
  ],
];

describe("scripts that cannot be built", () => {
  test.each(SCRIPT_PROBLEMS)("%s", async (_title, files, expected) => {
    const { error, lines } = await problems(files);
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)));
    expect(error.code).toBe("SCRIPT");
  });

  test("a script that is not there, a folder, another kind of file", async () => {
    const files = { "job.ts": "", "sub/x.ts": "", "data.txt": "" };
    expect((await problems(files, "jbo.ts")).lines).toEqual([
      expect.stringMatching(/no such script; did you mean job.ts/),
    ]);
    expect((await problems(files, "sub")).lines).toEqual([expect.stringMatching(/is a folder/)]);
    expect((await problems(files, "data.txt")).lines).toEqual([expect.stringMatching(/no TypeScript or JavaScript/)]);
  });
});

describe("what is refused only at run time", () => {
  const refusals: Case[] = [
    [
      "a function nobody marked",
      `const f = [(x: number) => x * 2][0]; await pool().map(f, [1]);`,
      [/^\(x\) => x \* 2 cannot travel.*mark it where it is written: task\(\(x\) => …\)/],
    ],
    [
      "a bound function",
      `const f = [Math.max.bind(null, 1)][0]; await pool().map(f, [1]);`,
      [/^bound max cannot travel: it was made by \.bind\(\)/],
    ],
    [
      "a native function",
      `const f = [Math.max][0]; await pool().map(f, [1]);`,
      [/^max cannot travel: it is a native function/],
    ],
    [
      "a recorded violation",
      `let n = 0; function f() { n++; } const g = [f][0]; f(); await pool().map(g, [1]);`,
      [/^f cannot travel: `n` is assigned here \(job.ts:2:27\)/],
    ],
    [
      "a captured variable without a value yet",
      `async function go() { const r = pool().map(() => later, [1]); const later = 1; return r; } await go();`,
      [/job.ts:2:44\) was handed over before a variable it captures had a value: .*later/],
    ],
    [
      "an instance of a dropped class",
      `const n = [1].length; class A { static n = n; } await pool().map((a) => 1, [new A()]);`,
      [/^a job.ts#A cannot travel: class `A` reads `n`/],
    ],
  ];
  test.each(refusals)("%s", async (_title, script, [expected]) => {
    const wrapped = `import { pool } from "mesh";\n${script.replace(/await (pool\(\).*|go\(\));$/, "try { await $1; } catch (e) { out(e.code, e.message); }")}`;
    expect(await run(wrapped)).toEqual(["CANNOT_TRAVEL", expect.stringMatching(expected!)]);
  });
});
