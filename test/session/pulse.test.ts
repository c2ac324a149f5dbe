import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { DEFAULT_TIMING } from "../../core/session/machine/liveness.ts";
import { Pulse, type PulseEvents } from "../../core/session/pulse.ts";

/** One that is linked, and the names of what it called. */
function linkedPulse(isIdle = false) {
  const clock = new ManualClock();
  const called: (keyof PulseEvents)[] = [];
  const names = ["doubt", "beat", "seek", "settle", "expire", "ticked"] as const;
  const events = Object.fromEntries(
    names.map((name) => [name, () => void called.push(name)]),
  ) as unknown as PulseEvents;
  const pulse = new Pulse(clock, DEFAULT_TIMING, isIdle, events);
  pulse.step("linked");
  called.length = 0;
  return { clock, called, pulse };
}

/** Lets time pass as it does where nothing stands still. */
function pass(clock: ManualClock, ms: number): void {
  for (let passed = 0; passed < ms; passed += 100) clock.advance(100);
}

describe("Pulse", () => {
  it("beats as long as the peer is heard, and looks at the time no more often than it must", () => {
    const { clock, called, pulse } = linkedPulse();
    for (let second = 0; second < 5; second++) {
      pulse.hear();
      pass(clock, 1_000);
    }
    expect(pulse.phase).toBe("up");
    expect(called.filter((name) => name === "beat")).toHaveLength(5);
    expect(called.filter((name) => name === "ticked").length).toBeLessThanOrEqual(6);
  });

  it("what comes from a peer under suspicion clears it at once", () => {
    const { clock, called, pulse } = linkedPulse();
    pass(clock, 3_000);
    expect([pulse.phase, called.includes("seek")]).toEqual(["suspect", true]);
    pulse.hear();
    expect([pulse.phase, pulse.forMs, called.at(-1)]).toEqual(["up", 0, "settle"]);
  });

  it("expires once, and can begin anew from there", () => {
    const { clock, called, pulse } = linkedPulse();
    pass(clock, 20_000);
    expect(called.filter((name) => name === "expire")).toHaveLength(1);
    pulse.restart(false);
    expect(pulse.phase).toBe("connecting");
    pass(clock, 10_000);
    expect([pulse.phase, called.filter((name) => name === "expire").length]).toEqual(["down", 2]);
  });

  it("has no timer where nothing is to be decided", () => {
    const { clock, called, pulse } = linkedPulse(true);
    pulse.step("released");
    called.length = 0;
    pass(clock, 20_000);
    expect([pulse.phase, called]).toEqual(["idle", []]);
  });
});
