import { Database } from "bun:sqlite";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { JobStore } from "../../core/coordinator/job-store.ts";
import { START, tempFolder } from "./support.ts";

const record = (job: number, more: Partial<JobRecord> = {}): JobRecord => ({
  ...{ job, name: "primes", script: "/p.ts", user: "ann", host: "desk", head: { node: 4e9, name: "run-1" } },
  ...{ detached: false, state: "running", exitCode: null, cause: null, startedAt: START, endedAt: null },
  ...{ progress: null, nodes: [], ...more },
});

describe("JobStore", () => {
  it("gives back what it took, after it was closed, too", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    const full = record(2, {
      ...{
        detached: true,
        state: "failed",
        exitCode: 137,
        cause: "é 'quoted'",
        endedAt: START + 0.5,
        nodes: ["a", "b"],
      },
      progress: { label: "map", done: 1, total: 2, running: 1, ratePerS: 0.5 },
    });
    const store = new JobStore(path);
    store.save(record(1));
    store.save(full);
    store.close();
    const again = new JobStore(path);
    expect([again.get(1), again.get(2), again.get(3)]).toEqual([record(1), full, undefined]);
    expect([again.running(), again.byName("primes"), again.list(1)]).toEqual([[record(1)], full, [full]]);
    again.close();
  });

  it("never gives a number again, not even of a job it forgot", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    const store = new JobStore(path);
    expect(store.lastNumber()).toBe(0);
    for (let job = 1; job <= 9; job++) store.save(record(job, { state: job === 2 ? "running" : "done" }));
    expect(store.prune(3).sort()).toEqual([1, 3, 4, 5, 6]);
    expect(store.prune(3)).toEqual([]);
    store.save(record(9, { state: "done", name: "again" }));
    new Database(path).run("DELETE FROM jobs");
    expect([store.list(9), store.lastNumber()]).toEqual([[], 9]);
    store.close();
  });

  it("X37: its files are readable by their user alone", () => {
    using folder = tempFolder();
    const store = new JobStore(join(folder.path, "jobs.sqlite"));
    store.save(record(1));
    const files = readdirSync(folder.path);
    expect(files.sort()).toEqual(["jobs.sqlite", "jobs.sqlite-shm", "jobs.sqlite-wal"]);
    expect(files.map((file) => statSync(join(folder.path, file)).mode & 0o777)).toEqual([0o600, 0o600, 0o600]);
    store.close();
  });

  it("bad input: a file that is no database is refused and stays as it is", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    writeFileSync(path, "my shopping list ".repeat(500));
    const before = readFileSync(path);
    expect(() => new JobStore(path)).toThrow(
      expect.objectContaining({ code: "STORAGE", message: expect.stringContaining("is damaged") }),
    );
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder.path)).toEqual(["jobs.sqlite"]);
  });

  it("bad input: a database damaged in the middle is refused and stays as it is", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    const store = new JobStore(path);
    for (let job = 1; job <= 500; job++) store.save(record(job, { script: "x".repeat(300) }));
    store.close();
    const bytes = readFileSync(path);
    bytes.fill(0x5a, 8_192, 20_000);
    writeFileSync(path, bytes);
    expect(() => new JobStore(path)).toThrow(
      expect.objectContaining({
        code: "STORAGE",
        message: expect.stringMatching(/is damaged .*nothing in it was changed/),
      }),
    );
    expect(readFileSync(path)).toEqual(bytes);
  });

  it("bad input: a newer mesh's database is refused, naming both schemas, and stays as it is", () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    const store = new JobStore(path);
    store.save(record(1));
    store.close();
    const newer = new Database(path);
    newer.run("PRAGMA user_version = 7");
    newer.close();
    expect(() => new JobStore(path)).toThrow(
      /written by a newer mesh \(schema 7, this build knows 1\): start that build/,
    );
    const check = new Database(path);
    expect(check.query("SELECT job FROM jobs").all()).toEqual([{ job: 1 }]);
    check.close();
  });

  it("X3: nothing that was acknowledged is lost by kill -9", async () => {
    using folder = tempFolder();
    const path = join(folder.path, "jobs.sqlite");
    for (let round = 0, last = 0; round < 5; round++) {
      const writer = Bun.spawn([process.execPath, join(import.meta.dirname, "writer.ts"), path, String(last + 1)], {
        stdout: "pipe",
        env: process.env,
      });
      let acknowledged = 0;
      let text = "";
      for await (const chunk of writer.stdout as ReadableStream<Uint8Array>) {
        text += Buffer.from(chunk).toString();
        acknowledged = Number(text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1));
        if (acknowledged >= last + 40 + round * 7) writer.kill("SIGKILL");
      }
      await writer.exited;
      expect(writer.signalCode).toBe("SIGKILL");
      const store = new JobStore(path);
      expect(store.lastNumber()).toBeGreaterThanOrEqual(acknowledged);
      const ended = Array.from({ length: acknowledged - last }, (_, i) => store.get(last + i + 1)?.state);
      expect(ended.length).toBeGreaterThanOrEqual(40);
      expect(ended).toEqual(ended.map(() => "done"));
      last = store.lastNumber();
      store.close();
    }
  });
});
