import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FolderLock, readCoordinatorPlace } from "../../core/coordinator/folder-lock.ts";
import { until } from "../support/until.ts";
import { START, TestCoordinator, tempFolder } from "./support.ts";

const holder = (folder: string) =>
  Bun.spawn([process.execPath, join(import.meta.dirname, "holder.ts"), folder], { stdout: "pipe", env: process.env });

describe("FolderLock", () => {
  it("a second coordinator on one folder is refused, naming the process of the first; kill -9 frees the folder", async () => {
    using folder = tempFolder();
    const first = holder(folder.path);
    await until(() => existsSync(join(folder.path, "coordinator.json")), { what: "the first coordinator" });
    expect(() => new FolderLock(folder.path)).toThrow(
      expect.objectContaining({
        code: "USAGE",
        message: expect.stringMatching(new RegExp(`a coordinator already uses .*: process ${first.pid};`)),
      }),
    );
    expect(readCoordinatorPlace(folder.path)).toMatchObject({ pid: first.pid, addresses: ["tcp://desk:7450"] });
    // It also started a child, which lives on and holds nothing.
    const child = Number(readFileSync(join(folder.path, "child.pid"), "utf8"));
    first.kill("SIGKILL");
    await first.exited;
    try {
      using _lock = new FolderLock(folder.path);
      expect(process.kill(child, 0)).toBe(true);
      expect(readCoordinatorPlace(folder.path)).toBeUndefined(); // nobody listens yet
    } finally {
      process.kill(child, "SIGKILL");
    }
  });

  it("two in one process exclude each other, too; a released folder is as before", () => {
    using folder = tempFolder();
    const lock = new FolderLock(folder.path);
    expect(() => new FolderLock(folder.path)).toThrow(new RegExp(`process ${process.pid};`));
    lock.publish({ pid: 1, node: 16, addresses: ["tcp://a:1"], since: START, version: "1" });
    expect(statSync(join(folder.path, "coordinator.json")).mode & 0o777).toBe(0o600);
    lock.release();
    expect(readdirSync(folder.path)).toEqual(["coordinator.lock"]);
    new FolderLock(folder.path).release();
  });

  it("bad input: a state folder others can get at is refused, with the command that helps", () => {
    using folder = tempFolder();
    chmodSync(folder.path, 0o755);
    expect(() => new FolderLock(folder.path)).toThrow(/has mode 755.*chmod 700/);
  });

  it("bad input: a coordinator.json that is none", () => {
    using folder = tempFolder();
    const path = join(folder.path, "coordinator.json");
    writeFileSync(path, '{"pid": 1}', { mode: 0o600 });
    expect(() => readCoordinatorPlace(folder.path)).toThrow(/coordinator\.json is damaged/);
  });
});

describe("Coordinator: its folder", () => {
  it("says where it listens, and no more when it is closed", async () => {
    using folder = tempFolder();
    const mesh = new TestCoordinator({ folder: folder.path });
    expect(readCoordinatorPlace(folder.path)).toBeUndefined();
    mesh.coordinator.listening(["tcp://desk:7450"]);
    expect(readCoordinatorPlace(folder.path)).toEqual({
      ...{ pid: process.pid, node: 16, addresses: ["tcp://desk:7450"], since: START, version: "1.2.3" },
    });
    await mesh.coordinator.close();
    expect(readCoordinatorPlace(folder.path)).toBeUndefined();
  });

  it("bad input: a damaged history: the folder is free again afterwards", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    writeFileSync(path, "no database ".repeat(100));
    expect(() => new TestCoordinator({ folder: folder.path })).toThrow(/jobs\.sqlite: it is damaged/);
    new FolderLock(folder.path).release();
  });
});
