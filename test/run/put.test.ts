// F81 References on real processes.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MeshProcess, nothingLeft, peakBytes, resultOf, testFolder } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const MIB = 1024 * 1024;

describe("F81 put", () => {
  test("F81 a value is sent to a host once, whatever tasks use it: captured, passed, in pipes, nested", async () => {
    const script = `import { pipe, pool, put } from "mesh"; ${out}
const table = put({ numbers: new Float64Array(500_000).fill(0.5), name: "table" });
const p = pool({ slots: 3 });
const captured = await p.apply(async () => { const { numbers, name } = await table.get(); return [numbers.length, numbers[499_999], name]; });
const passed = await p.map(async (i: number, ref: typeof table) => (await ref.get()).numbers[i], [0, 1, 2, 3, 4, 5], { args: [table], chunkSize: 1 });
const [into, from] = pipe<{ refs: (typeof table)[] }>();
await into.send({ refs: [table] });
const piped = await p.submit(async () => { const { refs } = await from.receive(); return (await refs[0]!.get()).name; });
out({ captured, passed, piped, times: table.sentBytes / table.sizeBytes });`;
    const each = [500_000, 0.5, "table"];
    expect(await resultOf(script)).toEqual({
      captured: [each, each, each],
      passed: Array(6).fill(0.5),
      piped: "table",
      times: 1,
    });
  });

  test("F81 is decoded once in each process; a put in a task serves the script and others", async () => {
    const script = `import { pool, put } from "mesh"; ${out}
const p = pool({ slots: 2 });
const ref = put({ n: 1 });
const same = await p.apply(async () => (await ref.get()) === (await ref.get()));
const made = await p.submit(() => put(new Map([["k", [1, 2]]])));
out({ same, here: [...(await made.get())], there: (await p.apply(async () => (await made.get()).get("k"))) });`;
    expect(await resultOf(script)).toEqual({
      same: [true, true],
      here: [["k", [1, 2]]],
      there: [
        [1, 2],
        [1, 2],
      ],
    });
  });

  test("F81 what cannot travel is said at the put, with its path; that it was released, at the get", async () => {
    const script = `import { pool, put } from "mesh"; ${out}
const say = (error: { code: string; message: string }) => [error.code, error.message];
let refused;
try { put({ deep: [new WeakMap()] }); } catch (error) { refused = say(error as never); }
const p = pool({ slots: 2 });
const ref = put([1]);
await p.apply(async () => (await ref.get()).length);
ref.release();
const released = await p.submit(async () => ref.get().then(() => "there", say));
out({ refused, released });`;
    expect(await resultOf(script)).toEqual({
      refused: ["CANNOT_TRAVEL", expect.stringContaining("put: the value.deep[0]: a WeakMap cannot travel")],
      released: ["CLOSED", expect.stringContaining("released by here/0")],
    });
  });

  test("F81 an owner that died before anybody asked is named", async () => {
    const script = `import { pool, put } from "mesh"; ${out}
const p = pool({ slots: 1 });
const [ref] = await p.map((n: number) => put(n), [7]);
const pid = (await p.apply(() => process.pid))[0]!;
process.kill(pid, "SIGKILL");
while ((await p.apply(() => process.pid))[0] === pid);
out(await ref!.get().then(() => "there", (error) => [error.code, error.message]));`;
    expect(await resultOf(script)).toEqual([
      "LINK_CLOSED",
      "ref.get: the process that put the value, here/1, is gone, and the value with it",
    ]);
  });

  test("F81 the file is for the user alone, and gone with the release and with the run", async () => {
    const script = `import { existsSync } from "node:fs";
import { pool, put } from "mesh";
const ref = put(new Uint8Array(3 << 20));
await pool({ slots: 2 }).apply(async () => (await ref.get()).length);
console.log("fetched");
while (!existsSync("go")) await Bun.sleep(5);
ref.release();
console.log("released");
while (!existsSync("end")) await Bun.sleep(5);`;
    using folder = testFolder({ "job.ts": script });
    await using mesh = new MeshProcess(folder, ["run", "--slots", "2", "job.ts"]);
    await mesh.prints("fetched");
    const run = join(folder.run, folder.runFolders()[0]!);
    const files = () => readdirSync(run).filter((name) => name.startsWith("put-"));
    expect(files()).toHaveLength(1);
    expect(statSync(join(run, files()[0]!)).mode & 0o777).toBe(0o600);
    folder.write({ go: "" });
    await mesh.prints("released");
    await expect.poll(files).toEqual([]);
    folder.write({ end: "" });
    expect((await mesh.ended()).status).toBe(0);
    await nothingLeft(folder);
  });

  test("F81 256 MB: no process holds more of it than its copy and one on the way", async () => {
    const script = `import { pool, put } from "mesh"; ${out}
const ref = put(new Uint8Array(256 << 20).fill(9));
out(await pool({ slots: 2 }).apply(async () => { const bytes = await ref.get(); return [bytes.length, bytes[(256 << 20) - 1], process.pid]; }));
await Bun.sleep(60_000);`;
    using folder = testFolder({ "job.ts": script });
    await using mesh = new MeshProcess(folder, ["run", "--slots", "2", "job.ts"], { limitMs: 40_000 });
    await mesh.prints(/\n/);
    const results = JSON.parse(mesh.stdout) as [number, number, number][];
    for (const [size, last, pid] of results) {
      expect([size, last]).toEqual([256 * MIB, 9]);
      // Its copy, the file that is mapped, and itself; once more would be over it.
      expect(peakBytes(pid)).toBeLessThan((2 * 256 + 160) * MIB);
    }
    const others = mesh.processes.filter(
      ({ pid, command }) => command[1] !== "slot" && !results.some((r) => r[2] === pid),
    );
    for (const { pid } of others) expect(peakBytes(pid)).toBeLessThan(200 * MIB);
  }, 45_000);
});
