import { describe, expect, it } from "vitest";
import { type ItemSource, itemSource } from "../../core/api/items.ts";
import { type Chunk, Run, type RunOptions, type Sink } from "../../core/api/run.ts";
import { Host, Seat } from "../../core/api/seats.ts";
import { taskOf } from "../../core/api/task-error.ts";
import { MeshError } from "../../core/errors.ts";
import { hostInfo } from "./fake-pool.ts";

const PLACE = { host: "here", seat: 3 };
const SEAT = new Seat(new Host(hostInfo(2, "here", 3), true), 1);
const LOST = new MeshError("SLOT_LOST", "gone");

/** Keeps what a run reports. */
class FakeSink implements Sink {
  readonly got = new Map<number, unknown>();
  readonly failures: [number, unknown][] = [];
  ends: unknown[][] = [];
  readonly #settled: boolean;

  constructor(settled = false) {
    this.#settled = settled;
  }

  values(first: number, values: ArrayLike<unknown>): void {
    for (let i = 0; i < values.length; i++) {
      if (this.got.has(first + i)) throw new Error(`item ${first + i} was reported twice`);
      this.got.set(first + i, values[i]);
    }
  }

  failure(index: number, error: unknown): boolean {
    this.failures.push([index, error]);
    return this.#settled;
  }

  finished(...error: [unknown?]): void {
    this.ends.push(error);
  }
}

function runOf(items: unknown[] | ItemSource | undefined, options: Partial<RunOptions> & { settled?: boolean } = {}) {
  const sink = new FakeSink(options.settled);
  const source = Array.isArray(items) ? itemSource(items, () => {}) : items;
  const run = new Run({
    id: 1,
    label: "pool.map",
    caller: new Error("pool.map"),
    source,
    sink,
    estimate: { itemMs: undefined, itemBytes: 64, chunkItems: 1 },
    definition: new Uint8Array(),
    seats: new Set([SEAT]),
    chunkSize: undefined,
    retries: 3,
    retryFailures: false,
    ...options,
  });
  return { run, sink };
}

function itemsOf(chunk: Chunk | undefined): unknown {
  return chunk && { first: chunk.first, items: chunk.items, attempt: chunk.attempt };
}

describe("Run", () => {
  it("gives items in order and ends once, when the last is done", () => {
    const { run, sink } = runOf(["a", "b", "c"]);
    const [one, two] = [run.take(2)!, run.take(5)!];
    expect([itemsOf(one), itemsOf(two)]).toEqual([
      { first: 0, items: ["a", "b"], attempt: 1 },
      { first: 2, items: ["c"], attempt: 1 },
    ]);
    expect(run.take(5)).toBeUndefined();
    run.done(two, [30], 1);
    expect(sink.ends).toEqual([]);
    run.done(one, [10, 20], 1);
    expect([...sink.got].sort()).toEqual([
      [0, 10],
      [1, 20],
      [2, 30],
    ]);
    expect([sink.ends, run.over, run.doneCount]).toEqual([[[]], true, 3]);
  });

  it("without items it is one call", () => {
    const { run, sink } = runOf(undefined);
    const chunk = run.take(10)!;
    expect([itemsOf(chunk), run.take(10)]).toEqual([{ first: 0, items: undefined, attempt: 1 }, undefined]);
    run.done(chunk, ["value"], 1);
    expect([sink.got.get(0), sink.ends]).toEqual(["value", [[]]]);
  });

  it("an empty list ends at the first take", () => {
    const { run, sink } = runOf([]);
    expect(run.take(1)).toBeUndefined();
    expect(sink.ends).toEqual([[]]);
  });

  it("an answer with too few or too many values ends it with PROTOCOL", () => {
    for (const values of [[1], [1, 2, 3]]) {
      const { run, sink } = runOf(["a", "b"]);
      run.done(run.take(2)!, values, 1);
      expect(sink.ends).toEqual([[expect.objectContaining({ code: "PROTOCOL" })]]);
      expect(sink.got.size).toBe(0);
    }
  });

  it("a slot's death counts for the item it was at alone; the rest is done again as if never tried", () => {
    const { run, sink } = runOf(["a", "b", "c", "d"]);
    run.lost(run.take(4)!, 1, () => LOST, PLACE);
    const again = [run.take(9), run.take(9), run.take(9)].map(itemsOf);
    expect(again).toEqual([
      { first: 0, items: ["a"], attempt: 1 },
      { first: 2, items: ["c", "d"], attempt: 1 },
      { first: 1, items: ["b"], attempt: 2 },
    ]);
    expect([run.take(9), sink.failures]).toEqual([undefined, []]);
  });

  it("a chunk that the dead slot had not begun comes back whole and uncounted", () => {
    const { run } = runOf(["a", "b"]);
    run.lost(run.take(2)!, undefined, () => LOST, PLACE);
    expect(itemsOf(run.take(2))).toEqual({ first: 0, items: ["a", "b"], attempt: 1 });
  });

  it("an item that kills its slot each time fails after 1 + retries tries, named with its place", () => {
    const { run, sink } = runOf(["a"], { retries: 2 });
    for (let attempt = 1; attempt <= 3; attempt++) {
      const chunk = run.take(1)!;
      expect(chunk.attempt).toBe(attempt);
      run.lost(chunk, 0, () => new MeshError("SLOT_LOST", `death ${attempt}`), PLACE);
    }
    expect(sink.failures).toEqual([[0, expect.objectContaining({ code: "SLOT_LOST", message: "death 3" })]]);
    expect(sink.ends).toHaveLength(1);
    expect(taskOf(sink.failures[0]![1])).toEqual({ ...PLACE, label: "pool.map", item: 0, attempt: 3 });
  });

  it("X33 a chunk lost with its host counts as tried and goes on in parts, until the one to blame is alone", () => {
    const { run, sink } = runOf(
      Array.from({ length: 1_000 }, (_, i) => i),
      { settled: true },
    );
    const why = (place: number) => new MeshError("SLOT_LOST", `host gone at ${place}`);
    const deadly = 777;
    let losses = 0;
    for (let chunk = run.take(1_000); chunk; chunk = run.take(1_000)) {
      const items = chunk.items as number[];
      if (items.includes(deadly)) {
        losses++;
        run.lostUnseen(chunk, why, PLACE);
      } else run.done(chunk, items, 1);
    }
    expect([losses, sink.got.size]).toEqual([4, 999]);
    expect(sink.failures).toEqual([[deadly, expect.objectContaining({ message: "host gone at 0" })]]);
    expect(taskOf(sink.failures[0]![1])).toMatchObject({ item: deadly, attempt: 4 });
    expect([run.left, sink.ends]).toEqual([0, [[]]]);
  });

  it("a chunk lost with its host is not tried again without retries: each of its items may have been done", () => {
    const { run, sink } = runOf(["a", "b"], { retries: 0, settled: true });
    run.lostUnseen(run.take(2)!, (place) => new MeshError("SLOT_LOST", `${place}`), PLACE);
    expect(sink.failures.map(([index, error]) => [index, (error as Error).message])).toEqual([
      [0, "0"],
      [1, "1"],
    ]);
    expect(sink.ends).toEqual([[]]);
  });

  it("knows what is left, what is tried again included", () => {
    const { run } = runOf(["a", "b", "c", "d"]);
    expect(run.left).toBe(4);
    const chunk = run.take(3)!;
    expect(run.left).toBe(1);
    run.lost(chunk, 1, () => LOST, PLACE);
    expect(run.left).toBe(4);
    run.take(9);
    expect(run.left).toBe(3);
    const call = runOf(undefined).run;
    expect([call.left, call.take(1) && call.left]).toEqual([1, 0]);
  });

  it("a timeout is tried again only when retries were asked for", () => {
    const late = () => new MeshError("TIMEOUT", "slow");
    const once = runOf(["a"]);
    once.run.lost(once.run.take(1)!, 0, late, PLACE);
    expect(once.sink.ends).toEqual([[expect.objectContaining({ code: "TIMEOUT" })]]);
    const again = runOf(["a"], { retries: 1, retryFailures: true });
    again.run.lost(again.run.take(1)!, 0, late, PLACE);
    expect(itemsOf(again.run.take(1))).toEqual({ first: 0, items: ["a"], attempt: 2 });
  });

  it("what a task throws ends the run at once, unless retries were asked for", () => {
    const { run, sink } = runOf(["a", "b", "c"]);
    const error = new RangeError("bad");
    run.failed(run.take(3)!, { values: [1, undefined], errors: [[1, error]] }, 1, PLACE);
    expect(sink.ends).toEqual([[error]]);
    expect(sink.got.get(0)).toBe(1);
    expect(run.take(3)).toBeUndefined();

    const again = runOf(["a", "b", "c"], { retries: 1, retryFailures: true });
    again.run.failed(again.run.take(3)!, { values: [1, undefined], errors: [[1, error]] }, 1, PLACE);
    expect([again.run.take(9), again.run.take(9)].map(itemsOf)).toEqual([
      { first: 1, items: ["b"], attempt: 2 },
      { first: 2, items: ["c"], attempt: 1 },
    ]);
  });

  it("settled: failures are results too, undefined and null among them", () => {
    const { run, sink } = runOf(["a", "b", "c"], { settled: true });
    const outcomes = {
      values: [undefined, 2, undefined],
      errors: [
        [0, undefined],
        [2, null],
      ] as [number, unknown][],
    };
    run.failed(run.take(3)!, outcomes, 1, PLACE);
    expect(sink.failures).toEqual([
      [0, undefined],
      [2, null],
    ]);
    expect([[...sink.got], sink.ends]).toEqual([[[1, 2]], [[]]]);
  });

  it("a chunk no slot can read goes item by item, so that only the one to blame fails", () => {
    const { run, sink } = runOf(["a", "b"], { settled: true });
    const bad = new Error("unreadable");
    run.failed(run.take(2)!, { values: [], errors: [[0, bad]] }, 0, PLACE);
    const [a, b] = [run.take(9)!, run.take(9)!];
    expect([a, b].map(itemsOf)).toEqual([
      { first: 0, items: ["a"], attempt: 1 },
      { first: 1, items: ["b"], attempt: 1 },
    ]);
    run.done(a, [1], 1);
    run.failed(b, { values: [], errors: [[0, bad]] }, 0, PLACE);
    expect([[...sink.got], sink.failures, sink.ends]).toEqual([[[0, 1]], [[1, bad]], [[]]]);
  });

  it("an item that cannot be sent fails alone when settled", () => {
    const { run, sink } = runOf(["a", "b", "c"], { settled: true });
    run.refused(run.take(3)!, 1, LOST);
    run.done(run.take(9)!, [1], 1);
    run.done(run.take(9)!, [3], 1);
    expect([[...sink.got], sink.failures, sink.ends]).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
      [[1, LOST]],
      [[]],
    ]);
  });

  it("after its end nothing is given, reported or told again", () => {
    const { run, sink } = runOf(["a", "b", "c", "d", "e"], { settled: true });
    const chunks = Array.from({ length: 5 }, () => run.take(1)!);
    run.end(LOST);
    run.end(new Error("again"));
    run.done(chunks[0]!, [1], 1);
    run.failed(chunks[1]!, { values: [undefined], errors: [[0, 1]] }, 1, PLACE);
    run.lost(chunks[2]!, 0, () => LOST, PLACE);
    run.returned(chunks[3]!);
    run.refused(chunks[4]!, 0, LOST);
    expect([run.take(1), run.underWay]).toEqual([undefined, 0]);
    expect([sink.got.size, sink.failures, sink.ends]).toEqual([0, [], [[LOST]]]);
  });

  it("what could not be finished elsewhere goes before what was never begun", () => {
    const { run } = runOf(["a", "b"]);
    run.returned(run.take(1)!);
    expect([itemsOf(run.take(1)), itemsOf(run.take(1))]).toEqual([
      { first: 0, items: ["a"], attempt: 1 },
      { first: 1, items: ["b"], attempt: 1 },
    ]);
  });

  it("begins no more than its sink has room for", () => {
    const { run, sink } = runOf([1, 2, 3, 4]);
    let room = 3;
    Object.assign(sink, { room: () => room, began: (count: number) => { room -= count; } }); // biome-ignore format: short
    expect([run.take(2)?.items, run.take(2)?.items, run.take(2)]).toEqual([[1, 2], [3], undefined]);
    room = 1;
    expect(run.take(2)?.items).toEqual([4]);
  });

  it("an iterable that throws ends the run with what it threw", () => {
    const source = itemSource(
      (function* () {
        yield 1;
        throw new RangeError("source");
      })(),
      () => {},
    );
    const { run, sink } = runOf(source);
    expect(run.take(1)?.items).toEqual([1]);
    expect(run.take(1)).toBeUndefined();
    expect(sink.ends).toEqual([[expect.any(RangeError)]]);
  });

  it("an iterable that throws when it is closed does not keep the run from ending", () => {
    for (const kind of ["sync", "async"]) {
      const iterator = {
        next: () => ({ value: 1, done: false }),
        return() {
          throw new Error("cannot be closed");
        },
      };
      const key = kind === "sync" ? Symbol.iterator : Symbol.asyncIterator;
      const { run, sink } = runOf(itemSource({ [key]: () => iterator } as never, () => {}));
      run.take(1);
      run.end(LOST);
      expect([kind, sink.ends]).toEqual([kind, [[LOST]]]);
    }
  });
});
