import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, keepNewest, keptFile } from "../../core/binary/kept-file.ts";
import { platformName } from "../../core/binary/platform.ts";
import { BinaryStore } from "../../core/binary/store.ts";
import type { Binary } from "../../core/provider.ts";
import { binary as ownBinary, testFolder } from "../support/mesh.ts";

const folder = testFolder();
afterAll(() => folder[Symbol.dispose]());

const own = { os: "linux", arch: process.arch as "x64", libc: "glibc" } as const;
const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

describe("BinaryStore", () => {
  const store = () => new BinaryStore({ folder: folder.at("cache"), own: ownBinary });

  test("F8: gives this machine's own binary with its digest, and packs it once", async () => {
    const binary = await store().binary(own);
    const bytes = readFileSync(ownBinary);
    expect(binary).toMatchObject({ path: ownBinary, sha256: sha256(bytes), sizeBytes: bytes.length });
    const gzip = await binary.packed("gzip");
    const zstd = await binary.packed("zstd");
    expect(sha256(Bun.gunzipSync(readFileSync(gzip.path)))).toBe(binary.sha256);
    expect(sha256(Bun.zstdDecompressSync(readFileSync(zstd.path)))).toBe(binary.sha256);
    const before = statSync(gzip.path).mtimeMs;
    expect(await (await store().binary(own)).packed("gzip")).toEqual(gzip);
    expect(statSync(gzip.path).mtimeMs).toBe(before);
    expect(readdirSync(folder.at("cache/packed")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("F8: a packed binary that was cut is made anew", async () => {
    const { path, sizeBytes } = await (await store().binary(own)).packed("zstd");
    truncateSync(path, 1_000);
    expect((await (await store().binary(own)).packed("zstd")).sizeBytes).toBe(sizeBytes);
    expect(statSync(path).size).toBe(sizeBytes);
  });
});

describe("the binary for another platform", () => {
  /** As the binary itself makes it; undefined where npm's registry is out of reach. */
  function make(name: string, env: Record<string, string> = {}): Binary | string {
    const { stdout, stderr, exitCode } = Bun.spawnSync([ownBinary, "binary", name], {
      env: { ...process.env, XDG_CACHE_HOME: folder.at("made"), NO_COLOR: "1", ...env },
    });
    return exitCode === 0 ? (JSON.parse(stdout.toString()) as Binary) : stderr.toString();
  }

  let baseline: Binary | string;
  beforeAll(() => {
    baseline = make("linux-x64-baseline");
  });

  test("F97: is this build, runs, and is as deaf to its environment", ({ skip }) => {
    if (typeof baseline === "string") return skip(`npm's registry is out of reach: ${baseline}`);
    if (process.arch !== "x64") return skip("only x64 runs it");
    const run = (path: string, env = {}) =>
      Bun.spawnSync([path, "version"], { env: { ...process.env, ...env } }).stdout.toString();
    expect(run(baseline.path)).toBe(run(ownBinary));
    expect(run(baseline.path, { BUN_BE_BUN: "1", BUN_OPTIONS: "--version" })).toBe(run(ownBinary));
    expect(baseline.sha256).not.toBe(sha256(readFileSync(ownBinary)));
    folder.write({
      "job.ts": 'import { pool } from "mesh"; console.log((await pool().map((x: number) => x ** 2, [7]))[0]);',
    });
    const job = Bun.spawnSync([baseline.path, "run", "--local", folder.at("job.ts")], { env: process.env });
    expect(job.stdout.toString().trim()).toBe("49");
  });

  test("F97: can make binaries itself", ({ skip }) => {
    if (typeof baseline === "string") return skip(`npm's registry is out of reach: ${baseline}`);
    if (process.arch !== "x64") return skip("only x64 runs it");
    const env = { ...process.env, XDG_CACHE_HOME: folder.at("made") };
    const { exitCode } = Bun.spawnSync([baseline.path, "binary", "linux-x64-baseline"], { env });
    expect(exitCode).toBe(0);
  });

  test("F8: for arm64 is one of arm64, and runs where qemu is", ({ skip }) => {
    const made = make("linux-arm64");
    if (typeof made === "string") return skip(`npm's registry is out of reach: ${made}`);
    const head = readFileSync(made.path).subarray(0, 20);
    expect(head.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    expect(head.readUInt16LE(18)).toBe(183); // EM_AARCH64 of elf.h
    const loader = "/usr/aarch64-linux-gnu";
    if (!Bun.which("qemu-aarch64-static") || !existsSync(loader))
      return skip("qemu-user-static and libc6-arm64-cross are not here");
    const { stdout } = Bun.spawnSync(["qemu-aarch64-static", "-L", loader, made.path, "version", "--json"]);
    expect(JSON.parse(stdout.toString())).toMatchObject({ platform: "linux-arm64", bun: Bun.version });
  });

  test("F97: without a network says how to get what it is made from by hand, and takes that", ({ skip }) => {
    const away = { npm_config_registry: "http://127.0.0.1:1", XDG_CACHE_HOME: folder.at("offline") };
    const bases = folder.at("offline/mesh/bases");
    expect(make("linux-x64-baseline", away)).toMatch(
      new RegExp(
        `127.0.0.1:1.*run \`npm pack @oven/bun-linux-x64-baseline@${Bun.version}\`, and put oven-bun-linux-x64-baseline-${Bun.version}.tgz into ${bases}`,
      ),
    );
    folder.write({ [`offline/mesh/bases/oven-bun-linux-x64-baseline-${Bun.version}.tgz`]: "no package" });
    expect(make("linux-x64-baseline", away)).toMatch("damaged or another version");
    if (typeof baseline === "string") return skip(`npm's registry is out of reach: ${baseline}`);
  });
});

describe("keptFile", () => {
  test("makes a file once, and again when it was altered with its size and time kept", async () => {
    const path = folder.at("kept/file");
    let made = 0;
    const make = async (temporary: string) => writeFileSync(temporary, `made ${++made}`);
    const first = await keptFile(path, make);
    expect(await keptFile(path, make)).toEqual(first);
    writeFileSync(path, "MADE 1");
    expect((await keptFile(path, make)).sha256).toBe(sha256(Buffer.from("made 2")));
    expect(made).toBe(2);
  });

  test("leaves nothing of what failed", async () => {
    const path = folder.at("failed/file");
    const make = async (temporary: string) => {
      writeFileSync(temporary, "half");
      throw new Error("no more");
    };
    await expect(keptFile(path, make)).rejects.toThrow("no more");
    expect(readdirSync(folder.at("failed"))).toEqual([]);
  });

  test("two at once end with one whole file", async () => {
    const path = folder.at("twice/file");
    const both = await Promise.all(
      [1, 2].map(() => keptFile(path, async (temporary) => writeFileSync(temporary, "same"))),
    );
    expect(both[0]).toEqual(both[1]);
    expect(readdirSync(folder.at("twice")).toSorted()).toEqual(["file", "file.json"]);
  });

  test("keepNewest leaves the newest", async () => {
    for (const name of ["a", "b", "c"]) {
      await keptFile(folder.at(`many/${name}`), async (temporary) => writeFileSync(temporary, name));
      await Bun.sleep(2); // the clock of files
    }
    keepNewest(folder.at("many"), 2);
    expect(readdirSync(folder.at("many")).toSorted()).toEqual(["b", "b.json", "c", "c.json"]);
  });

  test("digestOf sees that a file has changed", async () => {
    const path = join(folder.path, "changing");
    writeFileSync(path, "one");
    expect((await digestOf(path, folder.at("digests"))).sha256).toBe(sha256(Buffer.from("one")));
    writeFileSync(path, "two");
    expect((await digestOf(path, folder.at("digests"))).sha256).toBe(sha256(Buffer.from("two")));
  });
});

describe("platformName", () => {
  test("F8: is that of Bun's target", () => {
    expect(platformName({ os: "linux", arch: "x64", libc: "musl", isBaseline: true })).toBe("linux-x64-musl-baseline");
    expect(platformName({ os: "darwin", arch: "arm64" })).toBe("darwin-arm64");
  });
});
