import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { Renewal, type RenewalOptions, renewAt } from "../../core/identity/renewal.ts";
import type { Validity } from "../../core/identity/validity.ts";
import { until } from "../support/until.ts";
import { DAY, HOUR, NOW, YEAR } from "./support.ts";

const MINUTE = 60_000;

/** A certificate issued then. */
const issued = (at: number, forMs = 90 * DAY): Validity => ({ notBefore: at - DAY, notAfter: at + forMs });

describe("renewAt", () => {
  it.each([
    [90 * DAY, 0.5, 60 * DAY],
    [90 * DAY, 0, 55.5 * DAY],
    [90 * DAY, 1, 64.5 * DAY],
    [HOUR, 0.5, 40 * MINUTE],
    [30_000, 0.5, 20_000],
  ])("of a certificate for %d ms, with %d: %d ms after its issue", (forMs, random, expected) => {
    const { notBefore, notAfter } = issued(NOW, forMs);
    expect(renewAt(notBefore, notAfter, random) - NOW).toBe(expected);
  });
});

interface Bench extends Disposable {
  clock: ManualClock;
  renewal: Renewal;
  /** Requests so far, in milliseconds since the start. */
  asked: number[];
  failures: number[];
  /** Answers the request that is open. */
  answer(result: Validity | Error): Promise<void>;
  now(): number;
  /** Moves the time of day alone. */
  skew(ms: number): void;
}

function bench(options: Partial<RenewalOptions> = {}): Bench {
  const clock = new ManualClock();
  let skewMs = 0;
  let open: PromiseWithResolvers<Validity> | undefined;
  let settled = 0;
  const asked: number[] = [];
  const failures: number[] = [];
  const now = () => NOW + clock.now() + skewMs;
  const renewal = new Renewal({
    clock,
    wallClock: now,
    random: () => 0.5,
    validity: issued(NOW),
    renew() {
      asked.push(clock.now());
      open = Promise.withResolvers();
      return open.promise.finally(() => settled++);
    },
    failed: (_, retryInMs) => failures.push(retryInMs),
    ...options,
  });
  return {
    clock,
    renewal,
    asked,
    failures,
    now,
    async answer(result) {
      const before = renewal.due;
      if (result instanceof Error) open!.reject(result);
      else open!.resolve(result);
      await until(() => renewal.due !== before, { what: "the renewal to take the answer" });
    },
    skew(ms) {
      skewMs += ms;
    },
    [Symbol.dispose]: () => renewal[Symbol.dispose](),
  };
}

describe("Renewal", () => {
  it("asks at two thirds, again and again, over times no timer can wait", async () => {
    using test = bench();
    test.clock.advance(60 * DAY - 1);
    expect(test.asked).toEqual([]);
    test.clock.advance(1);
    expect(test.asked).toEqual([60 * DAY]);
    await test.answer(issued(test.now(), YEAR));
    test.clock.advance(YEAR * (2 / 3) - 1);
    expect(test.asked).toHaveLength(1);
    test.clock.advance(1);
    expect(test.asked).toHaveLength(2);
  });

  it("never asks a timer to wait for over 2^31 ms", () => {
    const clock = new ManualClock();
    const delays: number[] = [];
    const after = clock.after.bind(clock);
    clock.after = (delayMs, callback) => {
      delays.push(delayMs);
      return after(delayMs, callback);
    };
    using test = bench({ clock, wallClock: () => NOW + clock.now(), validity: issued(NOW, 10 * YEAR) });
    clock.advance(30 * DAY);
    expect(delays.length).toBeGreaterThan(1);
    expect(Math.max(...delays)).toBeLessThan(2 ** 31);
    expect(test.asked).toEqual([]);
  });

  it("asks at once for a certificate that is beyond its time, or has expired", () => {
    for (const age of [70 * DAY, YEAR]) {
      using test = bench({ validity: issued(NOW - age) });
      test.clock.advance(0);
      expect(test.asked).toEqual([0]);
    }
  });

  it("X12 sees within an hour that the clock was set, or that the machine slept", () => {
    using test = bench();
    test.clock.advance(HOUR / 2);
    test.skew(60 * DAY);
    test.clock.advance(HOUR);
    expect(test.asked).toEqual([HOUR]);
  });

  it("tries again after 5 s, doubled up to 15 min, shortened by chance; from the start after a success", async () => {
    using test = bench();
    test.clock.advance(60 * DAY);
    for (let n = 0; n < 10; n++) {
      await test.answer(new Error("no"));
      const { due } = test.renewal;
      test.clock.advance(due - test.now() - 1);
      expect(test.asked).toHaveLength(n + 1);
      test.clock.advance(1);
      expect(test.asked).toHaveLength(n + 2);
    }
    const seconds = test.failures.map((ms) => (ms * 4) / 3 / 1000);
    expect(seconds).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    await test.answer(issued(test.now()));
    test.clock.advance(60 * DAY);
    await test.answer(new Error("no"));
    expect(test.failures.at(-1)).toBe(3750);
  });

  it("waits 5 s at least, whatever certificate it gets", async () => {
    using test = bench();
    test.clock.advance(60 * DAY);
    await test.answer(issued(NOW - YEAR));
    test.clock.advance(4999);
    expect(test.asked).toHaveLength(1);
    test.clock.advance(1);
    expect(test.asked).toHaveLength(2);
  });

  it("hurries when asked to, at a random time within what it is given, and never waits longer for it", () => {
    using test = bench();
    test.renewal.hurry(MINUTE);
    test.renewal.hurry(HOUR);
    test.clock.advance(MINUTE / 2 - 1);
    expect(test.asked).toEqual([]);
    test.clock.advance(1);
    expect(test.asked).toEqual([MINUTE / 2]);
  });

  it("asks again after an answer that may be older than the wish to hurry", async () => {
    using test = bench();
    test.clock.advance(60 * DAY);
    test.renewal.hurry(2 * MINUTE);
    await test.answer(issued(test.now()));
    test.clock.advance(MINUTE);
    expect(test.asked).toEqual([60 * DAY, 60 * DAY + MINUTE]);
    await test.answer(issued(test.now()));
    test.clock.advance(DAY);
    expect(test.asked).toHaveLength(2);
  });

  it("asks nothing more once it is disposed of, also in the middle of a request", async () => {
    using idle = bench();
    idle.renewal[Symbol.dispose]();
    idle.clock.advance(YEAR);
    expect(idle.asked).toEqual([]);
    using busy = bench();
    busy.clock.advance(60 * DAY);
    busy.renewal[Symbol.dispose]();
    await busy.answer(new Error("no"));
    busy.clock.advance(YEAR);
    expect(busy.asked).toHaveLength(1);
    expect(busy.failures).toEqual([]);
  });
});
