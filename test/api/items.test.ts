import { describe, expect, it } from "vitest";
import { itemSource } from "../../core/api/items.ts";

const never = () => {
  throw new Error("only an async source says that something arrived");
};

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await null;
}

describe("itemSource of a list", () => {
  it("knows its length, gives it in parts and ends", () => {
    const source = itemSource([1, 2, 3], never);
    expect([source.total, source.ended]).toEqual([3, false]);
    expect([source.take(2), source.ended, source.take(2), source.ended, source.take(2)]).toEqual([
      [1, 2],
      false,
      [3],
      true,
      [],
    ]);
  });

  it("takes the list as it is now", () => {
    const list = [1, 2];
    const source = itemSource(list, never);
    list.push(3);
    list[0] = 9;
    expect([source.total, source.take(9)]).toEqual([2, [1, 2]]);
  });

  it("gives nothing after close", () => {
    const source = itemSource([1, 2], never);
    source.close();
    expect([source.take(1), source.ended]).toEqual([[], true]);
  });
});

describe("itemSource of an iterable", () => {
  it("is read only as fast as items are taken", () => {
    let read = 0;
    const source = itemSource((function* () { for (;;) yield read++; })(), never); // biome-ignore format: short
    expect([source.total, read]).toEqual([undefined, 0]);
    expect([source.take(2), read]).toEqual([[0, 1], 2]);
    expect([source.take(1), read]).toEqual([[2], 3]);
  });

  it("is closed once, when nobody wants more; not after its own end", () => {
    const log: string[] = [];
    const make = (count: number) =>
      (function* () {
        try {
          for (let i = 0; i < count; i++) yield i;
        } finally {
          log.push(`closed ${count}`);
        }
      })();
    const open = itemSource(make(5), never);
    open.take(1);
    open.close();
    open.close();
    expect([log, open.ended, open.take(1)]).toEqual([["closed 5"], true, []]);
    const whole = itemSource(make(2), never);
    expect([whole.take(5), whole.ended]).toEqual([[0, 1], true]);
    whole.close();
    expect(log).toEqual(["closed 5", "closed 2"]);
  });

  it("what threw is over and not asked to return", () => {
    let returned = 0;
    const iterator = {
      next() { throw new RangeError("x"); }, // biome-ignore format: short
      return: () => ({ value: returned++, done: true }),
    };
    const source = itemSource({ [Symbol.iterator]: () => iterator } as never, never);
    expect(() => source.take(1)).toThrow(RangeError);
    source.close();
    expect([source.ended, returned]).toEqual([true, 0]);
  });

  it("strings, Sets and typed arrays are iterables", () => {
    expect(itemSource("ab", never).take(9)).toEqual(["a", "b"]);
    expect(itemSource(new Set([1, 2]), never).take(9)).toEqual([1, 2]);
    expect(itemSource(new Uint8Array([1, 2]), never).take(9)).toEqual([1, 2]);
  });
});

describe("itemSource of an async iterable", () => {
  it("gives what is there, says when more is, and ends", async () => {
    let arrived = 0;
    const source = itemSource((async function* () { yield 1; yield 2; yield 3; })(), () => arrived++); // biome-ignore format: short
    expect([source.take(2), source.ended]).toEqual([[], false]);
    await turns();
    expect(arrived).toBeGreaterThan(0);
    expect(source.take(2)).toEqual([1, 2]);
    await turns();
    expect(source.take(2)).toEqual([3]);
    await turns();
    expect([source.take(2), source.ended]).toEqual([[], true]);
  });

  it("reads no further than was asked for", async () => {
    let read = 0;
    const source = itemSource((async function* () { for (;;) yield read++; })(), () => {}); // biome-ignore format: short
    source.take(3);
    await turns();
    await turns();
    expect(read).toBeLessThanOrEqual(3);
  });

  it("its failure is thrown after what it gave before", async () => {
    let arrived = 0;
    const source = itemSource((async function* () { yield 1; throw new RangeError("x"); })(), () => arrived++); // biome-ignore format: short
    source.take(5);
    await turns();
    expect([source.ended, source.take(5)]).toEqual([false, [1]]);
    expect(() => source.take(5)).toThrow(RangeError);
    expect([source.ended, source.take(5), arrived >= 2]).toEqual([true, [], true]);
  });

  it("is closed when nobody wants more; what comes later is dropped, what its end throws too", async () => {
    const log: string[] = [];
    const gate = Promise.withResolvers<void>();
    const source = itemSource(
      (async function* () {
        try {
          yield 1;
          await gate.promise;
          yield 2;
        } finally {
          log.push("closed");
          // biome-ignore lint/correctness/noUnsafeFinally: it is what is tested
          throw new Error("at its end");
        }
      })(),
      () => log.push("arrived"),
    );
    source.take(5);
    await turns();
    source.close();
    expect([source.ended, source.take(5)]).toEqual([true, []]);
    gate.resolve();
    await turns();
    expect(log).toEqual(["arrived", "closed"]);
    expect(source.take(5)).toEqual([]);
  });
});
