import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LocalFiles } from "../../core/files/local-files.ts";
import { fileName, foldersOf } from "../../core/files/paths.ts";

describe("F75: foldersOf", () => {
  it.each([
    ["", []],
    [".", []],
    ["a", ["a"]],
    ["a/b/", ["a", "b"]],
    ["./a//b/.", ["a", "b"]],
    ["...", ["..."]],
    ["a..b", ["a..b"]],
    ["a\\..\\b", ["a\\..\\b"]],
    ["ü/文\n", ["ü", "文\n"]],
  ])("%j leads through %j", (dir, folders) => expect(foldersOf(dir)).toEqual(folders));

  it.each([
    "..",
    "../a",
    "a/..",
    "a/../b",
    "/",
    "/a",
    "//a",
    "a/\0",
    "a/./../..",
    "x".repeat(256),
    "ü".repeat(128),
    "a/".repeat(65),
  ])("%j is refused", (dir) => expect(() => foldersOf(dir)).toThrow(expect.objectContaining({ code: "USAGE" })));
});

describe("F75: fileName", () => {
  it.each(["a", "a b", "-", "...", ".hidden", "x".repeat(255), "new\nline"])("%j is one", (name) =>
    expect(fileName(name)).toBe(name),
  );

  it.each(["", ".", "..", "a/b", "/", "a\0", ".mesh-part-1", "x".repeat(256)])("%j is refused", (name) =>
    expect(() => fileName(name)).toThrow(expect.objectContaining({ code: "USAGE" })),
  );
});

describe("F75: LocalFiles", () => {
  const part = fc.constantFrom(
    "a",
    "b",
    "..",
    ".",
    "",
    "in",
    "out",
    "up",
    "file",
    "/",
    "\0",
    "~",
    "a/..",
    "x".repeat(300),
  );
  const facts = { sizeBytes: 3, mtimeMs: 1, mode: 0o600 };

  /** A root with links to what is outside, and something there to harm. */
  function scene() {
    const base = realpathSync(mkdtempSync(join(tmpdir(), "mesh-files-")));
    const root = join(base, "root");
    mkdirSync(join(root, "a"), { recursive: true });
    mkdirSync(join(base, "outside"));
    writeFileSync(join(base, "outside/file"), "safe");
    symlinkSync("../outside", join(root, "out"));
    symlinkSync("a", join(root, "in"));
    symlinkSync("..", join(root, "up"));
    symlinkSync("../outside/file", join(root, "file"));
    symlinkSync("../../outside/file", join(root, "a/file"));
    return { base, root, [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }) };
  }

  it("writes and deletes nothing outside its root, whatever path is asked for", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 4 }), part, async (folders, name) => {
        using place = scene();
        const files = new LocalFiles({ root: place.root, userFolder: "/" });
        const at = { root: "files" as const, dir: folders.join("/"), name };
        const begun = await files.begin(at, facts, { overwrite: true, compares: true }).catch(() => undefined);
        if (begun?.state === "write") {
          await begun.target.write(0, Buffer.from("bad"));
          const hash = new Bun.CryptoHasher("sha256").update("bad").digest("hex");
          await begun.target.finish(hash);
          expect(realpathSync(begun.target.path).startsWith(`${place.root}/`)).toBe(true);
        }
        await files.delete(at).catch(() => false);
        expect(readdirSync(place.base).sort()).toEqual(["outside", "root"]);
        expect(readdirSync(join(place.base, "outside"))).toEqual(["file"]);
        expect(readFileSync(join(place.base, "outside/file"), "utf8")).toBe("safe");
      }),
      { numRuns: 150 },
    );
  });

  it("stays in a folder that becomes a link while a file is written", async () => {
    using place = scene();
    const files = new LocalFiles({ root: place.root, userFolder: "/" });
    const begun = await files.begin({ root: "files", dir: "a", name: "f" }, facts, {
      overwrite: false,
      compares: true,
    });
    if (begun.state !== "write") throw new Error("nothing is there");
    const { rename } = await import("node:fs/promises");
    await rename(join(place.root, "a"), join(place.root, "moved"));
    symlinkSync("../outside", join(place.root, "a"));
    await begun.target.write(0, Buffer.from("bad"));
    await begun.target.finish(new Bun.CryptoHasher("sha256").update("bad").digest("hex"));
    expect(readdirSync(join(place.base, "outside"))).toEqual(["file"]);
    expect(readFileSync(join(place.root, "moved/f"), "utf8")).toBe("bad");
  });
});
