import { expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { IdleWatch } from "../../core/worker/idle-watch.ts";

function watching() {
  const clock = new ManualClock();
  const asked: number[] = [];
  const silent: number[] = [];
  const waiting: (() => void)[] = [];
  const watch = new IdleWatch({
    limitMs: 10_000,
    clock,
    ask: (slot) => {
      asked.push(slot);
      return new Promise<void>((resolve) => waiting.push(resolve));
    },
    silent: (slot) => silent.push(slot),
  });
  const answer = async () => {
    for (const resolve of waiting.splice(0)) resolve();
    await Promise.resolve().then(() => {});
  };
  return { clock, asked, silent, watch, answer };
}

test("F47 an idle slot that answers is asked again and again, and never ended", async () => {
  const { clock, asked, silent, watch, answer } = watching();
  watch.watch({ slot: 1, running: [] });
  for (let i = 0; i < 5; i++) {
    clock.advance(5_000);
    await answer();
  }
  expect([asked, silent]).toEqual([[1, 1, 1, 1, 1], []]);
});

test("F47 an idle slot that does not answer for the limit is told of, once", () => {
  const { clock, silent, watch } = watching();
  watch.watch({ slot: 1, running: [] });
  clock.advance(14_999);
  expect(silent).toEqual([]);
  clock.advance(1);
  expect(silent).toEqual([1]);
  clock.advance(60_000);
  expect(silent).toEqual([1]);
});

test("F47 X38 a slot that runs an item is not asked, and its silence counts for nothing", () => {
  const { clock, asked, silent, watch } = watching();
  const slot = { slot: 1, running: [] as unknown[] };
  watch.watch(slot);
  slot.running = ["item"];
  clock.advance(60_000);
  expect([asked, silent]).toEqual([[], []]);
  slot.running = [];
  clock.advance(5_000); // asked
  slot.running = ["the next"]; // and given something before it could answer
  clock.advance(60_000);
  slot.running = [];
  clock.advance(5_000);
  expect(silent).toEqual([]);
  clock.advance(5_000);
  expect(silent).toEqual([1]);
});

test("F47 one late look of a process that stood still itself judges nobody", async () => {
  const { clock, silent, watch, answer } = watching();
  watch.watch({ slot: 1, running: [] });
  clock.advance(5_000); // asked, and then all stand still: one timer comes late
  clock.advance(5_000);
  await answer();
  clock.advance(5_000);
  expect(silent).toEqual([]);
});

test("F47 who is forgotten is not looked at, and nothing ticks without slots", () => {
  const { clock, asked, watch } = watching();
  watch.watch({ slot: 1, running: [] });
  watch.forget(1);
  clock.advance(60_000);
  expect(asked).toEqual([]);
});
