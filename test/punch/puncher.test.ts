import { describe, expect, it } from "vitest";
import type { Packet } from "../../core/punch/packet.ts";
import { type PunchEffect, Puncher, type PunchSettings } from "../../core/punch/puncher.ts";
import { randomOf } from "../support/random.ts";

const LAN = "10.0.0.5:40001";
const OUTSIDE = "198.51.100.7:51820";

/** A puncher and what it did, in its own time. */
class Bench {
  readonly effects: PunchEffect[] = [];
  readonly #puncher: Puncher;
  now = 0;

  constructor(settings: Partial<PunchSettings> = {}) {
    const other = { candidates: [LAN, OUTSIDE], mapping: "independent" as const };
    const rest = { method: "plain" as const, dials: true, limitMs: 3_000, crowdAfterMs: 300, random: randomOf(1) };
    this.#puncher = new Puncher({ other, ...rest, ...settings }, 0);
    this.run(0);
  }

  /** What was done until `ms` from the beginning. */
  run(ms: number): PunchEffect[] {
    const before = this.effects.length;
    while (this.#puncher.wakeAt <= ms) {
      this.now = Math.max(this.now, this.#puncher.wakeAt);
      this.effects.push(...this.#puncher.tick(this.now));
    }
    this.now = ms;
    return this.effects.slice(before);
  }

  receive(from: string, packet: Packet, socket = 0): PunchEffect[] {
    const effects = this.#puncher.received(socket, from, packet, this.now);
    this.effects.push(...effects);
    return effects;
  }

  open(socket: number): PunchEffect[] {
    const effects = this.#puncher.opened(socket, this.now);
    this.effects.push(...effects);
    return effects;
  }

  /** The number of the last packet of that type that was sent there. */
  number(to: string, type = "probe"): number {
    return this.sends(type).findLast((effect) => effect.to === to)!.packet.number;
  }

  answer(from: string): PunchEffect[] {
    return this.receive(from, { type: "answer", number: this.number(from) });
  }

  sends(type?: string) {
    const sends = this.effects.filter((effect) => effect.kind === "send");
    return type === undefined ? sends : sends.filter(({ packet }) => packet.type === type);
  }

  get report(): string {
    return this.#puncher.report;
  }
}

function typesTo(effects: readonly PunchEffect[]): string[] {
  return effects.map((effect) => (effect.kind === "send" ? `${effect.packet.type} ${effect.to}` : effect.kind));
}

describe("F22 Puncher probes", () => {
  it("every 20 ms at first, every 100 ms after 300 ms, and ends in time", () => {
    const bench = new Bench();
    bench.run(299);
    expect(bench.sends("probe")).toHaveLength(2 * 15);
    bench.run(2_999);
    expect(bench.sends("probe").length).toBeLessThanOrEqual(2 * (16 + 27));
    expect(bench.run(3_000).at(-1)).toEqual({ kind: "failed" });
    expect(bench.run(9_000)).toEqual([]);
  });

  it("answers a probe, and probes where it came from at once, but not each time", () => {
    const bench = new Bench();
    bench.run(5);
    const from = "203.0.113.9:1234";
    expect(typesTo(bench.receive(from, { type: "probe", number: 7 }))).toEqual([`answer ${from}`, `probe ${from}`]);
    expect(typesTo(bench.receive(from, { type: "probe", number: 8 }))).toEqual([`answer ${from}`]);
  });

  it("probes an address at once when it is first heard from there, however lately it did", () => {
    const bench = new Bench();
    bench.run(2);
    const first = bench.receive(OUTSIDE, { type: "probe", number: 1 });
    expect(typesTo(first)).toEqual([`answer ${OUTSIDE}`, `probe ${OUTSIDE}`]);
    expect(typesTo(bench.receive(OUTSIDE, { type: "probe", number: 2 }))).toEqual([`answer ${OUTSIDE}`]);
  });

  it("never sends more than two packets for one that comes", () => {
    const bench = new Bench();
    for (let i = 0; i < 1_000; i++) {
      bench.run(i);
      const type = (["probe", "answer", "used"] as const)[i % 3]!;
      expect(bench.receive(`203.0.113.${i % 200}:${1_000 + i}`, { type, number: i }).length).toBeLessThanOrEqual(2);
    }
    // However many places packets seem to come from, probes go to some of them.
    expect(new Set(bench.sends("probe").map(({ to }) => to)).size).toBeLessThanOrEqual(48);
  });

  it("leaves out what is no address", () => {
    const candidates = [
      "nonsense",
      "10.0.0.5:0",
      "10.0.0.5:70000",
      "224.0.0.1:5",
      "255.255.255.255:5",
      "[ff02::1]:5",
      LAN,
    ];
    const bench = new Bench({ other: { candidates, mapping: "none" } });
    expect(typesTo(bench.effects)).toEqual([`probe ${LAN}`]);
  });
});

describe("F22 Puncher that dials", () => {
  it("takes an inside address at once", () => {
    const bench = new Bench();
    expect(typesTo(bench.answer(LAN))).toEqual([`use ${LAN}`]);
  });

  it("waits after the first packet of the other before it takes an outside address", () => {
    const bench = new Bench();
    bench.run(50);
    expect(bench.answer(OUTSIDE)).toEqual([]);
    bench.run(79);
    expect(bench.sends("use")).toEqual([]);
    expect(typesTo(bench.run(80)).at(-1)).toBe(`use ${OUTSIDE}`);
  });

  it("takes an inside address that is proven in the meantime", () => {
    const bench = new Bench();
    bench.run(50);
    bench.answer(OUTSIDE);
    bench.run(75);
    expect(typesTo(bench.answer(LAN))).toEqual([`use ${LAN}`]);
  });

  it("does not wait where the other has named no inside address, or has been heard for long", () => {
    const alone = new Bench({ other: { candidates: [OUTSIDE], mapping: "independent" } });
    expect(typesTo(alone.answer(OUTSIDE))).toEqual([`use ${OUTSIDE}`]);
    const heard = new Bench();
    heard.receive(OUTSIDE, { type: "probe", number: 1 });
    heard.run(90);
    expect(typesTo(heard.answer(OUTSIDE))).toEqual([`use ${OUTSIDE}`]);
  });

  it("repeats use until used comes, and leaves when the other listens", () => {
    const bench = new Bench();
    bench.run(10);
    bench.answer(LAN);
    bench.run(49);
    expect(bench.sends("use")).toHaveLength(2);
    bench.receive(LAN, { type: "used", number: bench.number(LAN, "use") });
    bench.receive(LAN, { type: "used", number: bench.number(LAN, "use") });
    // 30 ms after the other has left, which was half a round trip ago.
    const left = bench.run(200);
    expect(left).toEqual([{ kind: "done", socket: 0, remote: LAN }]);
    expect(bench.sends("use")).toHaveLength(2);
  });

  it("leaves without used after 300 ms", () => {
    const bench = new Bench();
    bench.answer(LAN);
    expect(bench.run(299).every(({ kind }) => kind === "send")).toBe(true);
    expect(bench.run(300)).toEqual([{ kind: "done", socket: 0, remote: LAN }]);
    expect(bench.receive(LAN, { type: "probe", number: 9 })).toEqual([]);
  });

  it("believes no answer that comes from elsewhere, to another socket, or to no probe", () => {
    const bench = new Bench({ other: { candidates: [OUTSIDE], mapping: "independent" } });
    const number = bench.number(OUTSIDE);
    bench.receive("203.0.113.9:1234", { type: "answer", number });
    bench.receive(OUTSIDE, { type: "answer", number }, 5);
    bench.receive(OUTSIDE, { type: "answer", number: 99_999 });
    bench.receive(OUTSIDE, { type: "used", number });
    bench.run(2_000);
    expect(bench.sends("use")).toEqual([]);
  });

  it("is not told by the other which way to take", () => {
    const bench = new Bench();
    bench.receive(LAN, { type: "use", number: 1 });
    bench.run(2_000);
    expect(bench.effects.some(({ kind }) => kind === "done")).toBe(false);
  });

  it("takes what it has when the time is over", () => {
    const bench = new Bench({ limitMs: 60 });
    bench.run(50);
    bench.answer(OUTSIDE);
    expect(typesTo(bench.run(60)).at(-1)).toBe(`use ${OUTSIDE}`);
  });
});

describe("F22 Puncher that listens", () => {
  it("takes the way it is told, says so three times and leaves", () => {
    const bench = new Bench({ dials: false });
    bench.answer(OUTSIDE);
    bench.answer(LAN);
    expect(bench.sends("use")).toEqual([]);
    const last = bench.receive(OUTSIDE, { type: "use", number: 40 });
    expect(typesTo(last)).toEqual([`used ${OUTSIDE}`, `used ${OUTSIDE}`, `used ${OUTSIDE}`, "done"]);
    expect(last.at(-1)).toEqual({ kind: "done", socket: 0, remote: OUTSIDE });
  });

  it("probes the way first when that has not answered, and takes it as soon as it has", () => {
    const bench = new Bench({ dials: false });
    bench.run(15);
    expect(typesTo(bench.receive(OUTSIDE, { type: "use", number: 40 }))).toEqual([`probe ${OUTSIDE}`]);
    expect(typesTo(bench.receive("203.0.113.9:1", { type: "use", number: 40 }))).toEqual(["probe 203.0.113.9:1"]);
    expect(bench.answer(OUTSIDE).at(-1)).toEqual({ kind: "done", socket: 0, remote: OUTSIDE });
  });

  it("says that the other did not choose", () => {
    const bench = new Bench({ dials: false });
    bench.answer(OUTSIDE);
    expect(bench.run(3_000).at(-1)).toEqual({ kind: "failed" });
    expect(bench.report).toContain(`packets go to ${OUTSIDE} and back, but it did not choose a way`);
  });
});

describe("F22 Puncher of many ports", () => {
  const other = { candidates: [LAN, "198.51.100.7:5000", "198.51.100.7:5003"], mapping: "dependent" as const };

  it("guesses up to 2,000 ports of the other, first those that follow, at up to 500 in a second", () => {
    const bench = new Bench({ method: "guess-ports", other, limitMs: 10_000 });
    bench.run(299);
    expect(new Set(bench.sends().map(({ to }) => to)).size).toBe(3);
    const first = bench.run(1_299);
    expect(first.filter(({ kind }) => kind === "send").length).toBeLessThanOrEqual(505 + 3 * 11);
    bench.run(10_000);
    const tried = new Set(bench.sends().map(({ to }) => to));
    expect(tried.size).toBeGreaterThan(1_990);
    expect(tried.size).toBeLessThanOrEqual(2_003);
    for (const port of [5_001, 5_002, 5_004, 5_020]) expect(tried).toContain(`198.51.100.7:${port}`);
    for (const { to, socket } of bench.sends()) {
      expect(socket).toBe(0);
      expect(to).toMatch(/^(10\.0\.0\.5:40001|198\.51\.100\.7:\d+)$/);
    }
  });

  it("opens up to 256 sockets that send to the other's outside address, again and again", () => {
    const bench = new Bench({ method: "open-ports", limitMs: 10_000 });
    for (let ms = 300; ms < 5_000; ms += 10) {
      for (const effect of bench.run(ms)) if (effect.kind === "open") bench.open(effect.socket);
    }
    const sockets = bench.effects.filter((effect) => effect.kind === "open").map(({ socket }) => socket);
    expect(sockets).toEqual(Array.from({ length: 256 }, (_, i) => i + 1));
    const extra = bench.sends("probe").filter(({ socket }) => socket > 0);
    expect(new Set(extra.map(({ to }) => to))).toEqual(new Set([OUTSIDE]));
    expect(extra.filter(({ socket }) => socket === 200).length).toBeGreaterThan(2);
  });

  it("leaves by the socket that was found", () => {
    const bench = new Bench({ method: "open-ports", dials: false, limitMs: 10_000 });
    bench.run(400);
    bench.open(3);
    bench.receive(OUTSIDE, { type: "answer", number: bench.sends("probe").at(-1)!.packet.number }, 3);
    const last = bench.receive(OUTSIDE, { type: "use", number: 2 }, 3).at(-1);
    expect(last).toEqual({ kind: "done", socket: 3, remote: OUTSIDE });
  });

  it("waits with it while a packet that came may lead somewhere", () => {
    const bench = new Bench({ method: "open-ports", limitMs: 10_000 });
    bench.run(200);
    bench.receive("203.0.113.9:1234", { type: "probe", number: 7 });
    bench.run(799);
    expect(bench.effects.some(({ kind }) => kind === "open")).toBe(false);
    expect(bench.run(810).some(({ kind }) => kind === "open")).toBe(true);
  });
});
