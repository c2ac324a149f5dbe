import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { type AbortReason, Handshakes } from "../../transports/handshakes.ts";

const LIMITS = { timeoutMs: 5_000, perAddress: 3, total: 5 };

function setUp() {
  const clock = new ManualClock();
  const handshakes = new Handshakes(LIMITS, clock);
  const aborted: string[] = [];
  const begin = (name: string, host = "10.0.0.1") =>
    handshakes.begin(host, (reason: AbortReason) => aborted.push(`${name} ${reason}`));
  return { clock, handshakes, aborted, begin };
}

describe("Handshakes", () => {
  it("ends each after its time, those that came later later", () => {
    const { clock, handshakes, aborted, begin } = setUp();
    begin("a");
    clock.advance(3_000);
    begin("b");
    const c = begin("c")!;
    clock.advance(1_999);
    expect(aborted).toEqual([]);
    clock.advance(1);
    expect(aborted).toEqual(["a timeout"]);
    handshakes.end(c);
    clock.advance(3_000);
    expect(aborted).toEqual(["a timeout", "b timeout"]);
    expect(handshakes.count).toBe(0);
  });

  it("has room for so many from one address, and for others beside them", () => {
    const { handshakes, aborted, begin } = setUp();
    const [first] = [begin("a"), begin("b"), begin("c")];
    expect(begin("d")).toBeUndefined();
    expect(begin("e", "10.0.0.2")).toBeDefined();
    handshakes.end(first!);
    handshakes.end(first!);
    expect(begin("f")).toBeDefined();
    expect(begin("g")).toBeUndefined();
    expect([handshakes.count, aborted]).toEqual([4, []]);
  });

  it("has room for so many in all", () => {
    const { handshakes, begin } = setUp();
    for (let i = 0; i < 5; i++) expect(begin("a", `10.0.0.${i}`)).toBeDefined();
    expect(begin("b", "10.0.0.9")).toBeUndefined();
    expect(handshakes.count).toBe(5);
  });

  it("gives the place of an old one to a new one, of the same address when that is full", () => {
    const { clock, handshakes, aborted, begin } = setUp();
    begin("other", "10.0.0.2");
    for (const name of ["a", "b", "c"]) begin(name);
    clock.advance(499);
    expect(begin("d")).toBeUndefined();
    clock.advance(1);
    expect(begin("e")).toBeDefined();
    expect(aborted).toEqual(["a full"]);
    begin("f", "10.0.0.3");
    expect(begin("g", "10.0.0.4")).toBeDefined();
    expect(aborted).toEqual(["a full", "other full"]);
    expect(handshakes.count).toBe(5);
  });

  it("aborts all at once, and counts no time for none", () => {
    const { clock, handshakes, aborted, begin } = setUp();
    for (const name of ["a", "b"]) begin(name);
    handshakes.clear();
    expect(aborted).toEqual(["a full", "b full"]);
    clock.advance(60_000);
    begin("c");
    clock.advance(4_999);
    expect([aborted.length, handshakes.count]).toEqual([2, 1]);
  });
});
