import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { kill, peakBytes } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;

/** Workers whose homes are folders of the test. */
async function meshWithHomes(...names: string[]): Promise<TestMesh> {
  const mesh = await TestMesh.start({ workers: {} });
  for (const name of names) {
    mkdirSync(mesh.folder.at(name));
    await mesh.startWorker(name, ["--slots", "1"], { HOME: mesh.folder.at(name) });
  }
  return mesh;
}

/** Bytes that no two files share and no compression shortens. */
function noise(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

function same(a: string, b: string): boolean {
  return readFileSync(a).equals(readFileSync(b));
}

function partials(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith(".mesh-part-"));
}

async function copied(mesh: TestMesh, ...args: string[]) {
  const result = await mesh.mesh(["cp", "--json", ...args]);
  const lines = result.stdout.trim().split("\n").filter(Boolean);
  return { ...result, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe("F89: mesh cp", () => {
  it("copies a file to hosts and back, with permissions and time, and sends nothing that is there", async () => {
    await using mesh = await meshWithHomes("w1", "w2");
    const at = (name: string) => mesh.folder.at(name);
    writeFileSync(at("a.bin"), noise(3 * MIB + 17));
    chmodSync(at("a.bin"), 0o750);
    utimesSync(at("a.bin"), 1_000, 1_234_567.25);
    const first = await copied(mesh, "a.bin", "w[1-2]:b.bin");
    expect([first.stderr, first.status]).toEqual(["", 0]);
    for (const name of ["w1", "w2"]) {
      const there = join(at(name), "b.bin");
      expect(same(there, at("a.bin"))).toBe(true);
      expect([statSync(there).mode & 0o777, statSync(there).mtimeMs]).toEqual([0o750, 1_234_567_250]);
    }
    const again = await copied(mesh, "a.bin", "w1:b.bin");
    expect(again.lines[0]).toMatchObject({ state: "unchanged", to: "w1", target: join(at("w1"), "b.bin") });
    expect(again.lines[1]).toMatchObject({ end: true, sentBytes: 0 });
    mkdirSync(at("back"));
    expect((await copied(mesh, "w[1-2]:b.bin", "back")).status).toBe(0);
    expect(same(at("back/w2/b.bin"), at("a.bin"))).toBe(true);
    const through = await copied(mesh, "w1:b.bin", `w2:${at("back")}/through.bin`);
    expect(through.status).toBe(0);
    expect(same(at("back/through.bin"), at("a.bin"))).toBe(true);
  });

  it("replaces as cp does, or with --no-overwrite leaves what is there", async () => {
    await using mesh = await meshWithHomes("w1");
    const there = join(mesh.folder.at("w1"), "f");
    mesh.folder.write({ one: "one", two: "two" });
    expect((await mesh.mesh(["cp", "one", "w1:f"])).status).toBe(0);
    const left = await copied(mesh, "--no-overwrite", "two", "w1:f");
    expect([left.status, readFileSync(there, "utf8")]).toEqual([0, "one"]);
    expect(left.lines[0]).toMatchObject({ state: "exists", standing: { sizeBytes: 3 } });
    expect((await mesh.mesh(["cp", "two", "w1:f"])).status).toBe(0);
    expect(readFileSync(there, "utf8")).toBe("two");
    // What a link leads to is written, the link stays; what is no file is not replaced.
    mkdirSync(mesh.folder.at("w1/deep"));
    symlinkSync("deep/real", mesh.folder.at("w1/link"));
    mesh.folder.write({ "w1/deep/real": "old" });
    expect((await mesh.mesh(["cp", "one", "w1:link"])).status).toBe(0);
    expect(readFileSync(mesh.folder.at("w1/deep/real"), "utf8")).toBe("one");
    const device = await mesh.mesh(["cp", "one", "w1:/dev/null"]);
    expect([device.status, device.stderr]).toEqual([
      1,
      expect.stringContaining("/dev/null is no file: it is not replaced"),
    ]);
    const missing = await mesh.mesh(["cp", "one", "w1:none/f"]);
    expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining("there is no such file or folder")]);
    const folder = await mesh.mesh(["cp", "one", "w1:none/"]);
    expect([folder.status, folder.stderr]).toEqual([1, expect.stringContaining("there is no folder none/")]);
  });

  it("copies folders with odd names, empty files, links and times; what cannot be copied hides no other", async () => {
    await using mesh = await meshWithHomes("w1");
    const at = (name: string) => mesh.folder.at(name);
    const names = ["plain", "with space", "ünïcödé 文", "new\nline", "-dash", "a:b", "'quote\"", "empty", ".hidden"];
    for (const name of names) mesh.folder.write({ [`tree/sub/${name}`]: name === "empty" ? "" : `of ${name}` });
    mkdirSync(at("tree/void"));
    symlinkSync("sub/plain", at("tree/link"));
    symlinkSync("sub", at("tree/folder-link"));
    symlinkSync("..", at("tree/sub/circle"));
    symlinkSync("nowhere", at("tree/dangling"));
    expect(Bun.spawnSync(["mkfifo", at("tree/pipe")]).exitCode).toBe(0);
    chmodSync(at("tree/void"), 0o500);
    utimesSync(at("tree/void"), 5, 5_000);
    const refused = await mesh.mesh(["cp", "tree", "w1:"]);
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("copy it with -r")]);
    const up = await mesh.mesh(["cp", "-r", "tree", "w1:"]);
    expect(up.status).toBe(3);
    expect(up.stderr).toContain("tree/dangling is neither a file nor a folder");
    expect(up.stderr).toContain("tree/sub/circle leads to a folder it is in");
    for (const name of names) {
      expect(readFileSync(at(`w1/tree/sub/${name}`), "utf8")).toBe(name === "empty" ? "" : `of ${name}`);
    }
    expect(readFileSync(at("w1/tree/link"), "utf8")).toBe("of plain");
    expect(readFileSync(at("w1/tree/folder-link/plain"), "utf8")).toBe("of plain");
    expect([statSync(at("w1/tree/void")).mode & 0o777, statSync(at("w1/tree/void")).mtimeMs]).toEqual([
      0o500, 5_000_000,
    ]);
    const down = await mesh.mesh(["cp", "-r", "w1:tree/sub", "copy"]);
    expect([down.stderr, down.status]).toEqual([expect.stringMatching(/^mesh: 9 files/), 0]);
    expect(readdirSync(at("copy")).sort()).toEqual([...names].sort());
    expect((await mesh.mesh(["cp", "-r", "w1:tree/sub", "copy"])).status).toBe(0);
    expect(existsSync(at("copy/sub/plain"))).toBe(true);
  });

  it("expands patterns on hosts, and says of files without a size that they have none", async () => {
    await using mesh = await meshWithHomes("w1");
    const at = (name: string) => mesh.folder.at(name);
    for (const name of ["a.txt", "b.txt", "c.log", "[odd].txt"]) mesh.folder.write({ [`w1/logs/${name}`]: name });
    mkdirSync(at("here"));
    expect((await mesh.mesh(["cp", "w1:logs/?.txt", "here"])).status).toBe(0);
    expect(readdirSync(at("here")).sort()).toEqual(["a.txt", "b.txt"]);
    expect((await mesh.mesh(["cp", "w1:logs/[odd].txt", "here"])).status).toBe(0);
    expect(readFileSync(at("here/[odd].txt"), "utf8")).toBe("[odd].txt");
    const none = await mesh.mesh(["cp", "w1:logs/*.bin", "here"]);
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("nothing on w1 matches logs/*.bin")]);
    const sizeless = await mesh.mesh(["cp", "w1:/proc/version", "here"]);
    expect([sizeless.status, sizeless.stderr]).toEqual([
      1,
      expect.stringContaining("mesh exec HOST cat /proc/version"),
    ]);
  });

  it("tells what is wrong with its operands before anything is copied", async () => {
    await using mesh = await meshWithHomes("w1");
    mesh.folder.write({ f: "x" });
    const refused = async (...args: string[]) => {
      const { status, stderr } = await mesh.mesh(["cp", ...args]);
      return [status, stderr.replace(/^error: /, "").trim()];
    };
    expect(await refused("f", "g")).toEqual([2, expect.stringContaining("nothing of this is on another host")]);
    expect(await refused("f")).toEqual([2, expect.stringContaining("mesh cp SRC... HOST:DST")]);
    expect(await refused("f", "w2:")).toEqual([2, expect.stringContaining('did you mean "w1"?')]);
    expect(await refused("w1:none", ".")).toEqual([1, "there is no none on w1"]);
    expect(await refused("f", "f", "w1:x")).toEqual([1, expect.stringContaining("there is no folder x")]);
  });
});

describe("X34: a copy whose receiver dies at half", () => {
  it("fails cleanly, shows no partial file, and goes on where it was when it is made again", async () => {
    await using mesh = await meshWithHomes("w1");
    const at = (name: string) => mesh.folder.at(name);
    writeFileSync(at("big"), noise(64 * MIB));
    truncateSync(at("big"), 1_024 * MIB);
    await using run = mesh.command(["cp", "big", "w1:big"]);
    await until(() => partials(at("w1")).some((name) => statSync(join(at("w1"), name)).size > 128 * MIB), {
      what: "a part of the file",
    });
    kill(mesh.worker("w1").pid, "SIGKILL");
    const { status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([5, expect.stringContaining("w1 was lost")]);
    expect(peakBytes(run.pid)).toBe(0);
    expect(existsSync(at("w1/big"))).toBe(false);
    expect(partials(at("w1"))).toHaveLength(1);
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    const worker = await mesh.startWorker("w1", ["--slots", "1"], { HOME: at("w1") });
    const again = await copied(mesh, "big", "w1:big");
    expect([again.stderr, again.status]).toEqual(["", 0]);
    const { sentBytes, sizeBytes } = again.lines[0] as { sentBytes: number; sizeBytes: number };
    expect(sizeBytes).toBe(1_024 * MIB);
    expect(sentBytes).toBeLessThanOrEqual(sizeBytes - 128 * MIB);
    expect(Bun.spawnSync(["cmp", at("big"), at("w1/big")]).exitCode).toBe(0);
    expect(partials(at("w1"))).toEqual([]);
    expect(peakBytes(worker.pid)).toBeLessThan(400 * MIB);
  });

  it("does not go on with a part of another content", async () => {
    await using mesh = await meshWithHomes("w1");
    const at = (name: string) => mesh.folder.at(name);
    writeFileSync(at("f"), noise(8 * MIB));
    utimesSync(at("f"), 1, 1);
    await using run = mesh.command(["cp", "f", "w1:f"]);
    expect((await run.ended()).status).toBe(0);
    // As an attempt would have left it, of a file of the same size and time.
    const key = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 16);
    const part = join(at("w1"), `.mesh-part-${key("g")}-${key(`${8 * MIB} 1000`)}`);
    writeFileSync(part, noise(3 * MIB));
    const again = await copied(mesh, "f", "w1:g");
    expect(again.lines[0]).toMatchObject({ state: "saved", sentBytes: 8 * MIB });
    expect(same(at("w1/g"), at("f"))).toBe(true);
    expect(partials(at("w1"))).toEqual([]);
  });
});
