// Slots that die, do not answer or take too much, on real processes: each result once, each death with its cause.
import { describe, expect, test } from "vitest";
import { resultOf, runScript } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
/** Tasks that die once: a file says that they did before. */
const once = `import { existsSync, writeFileSync } from "node:fs";
const first = (name: string) => { const path = process.env.XDG_RUNTIME_DIR + "/" + name; if (existsSync(path)) return false; writeFileSync(path, ""); return true; };`;

describe("F44 retries", () => {
  test("F44 an item whose slot died is tried elsewhere; each result comes once", async () => {
    const script = `import { pool } from "mesh"; ${once} ${out}
out(await pool().map((i: number) => { if (i % 10 === 3 && first("died" + i)) process.kill(process.pid, "SIGKILL"); return i; }, Array.from({ length: 40 }, (_, i) => i)));`;
    expect(await resultOf(script)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  test("F44 an item that threw is tried again only when retries are asked for", async () => {
    const script = `import { pool, taskOf } from "mesh"; ${once} ${out}
const fail = (i: number) => { if (first("threw" + i)) throw new Error("odd " + i); return i; };
const without = await pool().map(fail, [1]).catch((e) => [e.message, taskOf(e)?.attempt]);
const withRetry = await pool().map(fail, [2, 3], { retries: 1 });
const exhausted = await pool().map((i: number) => { throw new RangeError("always " + i); }, [4], { retries: 2 }).catch((e) => [e.constructor.name, e.message, taskOf(e)?.attempt, taskOf(e)?.item]);
out([without, withRetry, exhausted]);`;
    expect(await resultOf(script)).toEqual([
      ["odd 1", 1],
      [2, 3],
      ["RangeError", "always 4", 3, 0],
    ]);
  });

  test("X32 a task that kills its slot every time is named after its retries; the rest goes on", async () => {
    const script = `import { pool, taskOf } from "mesh"; ${out}
const results = await pool().map((i: number) => { if (i === 7) process.abort(); return i; }, Array.from({ length: 20 }, (_, i) => i), { settled: true, chunkSize: 5 });
const bad = results.filter((r) => r.status === "rejected").map(({ reason }) => [reason.code, reason.message, taskOf(reason)]);
out([results.map((r) => r.status === "fulfilled" ? r.value : "bad"), bad]);`;
    const [values, bad] = (await resultOf(script)) as [
      unknown[],
      [string, string, { item: number; attempt: number }][],
    ];
    expect(values).toEqual(Array.from({ length: 20 }, (_, i) => (i === 7 ? "bad" : i)));
    expect(bad).toEqual([
      [
        "SLOT_LOST",
        expect.stringContaining("pool.map: item 7: the slot that ran it"),
        expect.objectContaining({ item: 7, attempt: 4 }),
      ],
    ]);
    expect(bad[0]![1]).toMatch(/SIGABRT|SIGTRAP|SIGILL|code 134/);
  });

  test("X32 without settled the call fails with that item, and the pool can be used again", async () => {
    const script = `import { pool } from "mesh"; ${out}
const p = pool();
const message = await p.map((i: number) => { if (i === 3) process.exit(9); return i; }, [1, 2, 3, 4], { retries: 0 }).catch((e) => e.message);
out([message, await p.map((i: number) => i, [1, 2])]);`;
    const [message, again] = (await resultOf(script)) as [string, number[]];
    expect(message).toMatch(/^pool\.map: item 2: the slot that ran it exited with code 9 \(attempt 1, on here\/\d\)$/);
    expect(again).toEqual([1, 2]);
  });

  test("X31 5,000 items while slots are killed again and again: each result once, in order", async () => {
    const seed = 20_261_120;
    const script = `import { pool } from "mesh"; ${out}
let state = ${seed};
const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
const p = pool({ slots: 2 });
let victims = new Set<number>(), kills = 0;
const timer = setInterval(() => {
  const pids = [...victims];
  const pid = pids[Math.floor(random() * pids.length)];
  if (pid && kills < 12) { victims.delete(pid); try { process.kill(pid, "SIGKILL"); kills++; } catch {} }
}, 40);
const results: number[] = [];
for await (const [i, pid] of p.imap((i: number) => { const end = performance.now() + 0.2; while (performance.now() < end); return [i, process.pid] as const; }, Array.from({ length: 5_000 }, (_, i) => i), { retries: 100 })) { results.push(i); victims.add(pid); if (victims.size > 2) victims = new Set([...victims].slice(-2)); }
clearInterval(timer);
out({ count: results.length, inOrder: results.every((x, i) => x === i), kills });`;
    const { kills, ...rest } = (await resultOf(script)) as { kills: number };
    expect(rest, `seed ${seed}`).toEqual({ count: 5_000, inOrder: true });
    expect(kills).toBeGreaterThan(3);
  });
});

describe("F47 a slot that does not answer", () => {
  test("F47 is ended and replaced when its item has a limit", async () => {
    const script = `import { pool, taskOf } from "mesh"; ${out}
const p = pool({ slots: 1 });
const pid = await p.submit(() => process.pid);
const error = await p.map((i: number) => { if (i === 2) for (;;); return i; }, [0, 1, 2, 3], { timeoutMs: 300 }).catch((e) => [e.code, e.message, taskOf(e)?.item]);
const next = await p.submit(() => process.pid);
const settled = await p.map((i: number) => { if (i === 2) for (;;); return i; }, [0, 1, 2, 3], { timeoutMs: 300, settled: true });
out([error, next !== pid, settled.map((r) => r.status === "fulfilled" ? r.value : r.reason.code)]);`;
    const [error, replaced, settled] = (await resultOf(script)) as [unknown[], boolean, unknown[]];
    expect(error).toEqual([
      "TIMEOUT",
      "pool.map: item 2 took longer than its limit of 300 ms (attempt 1, on here/1)",
      2,
    ]);
    expect([replaced, settled]).toEqual([true, [0, 1, "TIMEOUT", 3]]);
  });

  test.each(["for (;;);", 'process.kill(process.pid, "SIGSTOP");'])(
    "F47 the very first item of a slot: %s",
    async (body) => {
      const script = `import { pool } from "mesh"; ${out}
const limited = (slots: number) => pool({ slots }).map((i: number) => { if (i > 0) { ${body} } return i; }, [1, 0, 2], { timeoutMs: 200, settled: true });
out((await limited(1)).map((r) => r.status === "fulfilled" ? r.value : r.reason.code));`;
      expect(await resultOf(script)).toEqual(["TIMEOUT", 0, "TIMEOUT"]);
    },
  );

  test("F47 an item that awaits for too long is ended as well; retries given hold for it", async () => {
    const script = `import { pool } from "mesh"; ${once} ${out}
const p = pool({ slots: 1 });
out([
  await p.submit(() => 1),
  await p.map(async (i: number) => { await new Promise(() => {}); }, ["x"], { timeoutMs: 200 }).catch((e) => e.code),
  await p.map(async (i: number) => { if (first("hung")) await new Promise(() => {}); return i; }, [5], { timeoutMs: 500, retries: 1 }),
]);`;
    expect(await resultOf(script)).toEqual([1, "TIMEOUT", [5]]);
  });

  test("F47 a stopped slot (SIGSTOP) is no longer waited for when its item has a limit", async () => {
    const script = `import { pool } from "mesh"; ${once} ${out}
out(await pool({ slots: 2 }).map((i: number) => { if (i === 1 && first("stopped")) process.kill(process.pid, "SIGSTOP"); return i; }, [0, 1, 2, 3], { timeoutMs: 500, retries: 1 }));`;
    expect(await resultOf(script)).toEqual([0, 1, 2, 3]);
  });
});

describe("F84 each death has its cause", () => {
  test.each([
    ["an exit code", "process.exit(3)", /exited with code 3 \(attempt/],
    ["an exit code of 0", "process.exit(0)", /exited with code 0 \(attempt/],
    ["a signal", `process.kill(process.pid, "SIGTERM"); for (;;);`, /was ended by SIGTERM \(not sent by mesh\)/],
    [
      "SIGKILL from elsewhere",
      `process.kill(process.pid, "SIGKILL"); for (;;);`,
      /was ended by SIGKILL \(not sent by mesh\)/,
    ],
    [
      "a crash",
      `process.kill(process.pid, "SIGSEGV"); for (;;);`,
      /was ended by SIGSEGV \(a crash in native code or the runtime\)/,
    ],
  ])("F84 %s", async (_, death, expected) => {
    const script = `import { pool } from "mesh";
await pool().submit(() => { ${death} }).catch((e) => console.log(e.code, e.message));
await pool().map(() => { ${death} }, [1], { retries: 0 }).catch((e) => console.log(e.code, e.message));`;
    const { stdout, stderr, status } = await runScript(script, { args: ["--slots", "1"] });
    const [call, item] = stdout.split("\n");
    expect(call).toMatch(expected);
    expect(call).toMatch(/^SLOT_LOST pool.submit: the call: the slot that ran it .*attempt 4/);
    expect(item).toMatch(expected);
    expect(item).toMatch(/^SLOT_LOST pool.map: item 0: .*attempt 1/);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^mesh: slot here\/1 (exited with|was ended by) .*; another takes its place$/m);
  });

  test("F84 X14 a task that takes all memory: only its slot ends, the cause is named, the rest goes on", async () => {
    const script = `import { pool } from "mesh"; ${out}
const results = await pool().map(async (i: number) => {
  if (i !== 2) return i;
  const kept: Uint8Array[] = [];
  for (;;) { kept.push(new Uint8Array(8 << 20).fill(1)); await Bun.sleep(1); }
}, [0, 1, 2, 3, 4], { retries: 0, settled: true, chunkSize: 1 });
out(results.map((r) => r.status === "fulfilled" ? r.value : [r.reason.code, r.reason.message]));`;
    const results = (await resultOf(script, { args: ["--slots", "2", "--slot-memory", "300M"] })) as unknown[];
    expect(results[2]).toEqual([
      "SLOT_LOST",
      expect.stringMatching(/item 2: the slot that ran it ran out of memory: used \d+ MiB of its limit of \d+ MiB/),
    ]);
    expect(results.toSpliced(2, 1)).toEqual([0, 1, 3, 4]);
  });

  test("F84 memory that a task's own child takes counts as the slot's", async () => {
    const script = `import { pool } from "mesh";
const hog = "const kept = []; setInterval(() => kept.push(new Uint8Array(16 << 20).fill(1)), 5)";
await pool({ slots: 1 }).map(async () => { const { spawn } = await import("node:child_process"); spawn("node", ["-e", hog]); await new Promise(() => {}); }, [1], { retries: 0 }).catch((e) => console.log(e.message));`;
    const { stdout } = await runScript(script, { args: ["--slot-memory", "300M"] });
    expect(stdout).toMatch(/ran out of memory: used \d+ MiB of its limit/);
  });

  test("F84 the death of the script itself", async () => {
    const { status, stderr } = await runScript(`process.kill(process.pid, "SIGKILL"); for (;;);`);
    expect([status, stderr]).toEqual([
      137,
      expect.stringContaining("the script was ended by SIGKILL (not sent by mesh)"),
    ]);
  });
});
