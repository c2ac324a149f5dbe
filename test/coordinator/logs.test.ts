import { describe, expect, it } from "vitest";
import type { LogLines } from "../../core/coordinator/answers.ts";
import type { Logs } from "../../core/coordinator/bodies.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { until } from "../support/until.ts";
import { outputOf, rejection, settled, TestCoordinator, type TestNode, tempFolder } from "./support.ts";

const ask = (user: TestNode, more: Partial<Logs> = {}) =>
  user.ask(MessageType.logs, { job: 1, reader: 1, follow: false, ...more });

const ended = (user: TestNode, reader = 1) =>
  until(() => user.lines.some((lines) => lines.end && lines.reader === reader), { what: "the end of the log" });

async function meshWithJob(folder: string, options = {}) {
  const mesh = new TestCoordinator({ folder, ...options });
  const [head, user] = [await mesh.join("run-1", "head"), await mesh.join("ann", "client")];
  await head.begin();
  return { mesh, head, user };
}

describe("Coordinator: logs", () => {
  it("F77: what a job printed so far, and its state", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path);
    await head.print("a\n");
    await head.print("b\n", { stream: "stderr" });
    expect(await ask(user)).toEqual({ job: 1, state: "running" });
    await ended(user);
    expect(user.text).toBe("a\nb\n");
    expect(user.lines.at(-1)).toEqual({ reader: 1, records: [], end: true, state: "running", exitCode: null });
    await mesh.coordinator.close();
  });

  it("F77: follows a job until it is over, with filters", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path);
    await head.print("old\n", { seat: 2 });
    await ask(user, { follow: true, slot: 2, host: "gpu1", job: "primes" as never });
    await until(() => user.text === "old\n", { what: "what was there" });
    await head.print("other\n", { seat: 3 });
    await head.print("elsewhere\n", { seat: 2, host: "gpu2" });
    await head.print("new\n", { seat: 2 });
    await until(() => user.text === "old\nnew\n", { what: "what came since" });
    await head.print("last\n", { seat: 2 });
    await head.ask(MessageType.endJob, { exitCode: 7 });
    await ended(user);
    expect(user.text).toBe("old\nnew\nlast\n");
    expect(user.lines.at(-1)).toMatchObject({ end: true, state: "failed", exitCode: 7 });
    await mesh.coordinator.close();
  });

  it("F77: of a job that is over, and of one that runs while nobody prints; the last lines alone", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path);
    await head.print("a\nb\nc\n");
    await head.ask(MessageType.endJob, { exitCode: 0 });
    await ask(user, { follow: true, tail: 2 });
    await ended(user);
    expect(user.text).toBe("b\nc\n");
    await head.begin();
    await ask(user, { job: 2, reader: 2, follow: true });
    await settled();
    await head.ask(MessageType.endJob, { exitCode: 0 });
    await ended(user, 2);
    await mesh.coordinator.close();
  });

  it("X15: the next batch is read when the last was taken: a slow reader gets it all and holds one batch", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path);
    let take = Promise.withResolvers<void>();
    const batches: LogLines[] = [];
    user.takeLines = (lines) => {
      batches.push(lines);
      return take.promise;
    };
    const line = `${"x".repeat(999)}\n`;
    await ask(user, { follow: true });
    for (let i = 0; i < 8; i++) await head.print(line.repeat(200));
    await settled();
    expect(batches).toHaveLength(1);
    while (batches.length < 8) {
      const count = batches.length;
      const before = take;
      take = Promise.withResolvers<void>();
      before.resolve();
      await until(() => batches.length > count, { what: "the next batch" });
      const sizes = batches.map(({ records }) => records.reduce((sum, { bytes }) => sum + bytes.length, 0));
      expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * 1024);
      if (sizes.reduce((a, b) => a + b) === 1_600_000) break;
    }
    const all = batches.flatMap(({ records }) => records.map(({ bytes }) => Buffer.from(bytes).toString())).join("");
    expect(all).toBe(line.repeat(1_600));
    await mesh.coordinator.close();
  });

  it("over the cap: the reader is told how many bytes are missing", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path, { logs: { jobBytes: 10_000 } });
    for (let i = 0; i < 50; i++) await head.print(`${String(i).padStart(999)}\n`);
    await ask(user);
    await ended(user);
    const dropped = user.lines.reduce((sum, { droppedBytes = 0 }) => sum + droppedBytes, 0);
    expect(dropped).toBeGreaterThan(30_000);
    expect(dropped + user.text.length).toBe(50_000);
    await mesh.coordinator.close();
  });

  it("stopLogs ends it; so does the end of the reader's session; others read on", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await meshWithJob(folder.path);
    const other = await mesh.join("bob", "client");
    await ask(user, { follow: true });
    await ask(user, { follow: true, reader: 2 });
    await ask(other, { follow: true });
    await settled();
    user.tell(MessageType.stopLogs, { reader: 1 });
    other.leave();
    await settled();
    await head.print("later\n");
    await until(() => user.text !== "", { what: "the reader that is left" });
    await settled();
    expect(user.lines.map(({ reader }) => reader)).toEqual([2]);
    expect([other.lines, mesh.problems]).toEqual([[], []]);
    await mesh.coordinator.close();
  });

  it("bad input: a reader's number twice, too many readers, an unknown job", async () => {
    using folder = tempFolder();
    const { mesh, user } = await meshWithJob(folder.path);
    for (let reader = 1; reader <= 32; reader++) await ask(user, { follow: true, reader });
    expect((await rejection(ask(user, { reader: 7 }))).message).toBe("reader 7 reads a log already");
    expect((await rejection(ask(user, { reader: 33 }))).message).toMatch(/ann reads 32 logs already/);
    expect(await rejection(ask(user, { job: 9, reader: 34 }))).toMatchObject({ code: "USAGE" });
    await mesh.coordinator.close();
  });

  it("what a head without a job prints goes nowhere; what is printed after a restart goes behind the rest", async () => {
    using folder = tempFolder();
    const { mesh: before, head } = await meshWithJob(folder.path);
    const idle = await before.join("run-2", "head");
    await idle.print("lost\n");
    await head.print("before\n");
    await before.coordinator.close();
    await using after = new TestCoordinator({ folder: folder.path }, before.clock, 17);
    after.connect(head);
    await head.begin({ job: 1 });
    await head.ask(MessageType.jobLog, { records: [outputOf("after\n")] });
    const user = await after.join("bob", "client");
    await ask(user);
    await ended(user);
    expect(user.text).toBe("before\nafter\n");
  });
});
