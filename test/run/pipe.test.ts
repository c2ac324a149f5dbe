// Pipes on real processes: between the script and its tasks, and between tasks.
import { describe, expect, test } from "vitest";
import { MeshProcess, nothingLeft, peakBytes, resultOf, runScript, testFolder } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const MIB = 1024 * 1024;

describe("F37 pipes between the script and its tasks", () => {
  test("F37 ends are captured, top-level or local, passed as arguments, and come back as results", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
const [orders, inbox] = pipe<string>();
const [answers, outbox] = pipe<string>();
const p = pool({ slots: 2 });
const echo = p.submit(async () => { for await (const order of inbox) await answers.send(order.toUpperCase()); await answers.close(); });
for (const word of ["a", "b", "c"]) await orders.send(word);
await orders.close();
const words: string[] = [];
for await (const word of outbox) words.push(word);
await echo;
{
  const [into, from] = pipe<number>();
  await p.submit(async (funnel: typeof into, nested: { list: unknown[] }) => { await funnel.send(1); await (nested.list[0] as typeof into).send(2); }, into, { list: [into] });
  words.push(String(await from.receive()), String(await from.receive()));
}
const made = await p.submit(async () => { const [into, from] = pipe<string>(); await into.send("from a task"); await into.close(); return from; });
out([...words, await made.receive()]);`;
    expect(await resultOf(script)).toEqual(["A", "B", "C", "1", "2", "from a task"]);
  });

  test("F34 F37 many tasks send, many receive: each message once, in order for each pair", async () => {
    const script = `import { pipe, pool, self } from "mesh"; ${out}
const [work, jobs] = pipe<[sender: number, n: number]>({ senders: 3 });
const [results, all] = pipe<[slot: number, sender: number, n: number]>({ senders: 3 });
const send = async (sender: number) => { for (let n = 0; n < 500; n++) await work.send([sender, n]); await work.close(); };
const take = async (i: number) => { for await (const [sender, n] of jobs) await results.send([i, sender, n]); await results.close(); };
const p = pool({ slots: 5 });
const running = [p.submit(send, 0), p.submit(send, 1), send(2), ...[0, 1, 2].map((i) => p.submit(take, i))];
const last = new Map<string, number>(), seen = new Set<string>(), takers = new Set<number>();
let inOrder = true;
for await (const [i, sender, n] of all) {
  inOrder &&= n > (last.get(i + "/" + sender) ?? -1);
  last.set(i + "/" + sender, n);
  seen.add(sender + "/" + n);
  takers.add(i);
}
await Promise.all(running);
out({ inOrder, different: seen.size, takers: takers.size });`;
    expect(await resultOf(script)).toEqual({ inOrder: true, different: 1_500, takers: 3 });
  });

  test("F37 two tasks talk through a pipe that a third task made, and a funnel in a message gets the answer", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
const p = pool({ slots: 3 });
const [go, stays] = pipe<void>();
const [tell, told] = pipe<ReturnType<typeof make>>();
const make = () => pipe<{ n: number; answer: ReturnType<typeof pipe<number>>[0] }>();
const home = p.submit(async () => { const ends = make(); await tell.send(ends); await stays.receive(); });
const [into, from] = await told.receive();
const server = p.submit(async (spout: typeof from) => { for await (const { n, answer } of spout) await answer.send(n * n); }, from);
const client = await p.submit(async (funnel: typeof into) => {
  const [answer, answers] = pipe<number>();
  const got: number[] = [];
  for (const n of [2, 3, 4]) { await funnel.send({ n, answer }); got.push(await answers.receive()); }
  await funnel.close();
  return got;
}, into);
await server;
await go.send();
await home;
out(client);`;
    expect(await resultOf(script)).toEqual([4, 9, 16]);
  });

  test("F26 F31 messages of 300 MB and of nothing, in order", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
const [funnel, spout] = pipe<Uint8Array>();
const sizes = [300 << 20, 0, 5 << 20, 1];
const sent = pool().submit(async () => { for (const [i, size] of sizes.entries()) await funnel.send(new Uint8Array(size).fill(i + 1)); await funnel.close(); });
const got: boolean[] = [];
for await (const bytes of spout) got.push(bytes.length === sizes[got.length] && [0, bytes.length >> 1, bytes.length - 1].every((at) => at < 0 || bytes.length === 0 || bytes[at] === got.length + 1));
await sent;
out(got);`;
    expect(await resultOf(script, { limitMs: 30_000 })).toEqual([true, true, true, true]);
  });

  test("F37 instances of the script's classes keep their class", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
class Point { #x: number; constructor(x: number) { this.#x = x; } get x() { return this.#x; } }
const [funnel, spout] = pipe<Point>();
await pool().submit(async () => { await funnel.send(new Point(4)); await funnel.flush(); });
const point = await spout.receive();
out([point instanceof Point, point.x]);`;
    expect(await resultOf(script)).toEqual([true, 4]);
  });
});

describe("F37 how long a script lasts", () => {
  test("F37 a pipe that nobody waits at holds no script up, with messages in it and a task's loop left", async () => {
    const script = `import { pipe, pool } from "mesh";
const [funnel, spout] = pipe<number>();
await funnel.send(1);
const [into, from] = pipe<number>();
await pool().submit(async () => { await into.send(1); await into.send(2); });
for await (const _ of from) break;
await spout.receive({ timeoutMs: 10 });
await spout.receive({ timeoutMs: 10 }).catch(() => {});
console.log("last line");`;
    const { status, stdout, stderr } = await runScript(script, { limitMs: 8_000 });
    expect([status, stdout, stderr]).toEqual([0, "last line\n", ""]);
  });

  test("F37 a receive that waits holds it up until its value comes", async () => {
    const script = `import { pipe, pool } from "mesh";
const [funnel, spout] = pipe<string>();
await pool().submit(() => { setTimeout(() => void funnel.send("late"), 300); });
void spout.receive().then(console.log);`;
    const { status, stdout } = await runScript(script, { limitMs: 8_000 });
    expect([status, stdout]).toEqual([0, "late\n"]);
  });
});

describe("processes that die", () => {
  test("F32 the one that made the pipe: waiting calls fail and name it", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
const p = pool({ slots: 2 });
const [tell, told] = pipe<unknown>();
const dying = p.map(async (_: number) => {
  const [funnel, spout] = pipe<string>({ highWaterBytes: 1 });
  await funnel.send("fills it");
  await tell.send([funnel, spout]);
  await tell.flush();
  await new Promise((done) => setTimeout(done, 200));
  process.kill(process.pid, "SIGKILL");
}, [0], { retries: 0 }).catch((error: Error) => error.message.includes("SIGKILL"));
const [funnel] = (await told.receive()) as ReturnType<typeof pipe<string>>;
const say = (error: { code: string; message: string }) => [error.code, error.message];
const other = p.submit(async (into: typeof funnel) => { try { await into.send("x"); await into.send("y"); return "sent"; } catch (error) { return say(error as never); } }, funnel);
await funnel.send("z");
const flushed = funnel.send("zz").catch(say);
out([await flushed, await other, await funnel.flush().catch(say), await dying]);`;
    const gone = (what: string) => [
      "LINK_CLOSED",
      expect.stringMatching(new RegExp(`^${what}: the process of the pipe, here/[12], is gone`)),
    ];
    expect(await resultOf(script)).toEqual([gone("funnel.send"), gone("funnel.send"), gone("funnel.flush"), true]);
  });

  test("F37 one that waits for a value: the next values go to others", async () => {
    const script = `import { pipe, pool } from "mesh"; ${out}
const [work, jobs] = pipe<number>();
const [ready, isReady] = pipe<void>();
const p = pool({ slots: 2 });
const dies = p.map(async (_: number) => {
  setTimeout(() => process.kill(process.pid, "SIGKILL"), 150);
  await ready.send();
  for await (const _ of jobs);
}, [0], { retries: 0 }).catch(() => "died");
await isReady.receive();
const fate = await dies;
const lives = p.submit(async () => { const got: number[] = []; for await (const n of jobs) got.push(n); return got; });
for (let n = 0; n < 20; n++) await work.send(n);
await work.close();
out([fate, await lives]);`;
    expect(await resultOf(script)).toEqual(["died", Array.from({ length: 20 }, (_, i) => i)]);
  });
});

describe("X15 a reader that stops", () => {
  const total = 768;
  // Tells how many messages were sent when one had to wait for a while; goes on when that is read.
  const feed = `async () => {
  const bytes = new Uint8Array(1 << 20);
  let told = false;
  for (let n = 0; n < ${total}; n++) {
    const sent = funnel.send(bytes).then(() => true);
    if (!told && !(await Promise.race([sent, Bun.sleep(400).then(() => false)]))) { told = true; await stalled.send(n); }
    await sent;
  }
  await funnel.close();
}`;

  const cases: [string, string][] = [
    [
      "in the script, of what a task sends",
      `const sent = pool().submit(${feed});
console.log("ahead " + await count.receive());
let got = 0;
for await (const _ of spout) got++;
await sent;`,
    ],
    [
      "in a task, of what the script sends",
      `const [go, goes] = pipe<void>();
const reader = pool().submit(async () => { let got = 0; for await (const _ of spout) { if (++got === 1) await goes.receive(); } return got; });
const sent = (${feed})();
console.log("ahead " + await count.receive());
await go.send();
await sent;
const got = await reader;`,
    ],
    [
      "in a task, of what another task sends",
      `const [go, goes] = pipe<void>();
const p = pool({ slots: 2 });
const reader = p.submit(async () => { let got = 0; for await (const _ of spout) { if (++got === 1) await goes.receive(); } return got; });
const sent = p.submit(${feed});
console.log("ahead " + await count.receive());
await go.send();
await sent;
const got = await reader;`,
    ],
  ];

  test.each(cases)(
    "X15 %s: no process grows by more than 64 MB and what may be ahead",
    async (_, body) => {
      const script = `import { existsSync } from "node:fs";
import { pipe, pool } from "mesh";
const [funnel, spout] = pipe<Uint8Array>();
const [stalled, count] = pipe<number>();
await pool({ slots: 2 }).apply(() => {});
console.log("ready");
while (!existsSync("go")) await Bun.sleep(5);
${body}
console.log("got " + got);`;
      using folder = testFolder({ "job.ts": script });
      await using mesh = new MeshProcess(folder, ["run", "--slots", "2", "job.ts"], { limitMs: 40_000 });
      await mesh.prints("ready");
      const before = new Map(mesh.processes.map(({ pid }) => [pid, peakBytes(pid)]));
      folder.write({ go: "" });
      await mesh.prints(/ahead \d+\n/);
      expect(Number(/ahead (\d+)/.exec(mesh.stdout)![1])).toBeLessThanOrEqual(4);
      const grown = () => Math.max(...[...before].map(([pid, bytes]) => peakBytes(pid) - bytes));
      expect(grown()).toBeLessThan(65 * MIB);
      // At full speed garbage lies about until it is collected: then nothing but a bound is asked for.
      let most = 0;
      const watch = setInterval(() => {
        most = Math.max(most, grown());
      }, 20);
      await mesh.prints(`got ${total}`);
      clearInterval(watch);
      expect(most).toBeLessThan(192 * MIB);
      expect((await mesh.ended()).status).toBe(0);
      await nothingLeft(folder);
    },
    45_000,
  );
});
