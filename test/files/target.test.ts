import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { copyFile } from "../../core/files/copy.ts";
import type { Begun, Target } from "../../core/files/files.ts";
import { LocalFiles } from "../../core/files/local-files.ts";

const MIB = 1024 * 1024;

function scene() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mesh-target-")));
  const files = new LocalFiles({ root: folder, userFolder: folder });
  const at = (path: string) => ({ root: "user" as const, path });
  return { folder, files, at, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

const hashOf = (content: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(content).digest("hex");
const facts = (sizeBytes: number) => ({ sizeBytes, mtimeMs: 1_000, mode: 0o644 });

function targetOf(begun: Begun): Target {
  if (begun.state !== "write") throw new Error(`it is to be written, not ${begun.state}`);
  return begun.target;
}

it("a target that is not to overwrite leaves what came there meanwhile", async () => {
  using place = scene();
  const { folder, files, at } = place;
  const target = targetOf(await files.begin(at("f"), facts(3), { overwrite: false, compares: true }));
  await target.write(0, Buffer.from("new"));
  writeFileSync(join(folder, "f"), "meanwhile");
  const standing = { sizeBytes: 9, hash: hashOf("meanwhile"), mtimeMs: statSync(join(folder, "f")).mtimeMs };
  expect(await target.finish(hashOf("new"))).toEqual({ state: "exists", standing });
  expect(readdirSync(folder)).toEqual(["f"]);
});

it("two who write the same file at once do not mix; a hash that is not right leaves nothing", async () => {
  using place = scene();
  const { folder, files, at } = place;
  const begin = async () => targetOf(await files.begin(at("f"), facts(3), { overwrite: true, compares: false }));
  const [one, other, wrong] = [await begin(), await begin(), await begin()];
  await Promise.all([
    one.write(0, Buffer.from("one")),
    other.write(0, Buffer.from("two")),
    wrong.write(0, Buffer.from("bad")),
  ]);
  expect(readdirSync(folder)).toHaveLength(3);
  await expect(wrong.finish(hashOf("good"))).rejects.toMatchObject({
    code: "STORAGE",
    message: expect.stringContaining("came damaged"),
  });
  expect(await one.finish(hashOf("one"))).toEqual({ state: "saved" });
  expect(await other.finish(hashOf("two"))).toEqual({ state: "saved" });
  expect(readFileSync(join(folder, "f"), "utf8")).toBe("two");
  expect(readdirSync(folder)).toEqual(["f"]);
});

it("what is kept of an attempt is gone on with; a small part is not kept, and parts of older versions go", async () => {
  using place = scene();
  const { folder, files, at } = place;
  const begin = async (sizeBytes: number) =>
    targetOf(await files.begin(at("f"), facts(sizeBytes), { overwrite: true, compares: true }));
  const content = crypto.getRandomValues(new Uint8Array(65_536));
  const part = Buffer.concat(Array.from({ length: 32 }, () => content));
  const first = await begin(3 * MIB);
  await first.write(0, part.subarray(0, MIB));
  await first.abandon(true);
  const second = await begin(3 * MIB);
  expect([second.offset, second.hash]).toEqual([MIB, hashOf(part.subarray(0, MIB))]);
  await expect(second.write(0.5 * MIB, Buffer.from("x"))).rejects.toMatchObject({ code: "PROTOCOL" });
  await expect(second.write(MIB, Buffer.alloc(2 * MIB + 1))).rejects.toMatchObject({ code: "PROTOCOL" });
  await second.abandon(true);
  const newer = await begin(2 * MIB);
  expect(newer.offset).toBe(0);
  await newer.write(0, part.subarray(0, 10));
  await newer.abandon(true);
  expect(readdirSync(folder)).toEqual([]);
});

it("there is no room: refused before anything is written", async () => {
  using place = scene();
  const { folder, files, at } = place;
  const begun = files.begin(at("f"), facts(2 ** 52), { overwrite: true, compares: true });
  await expect(begun).rejects.toMatchObject({ code: "STORAGE", message: expect.stringContaining("no room for") });
  expect(readdirSync(folder)).toEqual([]);
});

it("a file that becomes shorter while it is copied is an error, and leaves nothing under its name", async () => {
  using place = scene();
  const { folder, files, at } = place;
  mkdirSync(join(folder, "to"));
  writeFileSync(join(folder, "f"), Buffer.alloc(20 * MIB));
  const copying = copyFile(
    { files, place: at("f") },
    { files, place: at("to/f") },
    { overwrite: true, adjusts: false, progress: () => writeFileSync(join(folder, "f"), "short") },
  );
  await expect(copying).rejects.toMatchObject({ code: "STORAGE", message: expect.stringContaining("shorter") });
  expect(readdirSync(join(folder, "to")).filter((name) => name === "f")).toEqual([]);
});
