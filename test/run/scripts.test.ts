// Scripts of every kind, above all those that are wrong: what is said, and with which status it ends.
import { describe, expect, test } from "vitest";
import { MeshProcess, nothingLeft, resultOf, runMesh, runScript, testFolder } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("scripts that cannot be run", () => {
  test("one that does not exist: its neighbour is named", async () => {
    const { status, stderr } = await runMesh(["run", "prime.ts"], { files: { "primes.ts": "" } });
    expect(status).toBe(2);
    expect(stderr).toMatch(/prime\.ts/);
    expect(stderr).toMatch(/did you mean.*primes\.ts/i);
  });

  test("one that does not exist, with nothing like it", async () => {
    const { status, stderr } = await runMesh(["run", "nowhere/at-all.ts"]);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/nowhere\/at-all\.ts.*there is no such script/)]);
    expect(stderr).not.toMatch(/did you mean|bug in mesh/i);
  });

  test("a folder", async () => {
    const { status, stderr } = await runMesh(["run", "folder.ts"], { files: { "folder.ts/x.ts": "" } });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/folder\.ts.*(folder|directory)/)]);
    expect(stderr).not.toContain("bug in mesh");
  });

  test("a file of another kind", async () => {
    const { status, stderr } = await runMesh(["run", "job"], { files: { job: "console.log(1)" } });
    expect([status, stderr]).toEqual([2, expect.stringContaining("no TypeScript or JavaScript file by its extension")]);
  });

  test("F94 one that does not parse: file, line, column and reason", async () => {
    const { status, stderr } = await runScript("const a = 1;\nconst b = (;\n");
    expect([status, stderr]).toEqual([2, expect.stringMatching(/job\.ts:2:12/)]);
  });

  test("F94 a module of it that does not parse", async () => {
    const { status, stderr } = await runScript(`import "./lib/part.ts";`, {
      files: { "lib/part.ts": "\n\n  let = = 3" },
    });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/lib\/part\.ts:3:\d+/)]);
  });

  test("F94 an import that cannot be found", async () => {
    const { status, stderr } = await runScript(`import x from "no-such-package";\nconsole.log(x);`);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/job\.ts:1:\d+.*no-such-package/)]);
  });

  test.each([
    [
      "a variable that changes",
      "let count = 0;\nawait pool().map((x: number) => { count += x; }, [1]);\ncount++;",
      /job\.ts:3:\d+: `count` is assigned here/,
    ],
    [
      "a changing variable that is read",
      "let total = 0;\nfor (const x of [1]) { total += x; await pool().map((y: number) => { total = y; }, [1]); }",
      /job\.ts:3:\d+: `total` is assigned here/,
    ],
  ])("F94 %s is said before anything runs", async (_, body, expected) => {
    const { status, stderr, stdout } = await runScript(`import { pool } from "mesh"; console.log("ran");\n${body}`);
    expect([status, stdout, stderr]).toEqual([2, "", expect.stringMatching(expected)]);
  });
});

describe("scripts of every kind", () => {
  test("an empty one", async () => {
    expect(await runScript("")).toEqual({ stdout: "", stderr: "", status: 0, signal: undefined });
  });

  test("one that does not import mesh", async () => {
    expect(await runScript(`const x: number = 3; console.log(x, await Promise.resolve(4));`)).toMatchObject({
      stdout: "3 4\n",
      stderr: "",
      status: 0,
    });
  });

  test.each([
    ["job.js", "console.log(typeof import.meta.url)"],
    ["job.mjs", "console.log(typeof import.meta.url)"],
    ["job.tsx", "const type: string = 'string'; console.log(type)"],
    ["my job ümlaut.ts", "console.log('string')"],
  ])("one named %s", async (name, text) => {
    expect(await runMesh(["run", name], { files: { [name]: text } })).toMatchObject({
      stdout: "string\n",
      stderr: "",
      status: 0,
    });
  });

  test("one with a #! line", async () => {
    expect(await runScript("#!/usr/bin/env -S mesh run\nconsole.log(1)")).toMatchObject({ stdout: "1\n", status: 0 });
  });

  test("from another folder: it runs where the user is, and imports from where it lies", async () => {
    const script = `import { word } from "./word.ts"; import { pool } from "mesh"; ${out}
out([word, process.cwd().endsWith("/here"), await pool().submit(() => process.cwd().endsWith("/here")), import.meta.dir.endsWith("/there")]);`;
    using folder = testFolder({ "there/job.ts": script, "there/word.ts": `export const word = "w";`, "here/x": "" });
    await using mesh = new MeshProcess(folder, ["run", "../there/job.ts"], { cwd: folder.at("here") });
    expect((await mesh.ended()).stdout).toBe('["w",true,true,true]\n');
  });

  test("its arguments are its own, options too; process.argv is as for any script", async () => {
    const script = `import { args, pool } from "mesh"; ${out}
out([args, process.argv.slice(2), process.argv[1]!.endsWith("/job.ts"), await pool().submit(() => [...args]), Array.isArray(args), args.length]);`;
    const list = ["-v", "--slots", "9", "--", "-x", "", "a b", "--help"];
    expect(await resultOf(script, { scriptArgs: list, args: ["--slots", "1"] })).toEqual([
      list,
      list,
      true,
      list,
      true,
      8,
    ]);
  });

  test("standard input is the script's", async () => {
    const script = `import { pool } from "mesh"; const text = await Bun.stdin.text(); console.log(text.length, await pool().submit((s: string) => s.split("\\n").length, text));`;
    const stdin = "line\n".repeat(50_000);
    expect(await runScript(script, { stdin })).toMatchObject({ stdout: "250000 50001\n", status: 0 });
  });

  test("standard input is not the tasks': they read an empty one", async () => {
    const script = `import { pool } from "mesh"; ${out} out([await pool().submit(() => Bun.stdin.text()), await Bun.stdin.text()]);`;
    expect(await resultOf(script, { stdin: "for the script" })).toEqual(["", "for the script"]);
  });

  test("it ends when nothing is left to do: timers are waited for, unused pools are not", async () => {
    const script = `import { pool } from "mesh"; pool(); setTimeout(() => console.log("timer"), 50); console.log("end");`;
    expect(await runScript(script)).toMatchObject({ stdout: "end\ntimer\n", status: 0 });
  });

  test("a call that nobody awaits is done before the end", async () => {
    const script = `import { pool } from "mesh"; void pool().submit(() => Bun.sleep(50)).then(() => console.log("done"));`;
    expect(await runScript(script)).toMatchObject({ stdout: "done\n", status: 0 });
  });

  test("process.exit, process.exitCode and exit handlers of the script", async () => {
    expect((await runScript("process.exit(7)")).status).toBe(7);
    expect((await runScript("process.exitCode = 8")).status).toBe(8);
    const script = `process.on("exit", (code) => console.log("exit", code)); process.on("beforeExit", () => console.log("before"));`;
    expect(await runScript(script)).toMatchObject({ stdout: "before\nexit 0\n", status: 0 });
  });

  test("process.exit with work under way", async () => {
    const script = `import { pool } from "mesh"; void pool().map(() => { for (;;); }, [1, 2]); await Bun.sleep(200); process.exit(6);`;
    expect(await runScript(script)).toMatchObject({ stderr: "", status: 6 });
  });
});

describe("scripts that fail", () => {
  test("at top level: the stack shows the user's line, the status is 1", async () => {
    const { status, stderr, stdout } = await runScript(
      `console.log("begun");\nfunction inner(): never {\n  throw new RangeError("too far");\n}\ninner();`,
    );
    expect([status, stdout]).toEqual([1, "begun\n"]);
    expect(stderr).toContain("too far");
    expect(stderr).toMatch(/job\.ts:3:\d+/);
    expect(stderr).toMatch(/job\.ts:5:\d+/);
    expect(stderr).not.toMatch(/driver\.js|bunfs|slot\.ts/);
  });

  test.each([
    ["a rejection that nobody handles", `void Promise.reject(new Error("oh no")); await Bun.sleep(1_000);`],
    [
      "a call's rejection that nobody handles",
      `import { pool } from "mesh"; void pool().submit(() => { throw new Error("oh no"); }); await Bun.sleep(5_000);`,
    ],
    ["an exception in a timer", `setTimeout(() => { throw new Error("oh no"); }, 1); await Bun.sleep(1_000);`],
    ["an exception after the script's end", `setTimeout(() => { throw new Error("oh no"); }, 50);`],
    ["a thrown primitive", `throw "oh no";`],
  ])("%s: status 1", async (_, script) => {
    const { status, stderr } = await runScript(script);
    expect([status, stderr]).toEqual([1, expect.stringContaining("oh no")]);
  });

  test.each(["undefined", "null", "{ code: 3 }", "Object.create(null)"])("throw %s: status 1", async (value) => {
    const { status, stderr } = await runScript(`throw ${value};`);
    expect(status).toBe(1);
    expect(stderr).not.toBe("");
  });

  test("handlers of its own for what nobody handles are heeded", async () => {
    const script = `process.on("unhandledRejection", (e) => { console.log("heard", (e as Error).message); process.exit(4); });
void Promise.reject(new Error("oh no")); await Bun.sleep(1_000);`;
    expect(await runScript(script)).toMatchObject({ stdout: "heard oh no\n", status: 4 });
  });

  test("F85 one that never ends: --timeout ends it with 124, tasks and all", async () => {
    const script = `import { pool } from "mesh"; await pool().map(() => { for (;;); }, [1, 2, 3]);`;
    const { status, stderr } = await runScript(script, { args: ["--timeout", "600ms"] });
    expect([status, stderr]).toEqual([124, expect.stringContaining("longer than its limit of 0.6 s")]);
  });

  test("F85 --timeout: the script has its chance to clean up", async () => {
    const script = `process.on("SIGTERM", () => { console.log("cleaned up"); process.exit(0); }); await new Promise(() => setInterval(() => {}, 1_000));`;
    expect(await runScript(script, { args: ["--timeout", "400ms"] })).toMatchObject({
      stdout: "cleaned up\n",
      status: 124,
    });
  });

  test.each([
    ["--timeout", "soon"],
    ["--slot-memory", "lots"],
    ["--no-such-option", "1"],
  ])("%s %s: status 2", async (name, value) => {
    const { status, stderr } = await runScript("", { args: [name, value] });
    expect([status, stderr]).toEqual([2, expect.stringContaining(name)]);
  });
});

describe("two things at once", () => {
  test("many runs side by side", async () => {
    using folder = testFolder({
      "job.ts": `import { pool } from "mesh"; console.log((await pool().map((x: number) => x * 2, [1, 2])).join());`,
    });
    const runs = Array.from({ length: 6 }, () => new MeshProcess(folder, ["run", "job.ts"]));
    const ends = await Promise.all(runs.map((run) => run.ended()));
    expect(ends.map(({ stdout, status }) => [stdout, status])).toEqual(runs.map(() => ["2,4\n", 0]));
    await nothingLeft(folder);
  });
});
