import { join } from "node:path";
import { expect, it } from "vitest";
import { ManualClock, systemClock } from "../../core/clock.ts";
import { watchMemory } from "../../core/worker/memory-watch.ts";

const MIB = 1024 * 1024;

it("watchMemory (X14): fires once, on the first reading over the limit", () => {
  const clock = new ManualClock();
  const readings = [10, 100, 101, 500, 500];
  const seen: number[] = [];
  const read = () => readings.shift() ?? 0;
  watchMemory({ pid: 1, limitBytes: 100, clock, read, onExceeded: (used) => seen.push(used) });
  clock.advance(100);
  expect(seen).toEqual([]);
  clock.advance(50);
  expect(seen).toEqual([101]);
  clock.advance(10_000);
  expect(seen).toEqual([101]);
  expect(readings.length).toBe(2);
});

it("watchMemory: a stopped watch reads no more and never fires", () => {
  const clock = new ManualClock();
  let reads = 0;
  const read = () => {
    reads++;
    return 1;
  };
  const stop = watchMemory({
    pid: 1,
    limitBytes: 1,
    everyMs: 10,
    clock,
    read,
    onExceeded: () => expect.unreachable(),
  });
  clock.advance(25);
  stop();
  stop();
  clock.advance(1_000);
  expect(reads).toBe(2);
});

it("watchMemory (X14): a tree whose child really takes 200 MB is over 150 MB, and not before", async () => {
  const allocate = join(import.meta.dirname, "../fixtures/worker/allocate.ts");
  const bun = process.execPath;
  const child = Bun.spawn(["sh", "-c", `"${bun}" "${allocate}"; true`], { stdin: "pipe", stdout: "pipe" });
  const output = child.stdout.getReader();
  try {
    await output.read(); // it runs, and has taken nothing yet
    const used = await new Promise<number>((resolve, reject) => {
      const limitBytes = 150 * MIB;
      const stop = watchMemory({ pid: child.pid, limitBytes, clock: systemClock, onExceeded: resolve });
      child.exited.then(() => {
        stop();
        reject(new Error("it ended before the watch saw it"));
      }, reject);
      child.stdin.write("go\n");
      child.stdin.flush();
    });
    expect(used).toBeGreaterThan(150 * MIB);
  } finally {
    child.stdin.end(); // the fixture ends with its input
    await child.exited;
  }
});
