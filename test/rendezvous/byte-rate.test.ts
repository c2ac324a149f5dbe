import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteRate } from "../../core/rendezvous/byte-rate.ts";

describe("ByteRate (F24)", () => {
  test.each([
    [1_000_000, 100_000],
    [200_000, 32 * 1024],
  ])("%i a second: %i at once, then as much as time has passed for", (bytesPerSecond, burst) => {
    const rate = new ByteRate(bytesPerSecond);
    expect([rate.take(burst, 5), rate.take(1, 5), rate.take(1, 6), rate.take(bytesPerSecond / 1_000, 6)]).toEqual([
      ...[true, false],
      ...[true, false],
    ]);
    expect(rate.take(burst, 60_000)).toBe(true);
    expect(rate.take(1, 60_000)).toBe(false);
  });

  test("spend tells how long what is over has to wait", () => {
    const rate = new ByteRate(1_000_000);
    expect([rate.spend(100_000, 0), rate.spend(50_000, 0), rate.spend(50_000, 50)]).toEqual([0, 50, 50]);
    expect(rate.spend(1_000, 100)).toBe(1);
  });

  test("whatever comes when: never more than a burst and what time has passed for", () => {
    const packets = fc.array(fc.tuple(fc.integer({ min: 1, max: 9_000 }), fc.double({ min: 0, max: 50, noNaN: true })));
    fc.assert(
      fc.property(packets, fc.integer({ min: 131_072, max: 10_000_000 }), (all, bytesPerSecond) => {
        const rate = new ByteRate(bytesPerSecond);
        const burst = Math.max(bytesPerSecond / 10, 32 * 1024);
        let [now, passed] = [0, 0];
        for (const [bytes, pauseMs] of all) {
          now += pauseMs;
          const most = burst + (now * bytesPerSecond) / 1_000;
          if (rate.take(bytes, now)) passed += bytes;
          expect(passed).toBeLessThanOrEqual(most + 1e-6);
        }
      }),
    );
  });
});
