import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { CALLER, FakePool, KeepingSink, turn } from "./fake-pool.ts";

// What the scheduler measures is what a test says: nothing depends on the machine.
let clock = new ManualClock();
beforeEach(() => {
  clock = new ManualClock();
  vi.spyOn(performance, "now").mockImplementation(() => clock.now());
});
afterEach(() => vi.restoreAllMocks());

async function poolOf(seats: number) {
  const pool = await new FakePool({ clock }).begin();
  const taken = pool.scheduler.takeSeats(seats);
  await turn(3);
  return { pool, seats: taken };
}

/** Ends open tasks, each after `itemMs`, until none is left. */
async function finishAll(
  pool: FakePool,
  itemMs = 1,
  value: (item: unknown) => unknown = (item) => item,
): Promise<void> {
  for (let idle = 0; idle < 3; idle++) {
    while (pool.open.length > 0) {
      idle = 0;
      clock.advance(itemMs);
      pool.finishOne(value);
      await turn();
    }
    await turn();
  }
}

function list(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function inOrder(sink: KeepingSink): unknown[] {
  return [...sink.byIndex].sort(([a], [b]) => a - b).map(([, value]) => value);
}

describe("Scheduler with TaskRunners", () => {
  it("all items once, in order, on all slots", async () => {
    const { pool, seats } = await poolOf(3);
    const sink = new KeepingSink();
    pool.map(list(50), sink, seats);
    await turn();
    expect(new Set(pool.open.map((task) => task.slot)).size).toBe(3);
    await finishAll(pool, 1, (item) => (item as number) * 2);
    expect(inOrder(sink)).toEqual(list(50).map((n) => n * 2));
    expect([sink.ends, pool.scheduler.runs]).toEqual([[[]], []]);
  });

  it("a function not measured yet gets one item for each slot", async () => {
    const { pool, seats } = await poolOf(2);
    pool.map(list(1_000), new KeepingSink(), seats);
    await turn(3);
    expect(pool.open.map((task) => task.item)).toEqual([0, 1]);
  });

  it("long items: one runs and at most one waits in each slot; from 100 ms on none", async () => {
    for (const [itemMs, ahead] of [
      [20, 2],
      [150, 1],
    ] as const) {
      const { pool, seats } = await poolOf(2);
      const given = countItems(pool);
      const sink = new KeepingSink();
      pool.map(list(40), sink, seats);
      await turn();
      for (let finished = 0; finished < 20; finished++) {
        clock.advance(itemMs);
        pool.finishOne((item) => item);
        await turn(2);
        // What is under way in a slot: given to it and not answered.
        expect(given() - sink.byIndex.size).toBeLessThanOrEqual(2 * ahead);
      }
    }
  });

  it("short items: chunks grow, by a factor of at most 32, and none lasts much longer than 4 ms", async () => {
    const { pool, seats } = await poolOf(2);
    const sizes = chunkSizes(pool);
    const sink = new KeepingSink();
    pool.map(list(20_000), sink, seats);
    await turn();
    await finishAll(pool, 0.01);
    expect(inOrder(sink)).toHaveLength(20_000);
    let largest = 1;
    for (const size of sizes) {
      expect(size).toBeLessThanOrEqual(32 * largest);
      expect(size * 0.01).toBeLessThanOrEqual(4 * 8); // 8: the most a fast slot is given more than an average one
      largest = Math.max(largest, size);
    }
    expect(largest).toBeGreaterThan(32);
  });

  it.each([
    ["F46 says once that items cost less than sending them", 1_500, 1],
    ["F46 says nothing of a short call", 800, 0],
  ])("%s", async (_, onTheWayMs, notices) => {
    const { pool, seats } = await poolOf(1);
    for (let call = 0; call < 2; call++) {
      pool.map(list(1_000), new KeepingSink(), seats, { chunkSize: 1_000 });
      clock.advance(onTheWayMs); // the items are on their way: this is no work of the slot
      await turn();
      await finishAll(pool, 0.1);
    }
    expect(pool.scheduler.runs).toEqual([]);
    expect(pool.notices.length).toBe(notices);
    if (notices > 0)
      expect(pool.notices[0]).toMatch(/1000 items .* a plain loop would be faster, or leave chunkSize out/);
  });

  it("chunkSize is kept to", async () => {
    const { pool, seats } = await poolOf(2);
    const sizes = chunkSizes(pool);
    pool.map(list(25), new KeepingSink(), seats, { chunkSize: 10 });
    await turn();
    await finishAll(pool);
    expect(sizes).toEqual([10, 10, 5]);
  });

  it.each(["its link closes first", "its agent tells first"])(
    "a slot that dies, %s: its items go elsewhere once",
    async (order) => {
      const { pool, seats } = await poolOf(2);
      const sink = new KeepingSink();
      pool.map(list(20), sink, seats, { chunkSize: 4 });
      await turn();
      clock.advance(20);
      pool.finishOne((item) => item); // so that both know the function
      await turn();
      const { slot } = pool.open[0]!;
      const { running } = slot;
      expect(running).toHaveLength(1);
      pool.die(slot);
      const steps = [() => pool.cutLink(slot), () => pool.tellDown(slot, running)];
      for (const step of order === "its link closes first" ? steps : steps.reverse()) {
        const { doneCount } = pool.scheduler.runs[0]!;
        step();
        await turn(2);
        expect(pool.scheduler.runs[0]!.doneCount).toBe(doneCount);
      }
      expect(pool.killed).toEqual(order === "its link closes first" ? [slot.info.slot] : []);
      await pool.startSlot(slot.info.seat);
      await turn(2);
      await finishAll(pool);
      expect([inOrder(sink), sink.failures.size, sink.ends]).toEqual([list(20), 0, [[]]]);
    },
  );

  it("results that lie in the link of a dead slot count, and their items are not run again", async () => {
    const { pool, seats } = await poolOf(1);
    const sink = new KeepingSink();
    pool.map(list(3), sink, seats, { chunkSize: 1 });
    await turn();
    const { slot } = pool.open[0]!;
    slot.link!.pause();
    pool.finishOne(() => "before its death");
    await turn(2);
    pool.die(slot);
    pool.tellDown(slot, []);
    await turn(2);
    expect(sink.byIndex.size).toBe(0);
    pool.cutLink(slot);
    await turn(2);
    expect(sink.byIndex.get(0)).toBe("before its death");
    await pool.startSlot(1);
    await turn(2);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(["before its death", 1, 2]);
  });

  it("X33: a late result of a lost slot, from its place, and a duplicate are dropped", async () => {
    const { pool, seats } = await poolOf(2);
    const sink = new KeepingSink();
    pool.map(["a", "b", "c", "d"], sink, seats, { chunkSize: 1 });
    await turn();
    pool.finishOne((item) => `${item}!`);
    await turn(2);
    const [first] = pool.results;
    const other = pool.slots.find(({ info }) => info.slot !== first!.from.slot)!;
    const same = pool.slots.find(({ info }) => info.slot === first!.from.slot)!;
    // The same again, from its own slot and from another.
    for (const { node } of [same, other]) node.send(CALLER, MessageType.result, 0, first!.chunk, first!.payload);
    // A result for a chunk that another slot works on.
    const [open] = other.running;
    same.node.send(CALLER, MessageType.result, 0, open!.chunk, first!.payload);
    await turn(2);
    expect([...sink.byIndex]).toEqual([[0, "a!"]]);
    // The slot is lost, its chunk given away again, and then its answer comes by another way.
    const { running } = other;
    pool.die(other);
    pool.cutLink(other);
    pool.tellDown(other, running);
    await turn(2);
    same.node.send(CALLER, MessageType.result, 0, open!.chunk, first!.payload);
    await turn(2);
    expect(sink.byIndex.size).toBe(1);
    await finishAll(pool, 1, (item) => `${item}!`);
    expect([inOrder(sink), sink.ends]).toEqual([["a!", "b!", "c!", "d!"], [[]]]);
  });

  it("X32: an item that kills its slot each time fails after its retries; the rest is done", async () => {
    const { pool, seats } = await poolOf(1);
    const sink = new KeepingSink(true);
    pool.map(["good", "deadly", "fine"], sink, seats, { chunkSize: 3, retries: 2 }, true);
    await turn();
    let deaths = 0;
    for (let step = 0; step < 60 && sink.ends.length === 0; step++) {
      const [task] = pool.open;
      if (task?.item !== "deadly") pool.finishOne((item) => item);
      else {
        const { slot } = task;
        const { running } = slot;
        deaths++;
        pool.die(slot);
        pool.cutLink(slot);
        pool.tellDown(slot, running);
        await turn(2);
        await pool.startSlot(slot.info.seat);
      }
      await turn(2);
    }
    expect(deaths).toBe(3);
    expect([inOrder(sink), [...sink.failures.keys()], sink.ends]).toEqual([["good", "fine"], [1], [[]]]);
    expect(sink.failures.get(1)).toMatchObject({
      code: "SLOT_LOST",
      message: "pool.map: item 1: the slot that ran it was killed (attempt 3, on here/1)",
    });
  });

  it("a time limit that was exceeded is TIMEOUT and not tried again", async () => {
    const { pool, seats } = await poolOf(1);
    const sink = new KeepingSink();
    pool.map(["slow"], sink, seats);
    await turn(2);
    const { slot } = pool.open[0]!;
    pool.tellDown(slot, slot.running, { timedOutMs: 250 });
    pool.die(slot);
    pool.cutLink(slot);
    await turn(2);
    expect(sink.ends).toEqual([
      [expect.objectContaining({ code: "TIMEOUT", message: expect.stringContaining("250 ms") })],
    ]);
  });

  it("when no seat of a run can be filled any more, it ends with the cause; later runs too", async () => {
    const { pool, seats } = await poolOf(2);
    const sink = new KeepingSink();
    pool.map(list(5), sink, seats);
    await turn();
    for (const slot of pool.slots) {
      pool.die(slot);
      pool.cutLink(slot);
      pool.tellDown(slot, [], { final: true, cause: "cannot load" });
      await turn(2);
    }
    const failed = [[expect.objectContaining({ code: "SLOT_LOST", message: "no slot can be started: cannot load" })]];
    expect(sink.ends).toEqual(failed);
    const late = new KeepingSink();
    pool.map(list(1), late, seats);
    expect(late.ends).toEqual(failed);
  });

  it("two runs share the slots: neither waits for the other's end", async () => {
    const { pool, seats } = await poolOf(2);
    const [a, b] = [new KeepingSink(), new KeepingSink()];
    pool.map(list(60), a, seats, { chunkSize: 1 });
    pool.map(list(60), b, seats, { chunkSize: 1 });
    await turn();
    for (let finished = 1; finished <= 60; finished++) {
      clock.advance(20);
      pool.finishOne((item) => item);
      await turn();
      expect(Math.abs(a.byIndex.size - b.byIndex.size)).toBeLessThanOrEqual(6);
    }
    expect(a.byIndex.size + b.byIndex.size).toBeGreaterThan(50);
    await finishAll(pool, 20);
    expect([inOrder(a), inOrder(b)]).toEqual([list(60), list(60)]);
  });

  it("stop ends the run at once, tells the slots, and has the busy ones ended after their grace", async () => {
    const { pool, seats } = await poolOf(2);
    const sink = new KeepingSink();
    const run = pool.map(list(10), sink, seats, { chunkSize: 1 });
    await turn();
    const busy = pool.open.map((task) => task.slot.info.slot).sort();
    pool.scheduler.stop(run, new MeshError("CANCELLED", "no longer wanted"));
    pool.scheduler.stop(run, new MeshError("CANCELLED", "again"));
    await turn(3);
    expect(sink.ends).toEqual([[expect.objectContaining({ message: "no longer wanted" })]]);
    expect(pool.killed.sort()).toEqual(busy);
    await finishAll(pool);
    expect(sink.byIndex.size).toBe(0);
    const next = new KeepingSink();
    pool.map(list(6), next, seats);
    await turn();
    await finishAll(pool);
    expect(inOrder(next)).toEqual(list(6));
  });

  it("a slot at rest hears of a run that is over together with the next, or 1 ms later; a busy one at once", async () => {
    const { pool, seats } = await poolOf(1);
    const types: number[] = [];
    const { send } = pool.node;
    pool.node.send = (to, type, ...rest) => {
      types.push(type);
      return send.call(pool.node, to, type, ...rest);
    };
    const mapOne = async () => {
      pool.map([1], new KeepingSink(), seats);
      await turn();
      pool.finishOne((item) => item);
      await turn(3);
    };
    await mapOne();
    await mapOne();
    expect(types).toEqual([MessageType.define, MessageType.cancel, MessageType.define]);
    clock.advance(1);
    expect(types.slice(3)).toEqual([MessageType.cancel]);
    const run = pool.map([1], new KeepingSink(), seats);
    await turn();
    run.end(new MeshError("CANCELLED", "no longer wanted"));
    expect(types.slice(4)).toEqual([MessageType.define, MessageType.cancel]);
  });

  it("a slot told of twice is joined once; one that dies while it is dialed is not used", async () => {
    const { pool, seats } = await poolOf(1);
    const [slot] = pool.slots;
    pool.agent.notify(CALLER, MessageType.slotUp, slot!.info);
    await turn(3);
    expect(pool.scheduler.readySlots).toEqual([slot!.info]);
    pool.agent.notify(CALLER, MessageType.slotUp, { slot: 90, seat: 2, host: "here", address: "nobody listens" });
    pool.agent.notify(CALLER, MessageType.slotDown, { slot: 90, seat: 2, cause: "died", running: [], final: false });
    await turn(3);
    expect(pool.scheduler.readySlots).toEqual([slot!.info]);
    const sink = new KeepingSink();
    pool.map(list(4), sink, seats);
    await turn();
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(4));
  });

  it("an async source that ends when nothing is under way ends the run", async () => {
    const { pool, seats } = await poolOf(1);
    const gate = Promise.withResolvers<void>();
    const source = (async function* () {
      yield 1;
      await gate.promise;
    })();
    const sink = new KeepingSink();
    pool.map(source as never, sink, seats);
    await turn(3);
    await finishAll(pool);
    expect([inOrder(sink), sink.ends]).toEqual([[1], []]);
    gate.resolve();
    await turn(3);
    expect(sink.ends).toEqual([[]]);
  });

  it("a run whose source ends or fails while all slots work for others does not wait for them", async () => {
    for (const fails of [false, true]) {
      const { pool, seats } = await poolOf(1);
      const gate = Promise.withResolvers<void>();
      const source = (async function* () {
        yield 1;
        await gate.promise;
        if (fails) throw new RangeError("source");
      })();
      const [sink, other] = [new KeepingSink(), new KeepingSink()];
      pool.map(source as never, sink, seats);
      await turn(3);
      pool.finishOne((item) => item);
      await turn(3);
      pool.map(["first", "long"], other, seats);
      await turn(3);
      clock.advance(150); // so long that nothing is sent ahead of it
      pool.finishOne((item) => item);
      await turn(3);
      expect(pool.open.map((task) => task.item)).toEqual(["long"]);
      gate.resolve();
      await turn(3);
      expect(sink.ends).toEqual(fails ? [[expect.any(RangeError)]] : [[]]);
      expect(other.ends).toEqual([]);
      await finishAll(pool);
    }
  });
});

/** Counts the items that were given to slots. */
function countItems(pool: FakePool): () => number {
  const sizes = chunkSizes(pool);
  return () => sizes.reduce((sum, size) => sum + size, 0);
}

/** The sizes of chunks that slots get, as they get them. */
function chunkSizes(pool: FakePool): number[] {
  const sizes: number[] = [];
  const { node } = pool;
  const count = (type: number, bytes: number) => {
    if (type === MessageType.run) sizes.push((bytes - 8) / 4); // all items are whole numbers
  };
  const { send, sendDraft } = node;
  node.send = (to, type, mailbox, correlation, payload) => {
    count(type, payload?.length ?? 0);
    return send.call(node, to, type, mailbox, correlation, payload);
  };
  node.sendDraft = (to, type, mailbox, correlation, draft) => {
    count(type, draft.bytes.length - 24);
    return sendDraft.call(node, to, type, mailbox, correlation, draft);
  };
  return sizes;
}
