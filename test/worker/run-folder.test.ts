import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeRunFolder, removeRunFolder } from "../../core/worker/run-folder.ts";

const before = process.env.XDG_RUNTIME_DIR;
const name = `mesh-${userInfo().uid}`;
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "mesh-folder-"));
  process.env.XDG_RUNTIME_DIR = base;
});

afterEach(() => {
  rmSync(base, { recursive: true });
  if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
  else process.env.XDG_RUNTIME_DIR = before;
});

describe("makeRunFolder", () => {
  it("X37 makes folders that belong to their user alone, each its own, in XDG_RUNTIME_DIR", () => {
    const folders = [makeRunFolder(), makeRunFolder()];
    expect(new Set(folders).size).toBe(2);
    for (const folder of folders) {
      expect(dirname(folder)).toBe(join(base, name));
      for (const path of [folder, dirname(folder)]) expect(lstatSync(path).mode & 0o777).toBe(0o700);
      removeRunFolder(folder);
      expect(existsSync(folder)).toBe(false);
    }
  });

  it("removes what a dead run left, and neither a living run's folder nor one of another pid namespace", () => {
    const living = makeRunFolder();
    const [, , namespace] = basename(living).split("-");
    const dead = join(dirname(living), `${process.pid}-1-${namespace}-abcdef`); // our id, but of an earlier process
    const foreign = join(dirname(living), `${process.pid}-1-77-abcdef`);
    const other = join(dirname(living), "somebody-elses");
    for (const folder of [dead, foreign, other]) mkdirSync(folder);
    const next = makeRunFolder();
    const left = readdirSync(dirname(living)).sort();
    expect(left).toEqual([living, foreign, other, next].map((folder) => basename(folder)).sort());
  });

  it("X37 does not follow a link that somebody laid in its place", () => {
    const target = join(base, "target");
    mkdirSync(target, { mode: 0o755 });
    symlinkSync(target, join(base, name));
    const folder = makeRunFolder();
    expect(dirname(dirname(folder))).not.toBe(base);
    expect(readdirSync(target)).toEqual([]);
    expect(lstatSync(target).mode & 0o777).toBe(0o755);
    removeRunFolder(folder);
  });

  it("goes elsewhere when the path would be too long for a socket", () => {
    const long = join(base, "x".repeat(80));
    mkdirSync(long);
    process.env.XDG_RUNTIME_DIR = long;
    const folder = makeRunFolder();
    expect(folder.startsWith(long)).toBe(false);
    expect(readdirSync(join(long, name))).toEqual([]);
    removeRunFolder(folder);
  });
});
