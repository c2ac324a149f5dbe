// Process: functions in processes of their own, on real processes.
import { describe, expect, test } from "vitest";
import { resultOf, runScript } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const files = `import { appendFileSync, existsSync, readFileSync } from "node:fs";
const file = (name: string) => process.env.XDG_RUNTIME_DIR + "/" + name;
const note = (name: string, text: string) => appendFileSync(file(name), text + "\\n");
const noted = (name: string) => (existsSync(file(name)) ? readFileSync(file(name), "utf8").trim().split("\\n") : []);
const until = async (condition: () => boolean) => { const end = Date.now() + 10_000; while (!condition()) { if (Date.now() > end) throw new Error("waited in vain"); await Bun.sleep(5); } };`;
const alive = "const alive = (pid: number) => { try { process.kill(pid, 0); return true; } catch { return false; } };";

describe("F38 Process", () => {
  test("F38 start, join, exit code, alive, pid, host", async () => {
    const script = `import { Process, self } from "mesh"; ${files} ${out} ${alive}
const k = 2;
const p = new Process((a: number, b: string) => { note("ran", [a * k, b, process.pid, self.isDriver].join(" ")); }, { args: [21, "x"], name: "worker" });
const before = [p.isAlive, p.exitCode, p.pid, p.host, p.name];
await p.start();
const during = [p.isAlive, p.exitCode, typeof p.pid, p.host];
const exit = await p.join();
out([before, during, exit, p.isAlive, p.exitCode, alive(p.pid!), noted("ran")[0] === "42 x " + p.pid + " false", p.pid !== process.pid, await p.join()]);`;
    expect(await resultOf(script)).toEqual([
      [false, null, null, null, "worker"],
      [true, null, "number", "here"],
      { exitCode: 0 },
      false,
      0,
      false,
      true,
      true,
      { exitCode: 0 },
    ]);
  });

  test.each([
    ["returns nothing that could travel", "() => new WeakMap()", { exitCode: 0 }],
    ["is async", "async () => { await Bun.sleep(5); return 5; }", { exitCode: 0 }],
    ["is a generator", "function* () { note('ran', 'twice'); yield 1; note('ran', 'twice'); }", { exitCode: 0 }],
    ["leaves a timer behind", "() => { setInterval(() => {}, 1000); }", { exitCode: 0 }],
    ["closes its output", "() => { process.stdout.destroy(); process.stderr.end(); }", { exitCode: 0 }],
    ["calls process.exit(3)", "() => process.exit(3)", { exitCode: 3, cause: "exited with code 3" }],
    [
      "kills itself",
      '() => { process.kill(process.pid, "SIGKILL"); for (;;); }',
      { exitCode: 137, signal: "SIGKILL", cause: "was ended by SIGKILL (not sent by mesh)" },
    ],
  ])("F38 a function that %s", async (_, fn, exit) => {
    const script = `import { Process } from "mesh"; ${files} ${out}
const p = new Process(${fn});
await p.start();
out([await p.join(), p.exitCode]);`;
    expect(await resultOf(script)).toEqual([exit, exit.exitCode]);
  });

  test("F38 what it throws comes back as itself; it is told when nobody waits", async () => {
    const script = `import { Process } from "mesh"; ${out}
class Odd extends Error { code = 7; }
const fail = () => { throw new Odd("bad"); };
const p = new Process(fail), q = new Process(fail, { name: "alone" });
await p.start();
const { exitCode, error } = await p.join();
out([exitCode, error instanceof Odd, (error as Odd).code, /job\\.ts:3/.test((error as Odd).stack!)]);
await q.start();`;
    const { stdout, stderr, status } = await runScript(script);
    expect([status, JSON.parse(stdout)]).toEqual([0, [1, true, 7, true]]);
    expect(stderr).toMatch(
      /process alone \(here\) threw .*: bad\n.*job\.ts:3.*\n +at process alone attempt 1 \(here\/alone\)/,
    );
    expect(stderr).not.toMatch(/process-1/);
  });

  test("F38 terminate: SIGTERM first, SIGKILL after the grace, and it returns when the process is gone", async () => {
    const script = `import { Process } from "mesh"; ${files} ${out} ${alive}
const polite = new Process(async () => { process.on("SIGTERM", () => { note("polite", "asked"); process.exit(5); }); note("up", "1"); await new Promise(() => {}); });
const deaf = new Process(async () => { process.on("SIGTERM", () => note("deaf", "asked")); note("up", "2"); for (;;) await Bun.sleep(10); });
const busy = new Process(() => { note("up", "3"); for (;;); });
const all = [polite, deaf, busy];
await Promise.all(all.map((p) => p.start()));
await until(() => noted("up").length === 3);
const exits = [await polite.terminate(), await deaf.terminate({ graceMs: 100 }), await busy.terminate()];
out([exits, all.map((p) => [p.exitCode, p.isAlive, alive(p.pid!)]), noted("polite"), noted("deaf")]);`;
    const cause = "was killed: it was terminated";
    expect(await resultOf(script)).toEqual([
      [
        { exitCode: 5, cause },
        { exitCode: 137, signal: "SIGKILL", cause },
        { exitCode: 143, signal: "SIGTERM", cause },
      ],
      [
        [5, false, false],
        [137, false, false],
        [143, false, false],
      ],
      ["asked"],
      ["asked"],
    ]);
  });

  test("F38 nothing retries or replaces it", async () => {
    const script = `import { Process, pool } from "mesh"; ${files} ${out}
const p = new Process(() => { note("begun", "x"); process.kill(process.pid, "SIGKILL"); for (;;); });
await p.start();
const { signal } = await p.join();
await Promise.all(Array.from({ length: 5 }, () => pool().map((i: number) => i, [1, 2, 3])));
out([signal, noted("begun").length]);`;
    const { stdout, stderr } = await runScript(script);
    expect(JSON.parse(stdout)).toEqual(["SIGKILL", 1]);
    expect(stderr).toBe("");
  });

  test("F38 a script ends when its processes have; all they printed comes first", async () => {
    const script = `import { Process } from "mesh";
const p = new Process(async () => { await Bun.sleep(200); process.stdout.write("x".repeat(99).concat("\\n").repeat(30000)); process.stdout.write("last\\n"); });
await p.start();
console.log("script over");`;
    const { stdout, status } = await runScript(script);
    const lines = stdout.trim().split("\n");
    expect([status, lines[0], lines.length, lines.at(-1)]).toEqual([0, "script over", 30_002, "last"]);
  });

  test("F38 await using ends it; a handle that is never started does nothing", async () => {
    const script = `import { Process } from "mesh"; ${files} ${out} ${alive}
let pid = 0;
{
  await using p = new Process(async () => { note("up", "1"); await new Promise(() => {}); });
  await using never = new Process(() => note("never", "x"));
  await p.start();
  await until(() => noted("up").length === 1);
  pid = p.pid!;
  void never;
}
out([alive(pid), noted("never")]);`;
    expect(await resultOf(script, { limitMs: 10_000 })).toEqual([false, []]);
  });

  test("F38 waiting for it has limits that leave it alone", async () => {
    const script = `import { Process } from "mesh"; ${out}
const p = new Process(async () => { await Bun.sleep(30_000); });
await p.start();
const late = await p.join({ timeoutMs: 50 }).catch((e) => [e.code, e.message]);
const stopped = await p.join({ signal: AbortSignal.timeout(50) }).catch((e) => [e.code, e.cause?.name]);
const { signal } = (await p.terminate())!;
out([late, stopped, signal]);`;
    expect(await resultOf(script)).toEqual([
      ["TIMEOUT", "process process-1 did not end within 50 ms"],
      ["CANCELLED", "TimeoutError"],
      "SIGTERM",
    ]);
  });

  test("F38 many at once, each by itself, beside a pool and from tasks", async () => {
    const script = `import { Process, pool, self } from "mesh"; ${files} ${out}
const many = Array.from({ length: 12 }, (_, i) => new Process((n: number) => note("ran", n + " " + process.pid + " " + self.slot), { args: [i] }));
await Promise.all(many.map((p) => p.start()));
const squares = pool().map((x: number) => x * x, [1, 2, 3]);
const inTask = await pool().submit(async () => { const p = new Process(() => process.exit(9)); await p.start(); return (await p.join()).exitCode; });
const exits = await Promise.all(many.map((p) => p.join()));
const ran = noted("ran").map((line) => line.split(" ").map(Number));
out([exits.every(({ exitCode }) => exitCode === 0), new Set(ran.map(([n]) => n)).size, new Set(ran.map(([, pid]) => pid)).size, new Set(ran.map(([, , slot]) => slot)).size, Math.min(...ran.map(([, , slot]) => slot!)) > 10_000, await squares, inTask]);`;
    expect(await resultOf(script, { args: ["--slots", "2"] })).toEqual([true, 12, 12, 12, true, [1, 4, 9], 9]);
  });

  test("F38 what it leaves behind ends with it", async () => {
    const script = `import { Process } from "mesh"; import { spawn } from "node:child_process"; ${files} ${out} ${alive}
const p = new Process(() => { const child = spawn("sleep", ["321"], { detached: true, stdio: "ignore" }); child.unref(); note("child", String(child.pid)); });
await p.start();
await p.join();
out(alive(Number(noted("child")[0])));`;
    expect(await resultOf(script)).toBe(false);
  });

  test("F39 a script that names hosts runs without any", async () => {
    const script = `import { Process, pool } from "mesh"; ${out}
const p = new Process(() => {}, { host: "gpu1" });
await p.start();
out([(await p.join()).exitCode, p.host, await pool({ hosts: ["gpu*"], tags: "big" }).map((x: number) => x + 1, [1])]);`;
    expect(await resultOf(script)).toEqual([0, "here", [2]]);
  });

  test("F38 what is wrong is said where it was written", async () => {
    const script = `import { Process, pool } from "mesh"; ${out}
const said: unknown[] = [];
const p = new Process((s: unknown) => s, { args: [{ socket: new WeakMap() }], name: "odd" });
for (const call of [
  () => new Process(7 as never),
  () => new Process(() => {}, { slots: 2 } as never),
  () => new Process((x: number) => x, { args: 3 as never }),
  () => new Process(() => {}, { host: 5 as never }),
  () => p.join(),
  () => p.start(),
  async () => { const q = new Process(() => {}, { name: "twice" }); await q.start(); await q.start(); },
  () => pool({ hosts: 3 as never }),
  () => pool({ tags: [""] }),
]) {
  try { await call(); } catch (e) { said.push([(e as any).code, (e as Error).message, /job\\.ts:\\d/.test((e as Error).stack!)]); }
}
out(said);`;
    expect(await resultOf(script)).toEqual([
      ["USAGE", "new Process takes a function first, not 7", true],
      ["USAGE", "new Process has no option slots; it has host, args, name", true],
      ["USAGE", "new Process: args is a list of arguments, not 3", true],
      ["USAGE", "new Process: host is a name, not 5", true],
      ["USAGE", "process odd was not started: call start() first", true],
      ["CANNOT_TRAVEL", expect.stringMatching(/^process odd: args\[0\]\.socket: a WeakMap cannot travel/), true],
      ["USAGE", "process twice was started before: make another with new Process()", true],
      ["USAGE", "pool: hosts is a name or a list of names, not 3", true],
      ["USAGE", 'pool: tags is a name or a list of names, not ""', true],
    ]);
  });
});
