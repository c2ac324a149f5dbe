// What a run prints: byte by byte for the script, line by line for slots, at the pace of the reader, calm when nobody looks.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  binary,
  MeshProcess,
  nothingLeft,
  peakBytes,
  resultOf,
  runScript,
  type TestFolder,
  testFolder,
} from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const MIB = 1 << 20;

/** Reads all that a run prints; `afterFirst` runs once the first bytes are there, before any more is read. */
async function readAll(mesh: MeshProcess, afterFirst: () => Promise<unknown> = async () => {}) {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of mesh.output) {
    if (bytes === 0) await afterFirst();
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { bytes, hash: hash.digest("hex") };
}

/** Resolves when every process of the run stopped using its processor: all wait for the reader. */
async function allWait(folder: TestFolder, mesh: MeshProcess): Promise<void> {
  const used = async () => {
    const stats = mesh.processes.map(async ({ pid }) => {
      const stat = await Bun.file(`/proc/${pid}/stat`)
        .text()
        .catch(() => "");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
    });
    return (await Promise.all(stats)).reduce((sum, ticks) => sum + ticks, 0);
  };
  for (let before = -1, now = await used(), calm = 0, looks = 0; calm < 3 && looks < 100; looks++) {
    calm = now - before <= 1 ? calm + 1 : 0;
    before = now;
    await Bun.sleep(150); // the time over which use is measured
    now = await used();
  }
  expect(folder.runFolders()).toHaveLength(1);
}

const line = `const line = "0123456789abcdef".repeat(6) + "xyz\\n";`; // 100 bytes
const hundredMegabytes = createHash("sha256");
for (let i = 0; i < 1_000; i++) hundredMegabytes.update(`${"0123456789abcdef".repeat(6)}xyz\n`.repeat(1_000));
const expected = { bytes: 100_000_000, hash: hundredMegabytes.digest("hex") };

const fromScript = `import { writeSync } from "node:fs"; ${line}
const block = line.repeat(10_000);
for (let i = 0; i < 100; i++) { let rest = Buffer.from(block); while (rest.length > 0) try { rest = rest.subarray(writeSync(1, rest)); } catch (e: any) { if (e.code !== "EAGAIN") throw e; Bun.sleepSync(1); } }`;
const fromStream = `${line}
const block = line.repeat(1_000);
for (let i = 0; i < 1_000; i++) if (!process.stdout.write(block)) await new Promise((drained) => process.stdout.once("drain", drained));`;
const fromSlot = `import { pool } from "mesh"; ${line}
await pool({ slots: 1 }).submit(() => { const block = line.repeat(1_000); for (let i = 0; i < 1_000; i++) require("node:fs").writeSync(1, block); });`;

describe("a hundred megabytes", () => {
  test.each([
    ["the script, by writeSync", fromScript],
    ["the script, by its stream", fromStream],
    ["a slot", fromSlot],
  ])("of %s arrive byte by byte, and no process of mesh holds them", async (_, script) => {
    using folder = testFolder({ "job.ts": script });
    await using mesh = new MeshProcess(folder, ["run", "job.ts"], { holdsOutput: true, limitMs: 30_000 });
    const peaks = { run: 0, head: 0 };
    const read = await readAll(mesh, async () => {
      await allWait(folder, mesh);
      peaks.run = peakBytes(mesh.pid);
      peaks.head = peakBytes(mesh.inRole("head")[0]!.pid);
    });
    expect(read).toEqual(expected);
    expect((await mesh.ended()).status).toBe(0);
    expect(peaks.run).toBeLessThan(200 * MIB);
    expect(peaks.head).toBeLessThan(200 * MIB);
    expect(peaks.head).toBeGreaterThan(0);
    await nothingLeft(folder);
  });

  test.each([
    ["the script", fromScript],
    ["a slot", fromSlot],
  ])("of %s, and a reader that closes early: the run ends quietly", async (_, script) => {
    using folder = testFolder({ "job.ts": script });
    const child = Bun.spawn(["sh", "-c", `"${binary}" run job.ts | head -n 2`], {
      cwd: folder.path,
      env: { ...process.env, XDG_RUNTIME_DIR: folder.at(".runtime"), MESH_TEST_MARK: folder.marker },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    await child.exited;
    expect([stdout.split("\n").length, stderr]).toEqual([3, ""]);
    await nothingLeft(folder);
  });
});

describe("output", () => {
  test("of the script is not changed: no newline added, any bytes, both streams", async () => {
    const { stdout, stderr, status } = await runScript(
      `process.stdout.write("no end"); process.stderr.write("a\\r\\nb\\t\\u001b[1mc");`,
    );
    expect([stdout, stderr, status]).toEqual(["no end", "a\r\nb\t\u001b[1mc", 0]);
  });

  test("F77 of tasks comes in whole lines, also of those that print at once", async () => {
    const script = `import { pool } from "mesh";
await pool({ slots: 2 }).map(async (i: number) => { for (const part of ["begin", "-" + i + "-", "end"]) { process.stdout.write(part); await Bun.sleep(1); } process.stdout.write("\\n"); }, Array.from({ length: 20 }, (_, i) => i));`;
    const { stdout } = await runScript(script);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `begin-${i}-end`).toSorted());
  });

  test("F77 what a task printed before it killed its slot is not lost", async () => {
    const script = `import { pool } from "mesh";
await pool({ slots: 1 }).map(() => { require("node:fs").writeSync(1, "last words, without an end"); process.kill(process.pid, "SIGKILL"); for (;;); }, [1], { retries: 0 }).catch(() => {});`;
    expect((await runScript(script)).stdout).toContain("last words, without an end");
  });

  test("F77 what a task printed is out before the run ends", async () => {
    const script = `import { pool } from "mesh"; await pool().map((i: number) => console.log("line", i), Array.from({ length: 3_000 }, (_, i) => i));`;
    expect((await runScript(script)).stdout.trimEnd().split("\n")).toHaveLength(3_000);
  });

  test("F87 is calm where there is no terminal: no bar, no colour, no cursor", async () => {
    const script = `import { pool } from "mesh"; ${out}
out((await pool({ slots: 2 }).map(async (i: number) => { await Bun.sleep(100); return i; }, Array.from({ length: 30 }, (_, i) => i), { chunkSize: 1 })).length);`;
    expect(await runScript(script, { env: { NO_COLOR: undefined } })).toMatchObject({ stdout: "30\n", stderr: "" });
  });

  test("F87 shows progress on a terminal, and takes it away", async () => {
    using folder = testFolder({
      "job.ts": `import { pool } from "mesh"; await pool({ slots: 2 }).map(async (i: number) => { await Bun.sleep(100); return i; }, Array.from({ length: 30 }, (_, i) => i), { chunkSize: 1 }); console.log("result");`,
    });
    let shown = "";
    const child = Bun.spawn([binary, "run", "job.ts"], {
      cwd: folder.path,
      env: { ...process.env, TERM: "xterm", XDG_RUNTIME_DIR: folder.at(".runtime"), MESH_TEST_MARK: folder.marker },
      terminal: {
        cols: 100,
        rows: 30,
        data: (_terminal, data) => {
          shown += Buffer.from(data).toString();
        },
      },
    });
    expect(await child.exited).toBe(0);
    child.terminal?.close();
    expect(shown).toMatch(/pool\.map.*\d+\/30/);
    expect(shown).toContain("result\r\n");
    // What is on the screen at last: the line of the result, and no bar.
    const last = shown.split("\n").map((text) => text.split("\r\x1b[2K").at(-1)!);
    expect(last.filter((text) => /\d+\/30/.test(text))).toEqual([]);
    await nothingLeft(folder);
  });

  test("a script that prints while its tasks do mixes no lines", async () => {
    const script = `import { pool } from "mesh";
const tasks = pool({ slots: 2 }).map((i: number) => console.log("task".repeat(50)), Array.from({ length: 200 }, (_, i) => i));
for (let i = 0; i < 200; i++) { console.log("script".repeat(50)); if (i % 20 === 0) await Bun.sleep(1); }
await tasks;`;
    const kinds = new Set((await runScript(script)).stdout.trimEnd().split("\n"));
    expect(kinds).toEqual(new Set(["task".repeat(50), "script".repeat(50)]));
  });

  test("a run with nobody to print to: stdout and stderr closed", async () => {
    using folder = testFolder({
      "job.ts": `import { writeFileSync } from "node:fs"; console.log("x"); writeFileSync("ran", "");`,
    });
    const child = Bun.spawn(["sh", "-c", `"${binary}" run job.ts >&- 2>&- <&-; echo $?`], {
      cwd: folder.path,
      env: { ...process.env, XDG_RUNTIME_DIR: folder.at(".runtime"), MESH_TEST_MARK: folder.marker },
      stdio: ["ignore", "pipe", "ignore"],
    });
    await new Response(child.stdout).text();
    expect(await Bun.file(folder.at("ran")).exists()).toBe(true);
    await nothingLeft(folder);
  });
});

describe("X35 a hostile folder and environment", () => {
  const evil = `require("node:fs").appendFileSync(process.env.EVIL_LOG, process.argv.join(" ") + "\\n");`;

  test("X35 .env, bunfig.toml, BUN_OPTIONS and NODE_TLS_REJECT_UNAUTHORIZED are neither loaded nor obeyed", async () => {
    const script = `import { pool } from "mesh"; ${out}
const look = () => [process.env.FROM_DOTENV ?? null, (globalThis as any).evil ?? null, process.env.NODE_TLS_REJECT_UNAUTHORIZED ?? null, process.env.BUN_OPTIONS ?? null, process.env.BUN_CONFIG_VERBOSE_FETCH ?? null];
out([look(), await pool().apply(look)]);`;
    using folder = testFolder({
      "job.ts": script,
      ".env": "FROM_DOTENV=evil\n",
      ".env.local": "FROM_DOTENV=evil\n",
      "bunfig.toml": `preload = ["./evil.cjs"]\n[run]\npreload = ["./evil.cjs"]\n`,
      "evil.cjs": `globalThis.evil = true; ${evil}`,
      "package.json": `{ "name": "x", "scripts": { "prepare": "false" } }`,
    });
    const env = {
      EVIL_LOG: folder.at("evil.log"),
      BUN_OPTIONS: `--preload=${folder.at("evil.cjs")}`,
      BUN_INSPECT_PRELOAD: folder.at("evil.cjs"),
      BUN_BE_BUN: "1",
      BUN_CONFIG_VERBOSE_FETCH: "1",
      NODE_TLS_REJECT_UNAUTHORIZED: "0",
    };
    await using mesh = new MeshProcess(folder, ["run", "--slots", "2", "job.ts"], { env });
    const { stdout, stderr, status } = await mesh.ended();
    const nothing = [null, null, null, null, null];
    expect([status, stderr, JSON.parse(stdout)]).toEqual([0, "", [nothing, [nothing, nothing]]]);
    expect(await Bun.file(folder.at("evil.log")).exists()).toBe(false);
    await nothingLeft(folder);
  });

  test("X35 the rest of the environment is the script's and the tasks'", async () => {
    const script = `import { pool } from "mesh"; ${out} out([process.env.MINE, await pool({ slots: 1 }).submit(() => process.env.MINE)]);`;
    expect(await resultOf(script, { env: { MINE: "yes" } })).toEqual(["yes", "yes"]);
  });
});

describe("where the run folder cannot be", () => {
  const mounts = Bun.spawnSync(["unshare", "-m", "true"]).exitCode === 0;

  test.skipIf(!mounts)(
    `X13 on a full disk: a clear error${mounts ? "" : " (skipped: `unshare -m` needs root)"}`,
    async () => {
      using folder = testFolder({
        "job.ts": `import { pool } from "mesh"; console.log(await pool().submit(() => 1));`,
      });
      const full = folder.at(".runtime");
      const commands = [
        `mount -t tmpfs -o size=64k,mode=700 none "${full}"`,
        `dd if=/dev/zero of="${full}/filler" bs=1k 2>/dev/null`,
        `"${binary}" run job.ts; status=$?; rm "${full}/filler"; ls -A "${full}"/mesh-*; exit $status`,
      ].join("\n");
      const child = Bun.spawn(["unshare", "-m", "sh", "-c", commands], {
        cwd: folder.path,
        env: { ...process.env, XDG_RUNTIME_DIR: full, MESH_TEST_MARK: folder.marker },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect(await child.exited).toBe(5);
      expect(stderr).toMatch(/cannot write .*no space left on device/i);
      expect([stdout, stderr]).toEqual(["", expect.not.stringContaining("bug in mesh")]);
      await nothingLeft(folder);
    },
  );

  test.skipIf(!mounts)(
    "X13 on a disk that is full later on: the call fails with its cause, what runs goes on, and room helps",
    async () => {
      const script = `import { pool } from "mesh"; import { appendFileSync, rmSync } from "node:fs"; ${out}
const path = process.env.XDG_RUNTIME_DIR + "/filler";
const before = await pool({ slots: 1 }).submit(() => 1);
try { for (;;) appendFileSync(path, new Uint8Array(1024)); } catch {}
const full = await pool({ slots: 2 }).apply(() => 2).catch((e) => [e.code, e.message]);
const meanwhile = await pool({ slots: 1 }).submit(() => 3);
rmSync(path);
out([before, full, meanwhile, await pool({ slots: 2 }).apply(() => 4)]);`;
      using folder = testFolder({ "job.ts": script });
      const runtime = folder.at(".runtime");
      const commands = `mount -t tmpfs -o size=20m,mode=700 none "${runtime}" && "${binary}" run --slots 1 job.ts`;
      const child = Bun.spawn(["unshare", "-m", "sh", "-c", commands], {
        cwd: folder.path,
        env: { ...process.env, XDG_RUNTIME_DIR: runtime, MESH_TEST_MARK: folder.marker },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect([await child.exited, stderr]).toEqual([0, ""]);
      const full = ["SLOT_LOST", expect.stringMatching(/no slot can be started: .*no space left on device/i)];
      expect(JSON.parse(stdout)).toEqual([1, full, 3, [4, 4]]);
      await nothingLeft(folder);
    },
  );

  test("a folder too deep for a socket's path: another place is found", async () => {
    using folder = testFolder({ "job.ts": "console.log(1)" });
    const deep = folder.at(`${"d".repeat(90)}`);
    folder.write({ [`${"d".repeat(90)}/x`]: "" });
    await using mesh = new MeshProcess(folder, ["run", "job.ts"], { env: { XDG_RUNTIME_DIR: deep } });
    expect(await mesh.ended()).toMatchObject({ status: 0, stdout: "1\n" });
  });

  test("a run folder that is not there yet, or no folder: another place is found", async () => {
    using folder = testFolder({ "job.ts": "console.log(1)", file: "" });
    for (const XDG_RUNTIME_DIR of [folder.at("new"), folder.at("file"), ""]) {
      await using mesh = new MeshProcess(folder, ["run", "job.ts"], { env: { XDG_RUNTIME_DIR } });
      expect(await mesh.ended()).toMatchObject({ status: 0, stdout: "1\n" });
    }
  });
});
