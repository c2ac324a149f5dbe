// Why slots on other hosts died, told to who waited for them.
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";
import { prelude, whenNoted } from "./notes.ts";

test("F84 X14 each death of a slot on another host has its cause: exit, signal, crash, memory, time limit, host lost", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  await mesh.startWorker("small", ["--slots", "1", "--slot-memory", "300M"]);
  const script = `import { pool } from "mesh"; ${prelude}
const p = pool({ hosts: "w1" });
const cause = (work: Promise<unknown>) => work.then((value) => ["none", value], (e) => [e.code, e.message]);
const once = { retries: 0 };
const deaths = [
  await cause(p.map(() => process.exit(3), [1], once)),
  await cause(p.map(() => { process.kill(process.pid, "SIGTERM"); for (;;); }, [1], once)),
  await cause(p.map(() => { process.kill(process.pid, "SIGSEGV"); for (;;); }, [1], once)),
  await cause(p.map(() => { for (;;); }, [1], { ...once, timeoutMs: 300 })),
  await cause(pool({ hosts: "small" }).map(async () => {
    const kept: Uint8Array[] = [];
    for (;;) { kept.push(new Uint8Array(8 << 20).fill(1)); await Bun.sleep(1); }
  }, [1], once)),
  await cause(p.map(() => 5, [1], once)),
];
const lost = cause(p.map(async () => { note("held", 1); await new Promise(() => {}); }, [1], once));
deaths.push(await lost, await cause(pool({ hosts: "small" }).map(() => 6, [1], once)));
out(deaths);`;
  await using run = mesh.start(script);
  await whenNoted(mesh.folder, "held");
  mesh.worker("w1").signal("SIGKILL");
  const { stdout, stderr, status } = await run.ended();
  expect(status, stderr).toBe(0);
  const on = (host: string) => `\\(attempt 1, on ${host}/1\\)$`;
  expect(JSON.parse(stdout)).toEqual([
    ["SLOT_LOST", expect.stringMatching(`item 0: the slot that ran it exited with code 3 ${on("w1")}`)],
    ["SLOT_LOST", expect.stringMatching(`was ended by SIGTERM \\(not sent by mesh\\) ${on("w1")}`)],
    [
      "SLOT_LOST",
      expect.stringMatching(`was ended by SIGSEGV \\(a crash in native code or the runtime\\) ${on("w1")}`),
    ],
    ["TIMEOUT", expect.stringMatching(`item 0 took longer than its limit of 300 ms ${on("w1")}`)],
    ["SLOT_LOST", expect.stringMatching(`ran out of memory: used \\d+ MiB of its limit of \\d+ MiB ${on("small")}`)],
    ["none", [5]],
    ["SLOT_LOST", expect.stringMatching(`item 0: host w1 is lost: .* ${on("w1")}`)],
    ["none", [6]],
  ]);
  for (const words of [
    /w1\/1 exited with code 3; another takes its place/,
    /small\/1 ran out of memory/,
    /node w1 is lost/,
  ]) {
    expect(stderr).toMatch(words);
  }
});

test("X32 an item that kills its slot every time is named after its retries, wherever they were; the rest goes on", async () => {
  await using mesh = await TestMesh.start();
  const script = `import { pool, self, taskOf } from "mesh"; ${prelude}
const results = await pool().map(async (i: number) => { if (i === 7) { note("tries", self.node); process.abort(); } await Bun.sleep(2); return i; }, Array.from({ length: 40 }, (_, i) => i), { settled: true });
out(results.map((r) => r.status === "fulfilled" ? r.value : [r.reason.code, r.reason.message, taskOf(r.reason)?.item]));`;
  const results = (await mesh.resultOf(script)) as unknown[];
  expect(results.toSpliced(7, 1)).toEqual(Array.from({ length: 40 }, (_, i) => i).toSpliced(7, 1));
  expect(results[7]).toEqual([
    "SLOT_LOST",
    expect.stringMatching(/item 7: the slot that ran it .*\(attempt 4, on w[12]\/1\)/),
    7,
  ]);
  expect(await whenNoted(mesh.folder, "tries", 4)).toHaveLength(4);
});

test("X33 F44 a slot that is lost while its answer is on the way: each item has one result", async () => {
  await using mesh = await TestMesh.start();
  const script = `import { pool } from "mesh"; ${prelude}
const work = (i: number) => { note("ran", i); if (i % 50 === 13 && noted("ran").filter((line) => Number(line) === i).length === 1) setTimeout(() => process.kill(process.pid, "SIGKILL"), 0); return i; };
const results = await pool().map(work, Array.from({ length: 400 }, (_, i) => i), { retries: 10 });
out(results);`;
  expect(await mesh.resultOf(script)).toEqual(Array.from({ length: 400 }, (_, i) => i));
});
