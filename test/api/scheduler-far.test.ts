// The scheduler with hosts that are far or slow, in simulated time: slots work by the clock, messages take their way.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Way } from "../../core/api/way.ts";
import { ManualClock } from "../../core/clock.ts";
import { FakePool, type FakeSlot, HERE, hostInfo, KeepingSink, turn } from "./fake-pool.ts";

let clock = new ManualClock();
beforeEach(() => {
  clock = new ManualClock();
  vi.spyOn(performance, "now").mockImplementation(() => clock.now());
});
afterEach(() => vi.restoreAllMocks());

const LONG = -1;

interface FarHost {
  name: string;
  slots: number;
  /** Milliseconds one way. */
  delayMs?: number;
  /** How much longer than others it takes for an item. */
  slowness?: number;
}

/** A pool whose slots take `itemMs` for an item, by the clock; counts what each host did. */
async function timedPool(hosts: FarHost[], itemMs: (item: unknown) => number) {
  const infos = hosts.map(({ name, slots }, i) => hostInfo(name === "here" ? HERE : 20 + i, name, slots));
  const pool = await new FakePool({ clock, hosts: infos }).begin();
  pool.functionId = "the same each time";
  const done = new Map<string, number>();
  for (const { name, delayMs = 0 } of hosts) pool.hostOf(name).delayMs = delayMs;
  pool.work = (slot: FakeSlot, item: unknown) => {
    const { name } = slot.host.info;
    const slowness = hosts.find((host) => host.name === name)!.slowness ?? 1;
    done.set(name, (done.get(name) ?? 0) + 1);
    return new Promise((resolve) => void clock.after(itemMs(item) * slowness, () => resolve(item)));
  };
  const claim = pool.scheduler.takeSeats();
  for (let i = 0; i < 20; i++) await pass(20);
  return { pool, claim, done };
}

async function pass(ms: number, stepMs = 0.5): Promise<void> {
  for (let past = 0; past < ms; past += stepMs) {
    clock.advance(stepMs);
    await turn();
  }
}

/** Runs a call to its end; returns how long it took and what each host did of it. */
async function timed({ pool, claim, done }: Awaited<ReturnType<typeof timedPool>>, count: number, chunkSize?: number) {
  const items = Array.from({ length: count }, (_, i) => i);
  const sink = new KeepingSink();
  const begun = clock.now();
  done.clear();
  pool.map(items, sink, claim, { ...(chunkSize !== undefined && { chunkSize }) });
  while (sink.ends.length === 0) await pass(0.5);
  expect([...sink.byIndex.keys()].sort((a, b) => a - b)).toEqual(items);
  return { ms: clock.now() - begun, done };
}

function sumOf(counts: Map<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

describe("Way", () => {
  it("is what is left of a chunk's absence, twice of which is sent ahead, at least 4 ms", () => {
    const way = new Way();
    expect([way.wayMs, way.aheadMs]).toEqual([0, 4]);
    way.learn(50, 10, 5); // behind others: nothing is known yet, and this says little
    expect(way.wayMs).toBe(0);
    way.learn(50, 10, 0);
    expect([way.wayMs, way.aheadMs]).toEqual([40, 80]);
    way.learn(60, 10, 45); // it waited in the slot: that is no news
    expect(way.wayMs).toBe(40);
    way.learn(100, 10, 20); // even so it was longer away than the way explains
    expect(way.wayMs).toBeCloseTo(49);
    way.learn(11, 10, 0);
    expect([way.wayMs, way.aheadMs]).toEqual([1, 4]);
  });

  it("of a machine that was busy for a minute it believes at most a second at first", () => {
    const way = new Way();
    way.learn(60_000, 1, 0);
    expect(way.wayMs).toBe(1_000);
  });
});

describe("Scheduler: far and slow hosts", () => {
  it.each([
    [5, undefined],
    [50, undefined],
    [50, 1],
  ])("slots %d ms away work as much as those beside, chunkSize %s", async (delayMs, chunkSize) => {
    const pool = await timedPool(
      [
        { name: "here", slots: 2 },
        { name: "far", slots: 2, delayMs },
      ],
      () => 2,
    );
    await timed(pool, 200, chunkSize); // the way is measured
    const { ms, done } = await timed(pool, 4_000, chunkSize);
    expect(ms).toBeLessThan(1.1 * (2_000 + 2 * delayMs));
    expect(done.get("far")).toBeGreaterThan(1_500);
    expect(sumOf(done)).toBe(4_000); // nothing was taken back that was only on its way
  });

  it("a way that gets longer during a call is noticed", async () => {
    const pool = await timedPool([{ name: "far", slots: 2, delayMs: 1 }], () => 2);
    await timed(pool, 200);
    pool.pool.hostOf("far").delayMs = 40;
    const { ms } = await timed(pool, 2_000);
    expect(ms).toBeLessThan(1.2 * 2_000);
  });

  it.each([100, 1_000])(
    "F45 a slow host gets less, and the end of a call does not wait for it, %d ms",
    async (itemMs) => {
      const pool = await timedPool(
        [
          { name: "here", slots: 2 },
          { name: "slow", slots: 1, slowness: 8 },
        ],
        () => itemMs,
      );
      await timed(pool, 40);
      const { ms, done } = await timed(pool, 24);
      // Shared by speed it takes 24 / (2 + 1 / 8) = 11.3 items' time; a second item on the slow host would end after 16.
      expect(ms).toBeLessThan(13 * itemMs);
      expect(done.get("slow")).toBe(1);
    },
  );

  it("F45 a single call goes to the faster host", async () => {
    const pool = await timedPool(
      [
        { name: "slow", slots: 2, slowness: 6 },
        { name: "tempo", slots: 2 },
      ],
      () => 30,
    );
    await timed(pool, 40);
    const { done } = await timed(pool, 1);
    expect([...done]).toEqual([["tempo", 1]]);
  });

  it("F45 what waits behind a long item on a far host is given to idle slots; nothing is done twice", async () => {
    const pool = await timedPool(
      [
        { name: "here", slots: 1 },
        { name: "far", slots: 1, delayMs: 30 },
      ],
      (item) => (item === LONG ? 5_000 : 10),
    );
    const first = new KeepingSink();
    pool.pool.map(Array.from({ length: 40 }, (_, i) => i + 100), first, pool.claim); // biome-ignore format: short
    while (first.ends.length === 0) await pass(0.5);
    pool.done.clear();
    const sink = new KeepingSink();
    pool.pool.map([LONG, ...Array.from({ length: 59 }, (_, i) => i + 100)], sink, pool.claim, { chunkSize: 1 });
    await pass(1_500);
    expect([sink.byIndex.size, sumOf(pool.done)]).toEqual([59, 60]);
    await pass(5_000);
    expect([sink.byIndex.size, sumOf(pool.done)]).toEqual([60, 60]);
  });

  it("X4 what a host has begun while its answers take long is not begun elsewhere; what waits there is", async () => {
    const pool = await timedPool(
      [
        { name: "here", slots: 1 },
        { name: "far", slots: 1, delayMs: 5 },
      ],
      () => 10,
    );
    await timed(pool, 60);
    const sink = new KeepingSink();
    const begun: unknown[] = [];
    const { work } = pool.pool;
    pool.pool.work = (slot, item) => {
      begun.push(item);
      return work!(slot, item);
    };
    const items = Array.from({ length: 60 }, (_, i) => i);
    pool.pool.map(items, sink, pool.claim, { chunkSize: 1 });
    await pass(20);
    pool.pool.hostOf("far").delayMs = 3_000;
    await pass(2_000);
    expect(sink.ends).toEqual([]);
    await pass(12_000);
    expect(sink.ends).toHaveLength(1);
    expect([...begun].sort((a, b) => Number(a) - Number(b))).toEqual(items);
  });

  it("a far host is not given the last items when those beside are done sooner", async () => {
    const pool = await timedPool(
      [
        { name: "here", slots: 4 },
        { name: "far", slots: 4, delayMs: 200 },
      ],
      () => 5,
    );
    await timed(pool, 200);
    const { ms, done } = await timed(pool, 40);
    expect(ms).toBeLessThan(100);
    expect(done.get("far")).toBeUndefined();
  });
});
