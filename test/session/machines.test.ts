// The pure parts of a session, each against what it promises.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  climbWaitMs,
  redialWaitMs,
  roundLimitMs,
  staggerMs,
  triesAfterLink,
} from "../../core/session/machine/backoff.ts";
import {
  isControl,
  readAck,
  readHeartbeat,
  writeAck,
  writeHeartbeat,
} from "../../core/session/machine/control-frames.ts";
import { byRank, kindOf, rankOf, shownAddress } from "../../core/session/machine/ladder.ts";
import {
  beginLiveness,
  DEFAULT_TIMING,
  type Liveness,
  type LivenessEffect,
  type LivenessEvent,
  stepLiveness,
} from "../../core/session/machine/liveness.ts";
import { microsOf, RoundTrip } from "../../core/session/machine/round-trip.ts";
import { isDuplicate, nextGeneration } from "../../core/session/machine/which-link.ts";
import { ackProblem, Intake } from "../../core/session/machine/window.ts";

const { heartbeatMs, suspectAfterMs, downAfterMs, connectTimeoutMs } = DEFAULT_TIMING;

/** Feeds events at times and notes what came of them, with a tick at each time the machine asked for. */
class Life {
  state: Liveness;
  now = 0;
  effects: [number, LivenessEffect][] = [];

  constructor(isIdle = false) {
    this.state = beginLiveness(0, DEFAULT_TIMING, isIdle);
  }

  event(event: LivenessEvent): this {
    const [state, effects] = stepLiveness(this.state, event, this.now, DEFAULT_TIMING);
    this.state = state;
    this.effects.push(...effects.map((effect): [number, LivenessEffect] => [this.now, effect]));
    return this;
  }

  /** Lets time pass, ticking when it is due and not a moment late. */
  until(end: number): this {
    while (this.state.wakeAt <= end) {
      this.now = Math.max(this.now, this.state.wakeAt);
      this.event("tick");
    }
    this.now = end;
    return this;
  }

  times(effect: LivenessEffect): number[] {
    return this.effects.filter(([, each]) => each === effect).map(([at]) => at);
  }
}

describe("liveness", () => {
  it("F32 a peer that was never reached is down after the connect timeout", () => {
    const life = new Life().until(connectTimeoutMs - 1);
    expect(life.state.phase).toBe("connecting");
    life.until(connectTimeoutMs);
    expect([life.state.phase, life.times("expire")]).toEqual(["down", [connectTimeoutMs]]);
  });

  it("X4 a link that says nothing is suspected after 3 s, sought another for, and the peer is down after 10 s", () => {
    const life = new Life().event("linked").until(suspectAfterMs - 1);
    expect(life.state.phase).toBe("up");
    life.until(suspectAfterMs);
    expect([life.state.phase, life.times("seek")]).toEqual(["suspect", [suspectAfterMs]]);
    life.until(downAfterMs - 1);
    expect(life.state.phase).toBe("suspect");
    life.until(downAfterMs);
    expect([life.state.phase, life.times("expire")]).toEqual(["down", [downAfterMs]]);
  });

  it("sends a heartbeat at once on a new link and then each second, also to a suspect, never without a link", () => {
    const life = new Life().event("linked").until(5_500);
    expect(life.times("beat")).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000]);
    life.event("lost").until(9_000);
    expect(life.times("beat")).toHaveLength(6);
  });

  it("X1 doubts a peer with each heartbeat before which none came, and no other", () => {
    const life = new Life().event("linked").until(800).event("heard").until(2_500).event("heard");
    expect(life.times("doubt")).toEqual([2_000]);
    life.until(3_400).event("heard").until(6_500);
    expect(life.times("doubt")).toEqual([2_000, 5_000, 6_000]);
  });

  it("a suspect that is heard is up again and nobody looks for another link", () => {
    const life = new Life().event("linked").until(4_000).event("heard");
    expect([life.state.phase, life.effects.at(-1)]).toEqual(["up", [4_000, "settle"]]);
    life.until(4_000 + suspectAfterMs);
    expect(life.state.phase).toBe("suspect");
  });

  it("a lost link is sought another for at once, and down counts from when the peer was last heard", () => {
    const life = new Life().event("linked").until(2_000).event("heard").event("lost");
    expect([life.state.phase, life.effects.at(-1)]).toEqual(["detached", [2_000, "seek"]]);
    life.until(2_000 + downAfterMs - 1);
    expect(life.state.phase).toBe("detached");
    expect(life.until(2_000 + downAfterMs).state.phase).toBe("down");
  });

  it("X2 a tick that comes much too late judges nothing, the one after it does", () => {
    const life = new Life().event("linked");
    life.now = 30_000; // this process stood still
    life.event("tick");
    expect([life.state.phase, life.state.wakeAt]).toEqual(["up", 30_000 + heartbeatMs]);
    expect(life.until(30_000 + heartbeatMs).state.phase).toBe("down");
  });

  it("X2 what is heard after such a tick keeps the session", () => {
    const life = new Life().event("linked");
    life.now = 9_500;
    life
      .event("tick")
      .event("heard")
      .until(9_500 + heartbeatMs);
    expect(life.state.phase).toBe("up");
  });

  it("late ticks without end cannot keep a dead peer alive", () => {
    const life = new Life().event("linked");
    for (let i = 1; i <= 4; i++) {
      life.now = i * 12_000;
      life.event("tick");
    }
    expect(life.state.phase).toBe("down");
  });

  it("a lane that is not needed has no deadlines until it is", () => {
    const life = new Life(true).until(1_000_000);
    expect([life.state.phase, life.effects]).toEqual(["idle", []]);
    life.event("wanted");
    expect([life.state.phase, life.effects]).toEqual(["connecting", [[1_000_000, "seek"]]]);
    life.event("linked").until(1_000_500).event("released");
    expect(life.until(2_000_000).state.phase).toBe("idle");
  });

  it("from any events in any order: down is for good, expires at most once, and always has a time to wake", () => {
    const events = fc.constantFrom<LivenessEvent>("wanted", "linked", "heard", "lost", "released", "tick");
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.tuple(events, fc.integer({ min: 0, max: 6_000 }))), (isIdle, list) => {
        const life = new Life(isIdle);
        let wasDown = false;
        for (const [event, afterMs] of list) {
          life.until(life.now + afterMs).event(event);
          const { phase, wakeAt } = life.state;
          if (wasDown) expect(phase).toBe("down");
          wasDown = phase === "down";
          expect(wakeAt === Number.POSITIVE_INFINITY).toBe(phase === "idle" || phase === "down");
          expect(wakeAt).toBeGreaterThan(life.now);
        }
        expect(life.times("expire").length).toBeLessThanOrEqual(1);
      }),
    );
  });

  it("a peer that is heard in time is never suspected; one that is not is down within downAfterMs of its last word", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: suspectAfterMs - 1 })), (gaps) => {
        const life = new Life().event("linked");
        for (const gap of gaps) life.until(life.now + gap).event("heard");
        expect([life.state.phase, life.times("seek")]).toEqual(["up", []]);
        const heardAt = life.now;
        life.until(heardAt + 2 * downAfterMs);
        expect(life.times("expire")).toEqual([heardAt + downAfterMs]);
      }),
    );
  });
});

describe("redialWaitMs", () => {
  it.each([
    [0, 0, 0],
    [1, 0.5, 100],
    [2, 0.5, 200],
    [5, 0.5, 1_600],
    [6, 0.5, 2_000],
    [1_000_000, 0.5, 2_000],
    [6, 0, 1_500],
    [1, 0, 75],
  ])("after %i failures, with random %f: %i ms", (failures, random, wait) => {
    expect(redialWaitMs(failures, random)).toBe(wait);
  });

  it("is spread, so that many do not come back at once", () => {
    const waits = new Set(Array.from({ length: 100 }, (_, i) => redialWaitMs(6, i / 100)));
    expect(waits.size).toBe(100);
    expect(Math.max(...waits)).toBeLessThan(2_500);
  });

  it("rounds get longer, up to 5 s", () => {
    expect([0, 1, 2, 9].map(roundLimitMs)).toEqual([2_500, 5_000, 5_000, 5_000]);
  });
});

describe("climbWaitMs", () => {
  it.each([
    ["punch", 0, 0],
    ["punch", 1, 1_000],
    ["relay", 2, 2_000],
    ["relay", 6, 32_000],
    ["punch", 7, 60_000],
    ["relay", 1_000_000, 60_000],
    ["udp", 0, 0],
    ["udp", 7, 64_000],
    ["udp", 1_000_000, 600_000],
  ])("F93 from %s, after %i tries to find a better path: %i ms, spread by a quarter", (kind, tries, wait) => {
    const waitMs = (random: number) => climbWaitMs(tries, random, rankOf(kind));
    expect([waitMs(0), waitMs(0.5)]).toEqual([0.75 * wait, wait]);
    expect(waitMs(0.999)).toBeLessThanOrEqual(1.25 * wait);
  });
});

describe("triesAfterLink", () => {
  it.each([
    ["the first link", undefined, 2, 4],
    ["a better path", { rank: 2, forMs: 5 }, 1, 4],
    ["the same path again", { rank: 2, forMs: 5 }, 2, 4],
    ["a worse path, soon", { rank: 0, forMs: 59_999 }, 2, 5],
    ["a worse path, after a better one that lasted", { rank: 1, forMs: 60_000 }, 2, 0],
  ])("F93 %s", (_, before, rank, tries) => {
    expect(triesAfterLink(4, before, rank)).toBe(tries);
  });
});

describe("staggerMs", () => {
  it("F93 all addresses are under way within a second, within half of one when the peer was reached before", () => {
    for (let count = 1; count <= 48; count++) {
      expect(staggerMs(count, false) * (count - 1)).toBeLessThanOrEqual(1_000);
      expect(staggerMs(count, true) * (count - 1)).toBeLessThanOrEqual(500);
      expect(staggerMs(count, true)).toBeGreaterThanOrEqual(10);
    }
    expect([staggerMs(1, false), staggerMs(5, false), staggerMs(2, true)]).toEqual([250, 250, 100]);
  });
});

describe("ladder", () => {
  it("F93 what is dialed directly, by TCP and else by UDP, is better than a hole, and that than what others carry", () => {
    expect(["tcp", "memory", "unix", "zmq", "", "udp"].map(rankOf)).toEqual([0, 0, 0, 0, 0, 1]);
    expect(["punch", "relay", "tcprelay", "ssh"].map(rankOf)).toEqual([2, 3, 3, 3]);
    const addresses = ["ssh://b:1", "relay://r:1", "udp://b:1", "punch://b:2?from=3", "tcp://b:1"];
    expect(byRank(addresses)).toEqual(["tcp://b:1", "udp://b:1", "punch://b:2?from=3", "ssh://b:1", "relay://r:1"]);
    expect([kindOf("tcprelay://r:1"), kindOf("nowhere")]).toEqual(["tcprelay", "link"]);
  });

  it("a token in an address is shown to nobody", () => {
    expect(shownAddress("tcprelay://r:1?token=0a1b")).toBe("tcprelay://r:1");
  });
});

describe("isDuplicate", () => {
  const node = fc.integer({ min: 16, max: 0xffff_ffff });
  const generation = fc.integer({ min: 0, max: 5 });
  const rank = fc.integer({ min: 0, max: 2 });

  it("F93 of two greetings that cross, exactly one goes through: on the better path, else that of the lower node", () => {
    fc.assert(
      fc.property(node, node, rank, rank, generation, (a, b, ofA, ofB, seen) => {
        fc.pre(a !== b);
        const generations = { sharedGeneration: seen, peerGeneration: seen };
        const atA = { ownNode: a, peerNode: b, greetedRank: ofA, peerRank: ofB, ...generations };
        const atB = { ownNode: b, peerNode: a, greetedRank: ofB, peerRank: ofA, ...generations };
        const staysOfA = ofA === ofB ? a < b : ofA < ofB;
        expect([isDuplicate(atA), isDuplicate(atB)]).toEqual([staysOfA, !staysOfA]);
      }),
    );
  });

  it("who saw the link in use established, and dials again, knows better, even by a worse path", () => {
    fc.assert(
      fc.property(node, node, rank, generation, generation, (ownNode, peerNode, peerRank, shared, more) => {
        const claim = { ownNode, peerNode, greetedRank: undefined, peerRank };
        expect(isDuplicate({ ...claim, sharedGeneration: shared, peerGeneration: shared + more })).toBe(false);
      }),
    );
  });

  it("F93 a greeting from before a link that both know is old, whoever is lower and whichever path is better", () => {
    fc.assert(
      fc.property(node, node, fc.option(rank, { nil: undefined }), rank, generation, (a, b, own, peerRank, seen) => {
        const claim = { ownNode: a, peerNode: b, greetedRank: own, peerRank };
        expect(isDuplicate({ ...claim, sharedGeneration: seen + 1, peerGeneration: seen })).toBe(true);
      }),
    );
  });

  it("a new link has a number that neither side has seen", () => {
    expect([nextGeneration(0, 0), nextGeneration(3, 1), nextGeneration(1, 3)]).toEqual([1, 4, 4]);
  });
});

describe("Intake", () => {
  it("credit grows with what is taken, and is never taken back", () => {
    const intake = new Intake(1_000);
    expect(intake.allowedBytes).toBe(1_000);
    intake.receivedBytes = 900;
    expect(intake.tell()).toBe(1_000);
    intake.deliveredBytes = 600;
    expect(intake.tell()).toBe(1_600);
    intake.deliveredBytes = 500; // cannot be, and would still take nothing back
    expect(intake.tell()).toBe(1_600);
  });

  it("an ack is due after 256 KiB, or a quarter of a small window", () => {
    expect(new Intake(8 * 1024 * 1024).tellAtReceived).toBe(256 * 1024);
    expect(new Intake(1_000).tellAtReceived).toBe(250);
    expect(new Intake(1).tellAtReceived).toBe(1);
  });

  it("ackProblem: a peer cannot have taken more than was sent, nor less than it said", () => {
    expect(ackProblem(5, { acked: 5, sent: 5 })).toBeUndefined();
    expect(ackProblem(6, { acked: 0, sent: 5 })).toMatch(/took 6 frames, of 5 that were sent/);
    expect(ackProblem(4, { acked: 5, sent: 9 })).toMatch(/took 4 frames, after it had said 5/);
  });
});

describe("RoundTrip", () => {
  it("is what passed between stamp and echo, less what the peer held it", () => {
    const [here, there] = [new RoundTrip(), new RoundTrip()];
    there.heard(microsOf(1_000), 5_000);
    const { stamp, heldUs } = there.echo(5_700.5)!;
    here.measure(stamp, heldUs, 1_703);
    expect(here.ms).toBeCloseTo(2.5, 6);
  });

  it("is smoothed, and holds across the wrap of the stamps", () => {
    const roundTrip = new RoundTrip();
    const wrapMs = 2 ** 32 / 1_000;
    roundTrip.measure(microsOf(wrapMs - 1), 0, wrapMs + 1);
    expect(roundTrip.ms).toBeCloseTo(2, 2);
    roundTrip.measure(microsOf(0), 0, 10);
    expect(roundTrip.ms).toBeCloseTo(3, 2);
  });

  it("nonsense of a peer changes nothing", () => {
    const roundTrip = new RoundTrip();
    roundTrip.measure(microsOf(10), 5_000_000, 20);
    roundTrip.measure(microsOf(30), 0, 20);
    expect(roundTrip.ms).toBeUndefined();
    expect(roundTrip.echo(5)).toBeUndefined();
  });
});

describe("control frames", () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });

  it("come back as they were written, wherever they lie", () => {
    const echo = fc.option(fc.record({ stamp: u32, heldUs: u32 }), { nil: undefined });
    const beat = fc.record({
      taken: u48,
      allowedBytes: u48,
      stamp: u32,
      echo,
      wantsBulk: fc.boolean(),
      wantsAck: fc.boolean(),
    });
    fc.assert(
      fc.property(beat, fc.integer({ min: 0, max: 9 }), (heartbeat, at) => {
        const { taken, allowedBytes } = heartbeat;
        for (const [frame, read, value] of [
          [writeHeartbeat(heartbeat), readHeartbeat, heartbeat],
          [writeAck({ taken, allowedBytes }), readAck, { taken, allowedBytes }],
        ] as const) {
          const bytes = new Uint8Array(at + frame.length + 3);
          bytes.set(frame, at);
          expect(read(bytes, at, at + frame.length)).toEqual(value);
        }
      }),
    );
  });

  it("X18 of another length, or with flags nobody knows, are refused", () => {
    const frame = writeHeartbeat({ taken: 1, allowedBytes: 2, stamp: 3, echo: undefined, wantsBulk: false });
    expect(() => readHeartbeat(frame, 0, 25)).toThrow(/a heartbeat of 25 bytes, not 26/);
    expect(() => readAck(frame, 0, 14)).toThrow(/an ack of 14 bytes, not 13/);
    frame[1] = 8;
    expect(() => readHeartbeat(frame, 0, 26)).toThrow(/unknown flags 8/);
  });

  it("have the types 4 to 10", () => {
    const types = Array.from({ length: 256 }, (_, type) => type).filter(isControl);
    expect(types).toEqual([4, 5, 6, 7, 8, 9, 10]);
  });
});
