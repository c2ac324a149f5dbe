// Errors of tasks and of calls as the script sees them: class, cause, stack, place, and what they name.
import { describe, expect, test } from "vitest";
import { resultOf, runScript } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("what tasks throw", () => {
  test("class, message, cause and properties are kept; the stack shows task and call site", async () => {
    const script = `import { pool } from "mesh"; ${out}
import { Odd } from "./odd.ts";
function inner(x: number): never {
  throw new Odd("odd " + x, { cause: new TypeError("the cause") });
}
async function call() {
  return await pool().map((x: number) => {
    inner(x);
  }, [5]);
}
try { await call(); } catch (e) {
  const { stack, cause, message, detail } = e as Odd & { cause: Error };
  out([e instanceof Odd, message, detail, cause instanceof TypeError, cause.message, stack]);
}`;
    const files = { "odd.ts": "export class Odd extends Error { detail = { n: 1 }; override name = 'Odd'; }" };
    const [isOdd, message, detail, hasCause, cause, stack] = (await resultOf(script, { files })) as unknown[];
    expect([isOdd, message, detail, hasCause, cause]).toEqual([true, "odd 5", { n: 1 }, true, "the cause"]);
    const lines = (stack as string).split("\n");
    expect(lines[0]).toBe("Odd: odd 5");
    expect(lines[1]).toMatch(/^ {4}at inner \(.*\/job\.ts:4:\d+\)$/);
    expect(lines[2]).toMatch(/^ {4}at .*\/job\.ts:8:\d+\)?$/);
    expect(lines[3]).toMatch(/^ {4}at pool\.map item 0, attempt 1 \(here\/\d\)$/);
    expect(lines.slice(4).join("\n")).toMatch(/^ {4}at call \(.*\/job\.ts:7:\d+\)$/m);
    expect(lines.slice(4).join("\n")).toMatch(/job\.ts:11:\d+/);
    expect(stack).not.toMatch(/worker\.js|driver\.js|bunfs|core\//);
  });

  test("nobody catches it: the user's lines are on stderr, the status is 1", async () => {
    const script = `import { pool } from "mesh";
await pool().map((x: number) => {
  throw new RangeError("no " + x);
}, [1]);`;
    const { status, stderr } = await runScript(script);
    expect([status, stderr]).toEqual([1, expect.stringContaining("no 1")]);
    expect(stderr).toMatch(/job\.ts:3:\d+/);
    expect(stderr).toMatch(/job\.ts:2:\d+/);
    expect(stderr).not.toMatch(/worker\.js|driver\.js|bunfs/);
  });

  test("primitives, undefined and plain objects arrive as they are", async () => {
    const script = `import { pool } from "mesh"; ${out}
const caught = [];
for (const what of ["text", 0, null, undefined, { code: 3 }, [1]]) {
  try { await pool().map((x: unknown) => { throw x; }, [what]); caught.push("nothing"); } catch (e) { caught.push(e === undefined ? "undefined" : e); }
}
out(caught);`;
    expect(await resultOf(script)).toEqual(["text", 0, null, "undefined", { code: 3 }, [1]]);
  });

  test.each([
    [
      "throws",
      "throw { socket: new WeakMap() };",
      "TASK_FAILED",
      /a task threw something that cannot travel: \[object Object\]/,
    ],
    [
      "throws, with odd contents",
      "throw Object.assign(Object.create(null), { f: new WeakMap() });",
      "TASK_FAILED",
      /a task threw something that cannot travel/,
    ],
    [
      "throws as a property of an error",
      "throw Object.assign(new Error('kept'), { deep: { socket: new WeakMap() } });",
      undefined,
      /kept|cannot travel/,
    ],
    [
      "returns",
      "return { deep: [1, { socket: new WeakMap() }] };",
      "CANNOT_TRAVEL",
      /result.*deep\[1\]\.socket: a WeakMap cannot travel/,
    ],
    ["resolves with", "return Promise.resolve(new WeakSet());", "CANNOT_TRAVEL", /a WeakSet cannot travel/],
  ])("what cannot travel and a task %s", async (_, body, code, expected) => {
    const script = `import { pool, taskOf } from "mesh"; ${out}
const p = pool();
const failure = await p.submit(() => { ${body} }).then(() => ["no error"], (e) => [e.code, e.message, taskOf(e)?.label]);
const settled = await p.map((x: number) => { if (x !== 1) return x; ${body} }, [0, 1, 2], { settled: true, chunkSize: 3 });
out([failure, settled.map((r) => r.status === "fulfilled" ? r.value : r.reason.message)]);`;
    const [failure, settled] = (await resultOf(script)) as [unknown[], unknown[]];
    expect(failure).toEqual([code ?? null, expect.stringMatching(expected), "pool.submit"]);
    expect(settled).toEqual([0, expect.stringMatching(expected), 2]);
  });

  test("a million items with a failing one in the middle: which item, which attempt", async () => {
    const script = `import { pool, taskOf } from "mesh"; ${out}
await pool().map((x: number) => { if (x === 500_000) throw new Error("here"); return x; }, Array.from({ length: 1_000_000 }, (_, i) => i)).catch((e) => out([e.message, taskOf(e)]));`;
    const [message, place] = (await resultOf(script)) as unknown[];
    expect([message, place]).toEqual([
      "here",
      { host: "here", seat: expect.any(Number), label: "pool.map", item: 500_000, attempt: 1 },
    ]);
  });

  test("a timer that a task left behind and that throws later: said, and no result is lost", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 1 });
const first = await p.submit(() => { setTimeout(() => { throw new Error("left behind"); }, 20); return 1; });
const rest = await p.map(async (x: number) => { await Bun.sleep(30); return x; }, [1, 2, 3, 4]);
out([first, rest]);`;
    const { status, stdout, stderr } = await runScript(script);
    expect([status, JSON.parse(stdout)]).toEqual([0, [1, [1, 2, 3, 4]]]);
    expect(stderr).toContain("left behind");
  });

  test("a rejection that a task left behind", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 1 });
out(await p.map(async (x: number) => { if (x === 1) void Promise.reject(new Error("left behind")); await Bun.sleep(10); return x; }, [0, 1, 2], { retries: 1, settled: true }).then((all) => all.length));`;
    const { status, stdout, stderr } = await runScript(script);
    expect([status, stdout]).toEqual([0, "3\n"]);
    expect(stderr).toContain("left behind");
  });

  test("a module that throws in the worker only: the call fails, naming why", async () => {
    const files = {
      "lib.ts": `import { self } from "mesh";\nif (!self.isDriver) throw new Error("not in a slot");\nexport const two = 2;`,
    };
    const script = `import { pool } from "mesh"; import { two } from "./lib.ts"; ${out}
await pool().map((x: number) => x * two, [1, 2]).catch((e) => out([e.code, e.message]));`;
    const [code, message] = (await resultOf(script, { files })) as string[];
    expect(code).toBe("SLOT_LOST");
    expect(message).toMatch(/no slot can be started.*not in a slot/s);
    expect(message).toMatch(/lib\.ts:2:\d+/);
  });
});

describe("F85 cancel and timeout really stop the work", () => {
  test.each([
    ["a sync loop", "for (;;);"],
    ["a promise that never settles", "return new Promise(() => {});"],
  ])("F85 an AbortSignal stops %s: its process is gone, the pool goes on", async (_, body) => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool({ slots: 2 });
const pids = await p.apply(() => process.pid);
const stop = new AbortController();
setTimeout(() => stop.abort(new Error("enough")), 200);
const error = await p.map(() => { ${body} }, [1, 2], { signal: stop.signal }).catch((e) => [e.code, e.message, e.cause?.message]);
const alive = (pid: number) => { try { process.kill(pid, 0); return true; } catch { return false; } };
const end = performance.now() + 3_000;
while (pids.some(alive) && performance.now() < end) await Bun.sleep(5);
out([error, pids.filter(alive).length, await p.map((x: number) => x, [1, 2, 3])]);`;
    expect(await resultOf(script)).toEqual([
      ["CANCELLED", "pool.map was cancelled by its signal", "enough"],
      0,
      [1, 2, 3],
    ]);
  });

  test("F85 a signal that was aborted before: nothing runs", async () => {
    const script = `import { pool } from "mesh"; ${out}
out(await pool().map(() => console.log("ran"), [1], { signal: AbortSignal.abort() }).catch((e) => e.code));`;
    expect(await resultOf(script)).toBe("CANCELLED");
  });

  test("F85 AbortSignal.timeout, and the listener is taken off when the call ends", async () => {
    const script = `import { pool } from "mesh"; ${out}
const signal = AbortSignal.timeout(300);
const first = await pool().map((x: number) => x, [1], { signal });
out([first, await pool().map(() => { for (;;); }, [1], { signal }).catch((e) => [e.code, e.cause?.name])]);`;
    expect(await resultOf(script)).toEqual([[1], ["CANCELLED", "TimeoutError"]]);
  });

  test.each(["map", "imap"])("F85 an endless async source of %s, cancelled: its finally runs", async (method) => {
    const call =
      method === "map"
        ? "await p.map(work, source(), { signal })"
        : "for await (const _ of p.imap(work, source(), { signal }));";
    const script = `import { pool } from "mesh"; ${out}
let closed = false;
async function* source() { try { for (let i = 0; ; i++) { await Bun.sleep(1); yield i; } } finally { closed = true; } }
const p = pool(), signal = AbortSignal.timeout(300), work = (x: number) => x;
let code = "";
try { ${call} } catch (e) { code = (e as any).code; }
await Bun.sleep(20);
out([code, closed]);`;
    expect(await resultOf(script)).toEqual(["CANCELLED", true]);
  });

  test("a source that throws ends the call with that very error", async () => {
    const script = `import { pool } from "mesh"; ${out}
const mine = new Error("source");
function* sync() { yield 1; throw mine; }
async function* late() { yield 1; throw mine; }
const p = pool();
out([await p.map((x: number) => x, sync()).catch((e) => e === mine), await p.map((x: number) => x, late()).catch((e) => e === mine), await Array.fromAsync(p.imap((x: number) => x, late())).catch((e) => e === mine)]);`;
    expect(await resultOf(script)).toEqual([true, true, true]);
  });
});

describe("wrong calls", () => {
  test.each([
    ["pool({ slots: 0 })", "pool: slots is a whole number of 1 to 4096, not 0"],
    ["pool({ slots: 1.5 })", "whole number"],
    ["pool({ slots: NaN })", "whole number"],
    ["pool({ slots: '2' })", 'not "2"'],
    ["pool({ slot: 2 })", "pool has no option slot; it has slots"],
    ["pool(null)", "options are an object"],
    ["await pool().map((x) => x, 'text')", 'not "text"'],
    ["await pool().map((x) => x, 5)", "not 5"],
    ["await pool().map((x) => x)", "not undefined"],
    ["await pool().map((x) => x, { a: 1 })", "not a Object"],
    ["await pool().map('f', [1])", "takes a function first"],
    ["await pool().map((x) => x, [1], { retry: 1 })", "pool.map has no option retry"],
    ["await pool().map((x) => x, [1], { retries: -1 })", "retries"],
    ["await pool().map((x) => x, [1], { chunkSize: 0 })", "chunkSize"],
    ["await pool().map((x) => x, [1], { timeoutMs: 0 })", "timeoutMs"],
    ["await pool().map((x) => x, [1], { args: 3 })", "args"],
    ["await pool().map((x) => x, [1], { signal: 3 })", "signal"],
    ["await pool().map((x) => x, [1], 3)", "options are an object"],
    ["await Array.fromAsync(pool().imap((x) => x, [1], { settled: true }))", "settled"],
    ["await pool().submit(3)", "takes a function first"],
    ["await pool().starmap((a) => a, [1, 2])", "starmap"],
    ["const p = pool(); await p.close(); await p.map((x) => x, [1])", "this pool is closed"],
    ["const p = pool(); await p.close(); await p.submit(() => 1)", "this pool is closed"],
    ["const p = pool(); await p.close(); await p.apply(() => 1)", "this pool is closed"],
    ["const p = pool(); await p.close(); await Array.fromAsync(p.imap((x) => x, [1]))", "this pool is closed"],
  ])("USAGE: %s", async (call, expected) => {
    const script = `import { pool } from "mesh";\ntry { ${call}; console.log("no error"); } catch (e) { console.log(e.code, e.message); }`;
    const { stdout, stderr, status } = await runScript(script, { files: { "job.js": script }, args: [] });
    expect([status, stderr, stdout]).toEqual([0, "", expect.stringMatching(/^USAGE /)]);
    expect(stdout).toContain(expected);
  });

  test("closing a pool ends what it has under way with CANCELLED", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool(), other = pool();
const kept = other.map(async (x: number) => { await Bun.sleep(300); return x; }, [1, 2]);
const ended = p.map(() => { for (;;); }, [1, 2]).catch((e) => [e.code, e.message]);
await Bun.sleep(100);
await p.close();
out([await ended, await kept]);`;
    expect(await resultOf(script)).toEqual([
      ["CANCELLED", expect.stringContaining("the pool was closed")],
      [1, 2],
    ]);
  });

  test("the library outside of mesh run says what to do", async () => {
    const { pool } = await import("../../core/mod.ts");
    expect(() => pool()).toThrow("mesh run SCRIPT");
  });
});
