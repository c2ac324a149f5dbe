// Pipes and references over several hosts: a coordinator, workers and the script's head, as real processes over TCP.
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { peakBytes } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const MIB = 1024 * 1024;

describe("over several hosts", () => {
  test("F34 F37 F81 pipes join script and tasks of all hosts, and tasks of two; a put value goes to each host once", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 2, w2: 2 } });
    const script = `import { pipe, pool, put, self } from "mesh"; ${out}
const p = pool();
const [work, jobs] = pipe<number>();
const [done, results] = pipe<[string, number]>({ senders: 4 });
const loops = p.apply(async () => { for await (const n of jobs) await done.send([self.node, n]); await done.close(); });
for (let n = 0; n < 2_000; n++) await work.send(n);
await work.close();
const seen = new Set<number>(), hosts = new Set<string>();
for await (const [host, n] of results) { seen.add(n); hosts.add(host); }
await loops;

const one = pool({ hosts: ["w1"] }), other = pool({ hosts: ["w2"] });
const [tell, told] = pipe<ReturnType<typeof pipe<Uint8Array>>>();
const [stop, stopped] = pipe<void>();
const home = one.submit(async () => { await tell.send(pipe<Uint8Array>()); await stopped.receive(); });
const [into, from] = await told.receive();
const sizes = other.submit(async (spout: typeof from) => { const got: number[] = []; for await (const bytes of spout) got.push(bytes.length); return got; }, from);
const sent = one.submit(async (funnel: typeof into) => { for (const size of [1, 5_000_000, 0, 300_000]) await funnel.send(new Uint8Array(size)); await funnel.close(); }, into);
await sent;
const got = await sizes;
await stop.send();
await home;

const ref = put(new Uint8Array(6_000_000).fill(2));
const sums = await p.apply(async () => { const bytes = await ref.get(); return bytes[0]! + bytes[5_999_999]!; });
out({ seen: seen.size, hosts: [...hosts].sort(), got, sums, times: ref.sentBytes / ref.sizeBytes });`;
    expect(await mesh.resultOf(script)).toEqual({
      seen: 2_000,
      hosts: ["w1", "w2"],
      got: [1, 5_000_000, 0, 300_000],
      sums: [4, 4, 4, 4],
      times: 2,
    });
  });

  test("F32 X1 the host of a pipe is gone: script and tasks elsewhere hear of it; one that only received takes nothing with it", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1, w2: 1 } });
    await using run = mesh.start(`import { pipe, pool } from "mesh"; ${out}
const say = (error: { code: string; message: string }) => [error.code, error.message];
const [tell, told] = pipe<ReturnType<typeof pipe<number>>>();
const [work, jobs] = pipe<number>();
const [ready, isReady] = pipe<void>();
const one = pool({ hosts: ["w1"] }), other = pool({ hosts: ["w2"] });
const options = { retries: 0 };
const lost = one.map(async (_: number) => {
  await tell.send(pipe<number>());
  await ready.send();
  for await (const _ of jobs);
}, [0], options).catch(() => "lost");
const [into, from] = await told.receive();
const waits = other.submit(async (spout: typeof from) => spout.receive().then(() => "got", say), from);
await isReady.receive();
const here = from.receive().then(() => "got", say);
console.log("ready");
const all = await Promise.all([here, waits, lost]);
all.push(await into.send(1).then(() => into.flush()).catch(say));
const rest = other.submit(async () => { const got: number[] = []; for await (const n of jobs) got.push(n); return got; });
for (let n = 0; n < 10; n++) await work.send(n);
await work.close();
out([...all, await rest]);`);
    await run.prints("ready");
    mesh.worker("w1").signal("SIGKILL");
    const { stdout, status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([0, expect.any(String)]);
    const gone = (what: string) => [
      "LINK_CLOSED",
      expect.stringContaining(`${what}: the process of the pipe, w1/1, is gone`),
    ];
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual([
      gone("spout.receive"),
      gone("spout.receive"),
      "lost",
      gone("funnel.flush"),
      Array.from({ length: 10 }, (_, i) => i),
    ]);
  });

  test.each(["tcp", "udp"] as const)(
    "X15 a task on another host, by %s, that stops reading: neither end nor the nodes between grow",
    async (transport) => {
      await using mesh = await TestMesh.start({ workers: { w1: 1 }, transport });
      await using run = mesh.start(
        `import { pipe, pool } from "mesh";
const [funnel, spout] = pipe<Uint8Array>();
const [go, goes] = pipe<void>();
const reader = pool().submit(async () => { let got = 0; for await (const _ of spout) { if (++got === 1) await goes.receive(); } return got; });
await funnel.send(new Uint8Array(1 << 20));
await funnel.flush();
console.log("ready");
await new Promise((done) => setTimeout(done, 300));
let ahead = 0;
const bytes = new Uint8Array(1 << 20);
for (; ahead < 400; ahead++) if (!(await funnel.send(bytes, { timeoutMs: 500 }).then(() => true, () => false))) break;
console.log("ahead " + ahead);
await new Promise((done) => setTimeout(done, 300));
await go.send();
for (let sent = ahead; sent < 400; sent++) await funnel.send(bytes);
await funnel.close();
console.log("got " + await reader);`,
      );
      await run.prints("ready");
      const before = new Map(run.processes.map(({ pid }) => [pid, peakBytes(pid)]));
      await run.prints(/ahead \d+\n/);
      expect(Number(/ahead (\d+)/.exec(run.stdout)![1])).toBeLessThanOrEqual(4);
      for (const [pid, bytes] of before) expect(peakBytes(pid) - bytes).toBeLessThan(64 * MIB);
      await run.prints("got 401");
      expect((await run.ended()).status).toBe(0);
    },
  );

  test("F81 X13 values that were put leave a worker with their job", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 2 } });
    const script = `import { pool, put } from "mesh"; ${out}
const ref = put(new Uint8Array(2_000_000));
out(await pool().apply(async () => (await ref.get()).length));`;
    expect(await mesh.resultOf(script)).toEqual([2_000_000, 2_000_000]);
    const all = () => readdirSync(mesh.folder.run, { recursive: true }).map(String);
    await expect.poll(() => all().filter((path) => path.includes("put-"))).toEqual([]);
    expect(all().length).toBeGreaterThan(0);
  });
});
