import { appendFileSync, readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LogRecord } from "../../core/coordinator/bodies.ts";
import { JobLogs } from "../../core/coordinator/job-logs.ts";
import { LogWriter } from "../../core/coordinator/log-file.ts";
import { BATCH_BYTES, type LogFilter, LogReader } from "../../core/coordinator/log-reader.ts";
import { RECORD_LIMIT_BYTES, readRecord, writeMark, writeRecords } from "../../core/coordinator/log-records.ts";
import { outputOf, START, tempFolder } from "./support.ts";

/** All that a reader has to say: the text, with "[N dropped]" where some is missing. */
async function read(reader: LogReader): Promise<string> {
  let text = "";
  for (;;) {
    const { records, droppedBytes } = await reader.next();
    if (droppedBytes > 0) text += `[${droppedBytes} dropped]`;
    if (records.length === 0) return text;
    text += records.map(({ bytes }) => Buffer.from(bytes).toString()).join("");
  }
}

async function readAll(folder: string, tail?: number, filter?: LogFilter): Promise<string> {
  const reader = new LogReader(folder, filter);
  if (tail !== undefined) await reader.seekTail(tail);
  const text = await read(reader);
  await reader.close();
  return text;
}

describe("log records", () => {
  const records = fc.array(
    fc.record({
      timeMs: fc.integer({ min: 0, max: START * 2 }),
      host: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/),
      seat: fc.integer({ min: 0, max: 65_535 }),
      stream: fc.constantFrom("stdout", "stderr"),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    }),
    { minLength: 1, maxLength: 20 },
  );

  it("come back as they were", () => {
    fc.assert(
      fc.property(records, (written) => {
        const bytes = writeRecords(written as LogRecord[]);
        const back: unknown[] = [];
        for (let at = 0; at < bytes.length; ) {
          const { stored, end } = readRecord(bytes, at)!;
          if ("record" in stored) back.push({ ...stored.record, bytes: new Uint8Array(stored.record.bytes) });
          at = end;
        }
        expect(back).toEqual(written);
      }),
    );
  });

  it("cut anywhere, they are not there yet, and nothing is thrown", () => {
    const bytes = Buffer.concat([writeMark(7), writeRecords([outputOf("hello\n")])]);
    const { end } = readRecord(bytes, 0)!;
    for (let cut = end; cut < bytes.length; cut++) expect(readRecord(bytes.subarray(0, cut), end)).toBeUndefined();
    expect(readRecord(bytes, end)).toBeDefined();
  });

  it("random bytes: a record, none yet, or an error; never more than was there", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (random) => {
        const bytes = Buffer.from(random);
        try {
          expect(readRecord(bytes, 0)?.end ?? 0).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect((error as Error).message).toMatch(/^(a record of|no record)/);
        }
      }),
    );
  });

  it("long output is cut, at ends of lines where there are any", () => {
    const line = `${"x".repeat(999)}\n`;
    const bytes = writeRecords([outputOf(line.repeat(200)), outputOf("y".repeat(200_000))]);
    const lengths: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      const { stored, end } = readRecord(bytes, at)!;
      if ("record" in stored) lengths.push(stored.record.bytes.length);
      at = end;
    }
    expect(lengths.slice(0, 4)).toEqual([65_000, 65_000, 65_000, 5_000]);
    expect(lengths.slice(4)).toEqual([RECORD_LIMIT_BYTES, RECORD_LIMIT_BYTES, RECORD_LIMIT_BYTES, 3_392]);
  });
});

describe("LogWriter and LogReader", () => {
  it("F77: what was appended is read in order, and on from there when there is more", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    await Promise.all([writer.append([outputOf("a\n"), outputOf("b\n")]), writer.append([outputOf("c\n")])]);
    const reader = new LogReader(folder.path);
    expect(await read(reader)).toBe("a\nb\nc\n");
    expect(await reader.next()).toEqual({ records: [], droppedBytes: 0 });
    await writer.append([outputOf("d\n")]);
    expect(await read(reader)).toBe("d\n");
    await reader.close();
    await writer.close();
  });

  it("a reader of a log that is not there waits for it", async () => {
    using folder = tempFolder();
    const reader = new LogReader(join(folder.path, "7"));
    expect(await read(reader)).toBe("");
    const writer = new LogWriter(join(folder.path, "7"), 1e6);
    await writer.append([outputOf("first\n")]);
    expect(await read(reader)).toBe("first\n");
    await reader.close();
    await writer.close();
  });

  it("F77: filters by host, seat and stream", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    await writer.append([
      outputOf("script\n", { host: "desk", seat: 0 }),
      outputOf("one\n", { host: "gpu1", seat: 1 }),
      outputOf("bad\n", { host: "gpu1", seat: 1, stream: "stderr" }),
      outputOf("two\n", { host: "gpu2", seat: 1 }),
    ]);
    const texts = [
      { host: "gpu1" },
      { seat: 0 },
      { stream: "stderr" as const },
      { host: "gpu2", seat: 1 },
      { host: "x" },
    ];
    expect(await Promise.all(texts.map((filter) => readAll(folder.path, undefined, filter)))).toEqual([
      "one\nbad\n",
      "script\n",
      "bad\n",
      "two\n",
      "",
    ]);
    await writer.close();
  });

  it.each([
    [0, ""],
    [1, "e\n"],
    [3, "c\nd\ne\n"],
    [4, "b\nc\nd\ne\n"],
    [99, "a\nb\nc\nd\ne\n"],
  ])("tail %d", async (tail, expected) => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    for (const text of ["a\n", "b\nc\n", "d\ne\n"]) await writer.append([outputOf(text)]);
    await writer.close();
    expect(await readAll(folder.path, tail)).toBe(expected);
  });

  it("tail of a filtered log looks past what is not wanted", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    for (let i = 0; i < 50; i++) await writer.append([outputOf(`${i}\n`, { seat: i % 5 })]);
    await writer.close();
    const reader = new LogReader(folder.path, { seat: 2 });
    await reader.seekTail(2);
    expect(await read(reader)).toBe("42\n47\n");
    await reader.close();
  });

  it("over its cap the oldest half goes, and a reader is told how many bytes", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 40_000);
    const lines = Array.from({ length: 300 }, (_, i) => `${String(i).padStart(999)}\n`);
    for (const line of lines) await writer.append([outputOf(line)]);
    const sizes = readdirSync(folder.path).map((file) => statSync(join(folder.path, file)).size);
    expect(sizes.length).toBe(2);
    expect(sizes.reduce((a, b) => a + b)).toBeLessThanOrEqual(42_000);
    const text = await readAll(folder.path);
    const dropped = Number(/^\[(\d+) dropped\]/.exec(text)?.[1]);
    expect(dropped % 1_000).toBe(0);
    expect(text).toBe(`[${dropped} dropped]${lines.slice(dropped / 1_000).join("")}`);
    expect(lines.length - dropped / 1_000).toBeGreaterThanOrEqual(18);
    await writer.close();
  });

  it("a slow reader that is overtaken goes on with what is left, and is told what it missed", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 20_000);
    const lines = Array.from({ length: 200 }, (_, i) => `${String(i).padStart(999)}\n`);
    await writer.append([outputOf(lines[0]!)]);
    const reader = new LogReader(folder.path);
    expect(await read(reader)).toBe(lines[0]);
    for (const line of lines.slice(1)) await writer.append([outputOf(line)]);
    const text = await read(reader);
    const parts = text.split(/\[(\d+) dropped\]/);
    expect(parts).toHaveLength(3); // what was in the file it had open, the gap, and the rest
    const [before, dropped, after] = [parts[0]!, Number(parts[1]), parts[2]!];
    expect(lines[0]!.length + before.length + dropped + after.length).toBe(200_000);
    expect(after.endsWith(lines.at(-1)!)).toBe(true);
    await reader.close();
    await writer.close();
  });

  it("X3: after kill -9 in the middle of a record, it goes on behind the last whole one", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    await writer.append([outputOf("one\n"), outputOf("two\n")]);
    await writer.close();
    const file = join(folder.path, "0.log");
    appendFileSync(file, writeRecords([outputOf("torn\n")]).subarray(0, 19));
    expect(await readAll(folder.path)).toBe("one\ntwo\n");
    const again = new LogWriter(folder.path, 1e6);
    await again.append([outputOf("three\n")]);
    expect(await readAll(folder.path)).toBe("one\ntwo\nthree\n");
    await again.close();
    truncateSync(file, 0);
    const empty = new LogWriter(folder.path, 1e6);
    await empty.append([outputOf("four\n")]);
    expect(await readAll(folder.path)).toBe("four\n");
    await empty.close();
  });

  it("X13: what could not be written is missing and told, and the rest is whole", async () => {
    using folder = tempFolder();
    const path = join(folder.path, "7");
    const writer = new LogWriter(path, 1e6);
    await writer.append([outputOf("one\n")]);
    await writer.close(); // the next append opens the file: a folder in its place makes that fail
    await Bun.$`mv ${path} ${path}.away && touch ${path}`.quiet();
    await expect(writer.append([outputOf("lost\n")])).rejects.toMatchObject({ code: "STORAGE" });
    await expect(writer.append([outputOf("too\n")])).rejects.toMatchObject({ code: "STORAGE" });
    await Bun.$`rm ${path} && mv ${path}.away ${path}`.quiet();
    await writer.append([outputOf("two\n")]);
    expect(await readAll(path)).toBe("one\n[9 dropped]two\n");
    await writer.close();
  });

  it("a batch is bounded, whatever was printed at once", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 64e6);
    await writer.append(Array.from({ length: 10 }, () => outputOf("x".repeat(300_000))));
    const reader = new LogReader(folder.path);
    let bytes = 0;
    for (;;) {
      const { records } = await reader.next();
      if (records.length === 0) break;
      const size = records.reduce((sum, record) => sum + record.bytes.length, 0);
      expect(size).toBeLessThanOrEqual(BATCH_BYTES);
      bytes += size;
    }
    expect(bytes).toBe(3_000_000);
    await reader.close();
    await writer.close();
  });

  it("damage in the middle is an error that says where, and no endless loop", async () => {
    using folder = tempFolder();
    const writer = new LogWriter(folder.path, 1e6);
    await writer.append([outputOf("one\n")]);
    await writer.close();
    appendFileSync(join(folder.path, "0.log"), Buffer.alloc(100, 0xff));
    const reader = new LogReader(folder.path);
    await expect(reader.next()).rejects.toMatchObject({
      code: "STORAGE",
      message: expect.stringMatching(/is damaged: .* in file 0 at \d+/),
    });
    await reader.close();
  });
});

describe("JobLogs", () => {
  it("X37: files and folders are their user's alone; a removed log is gone", async () => {
    using folder = tempFolder();
    const logs = new JobLogs({ folder: join(folder.path, "logs") });
    await logs.append(7, [outputOf("a\n")]);
    const paths = ["logs", "logs/7", "logs/7/0.log"].map((path) => join(folder.path, path));
    expect(paths.map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o700, 0o600]);
    await logs.remove(7);
    expect(readdirSync(join(folder.path, "logs"))).toEqual([]);
  });

  it("over the limit of all, the logs of the oldest jobs that do not run go", async () => {
    using folder = tempFolder();
    const logs = new JobLogs({ folder: folder.path, totalBytes: 25_000 });
    for (let job = 1; job <= 5; job++) await logs.append(job, [outputOf("x".repeat(9_990))]);
    for (let job = 2; job <= 5; job++) await logs.finish(job);
    expect(await logs.trim()).toEqual([3, 2]);
    expect(readdirSync(folder.path).sort()).toEqual(["1", "4", "5"]);
    await logs.close();
  });
});
