import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BegunTurns, RECALL_BOARD_WORDS, Recalls, TURN_MASK } from "../../core/worker/recall-board.ts";
import { StatusPage } from "../../core/worker/status-page.ts";
import { testFolder } from "../support/mesh.ts";
import { randomOf } from "../support/random.ts";

const A = { node: 0xfffffffe, slot: 1 };
const B = { node: 77, slot: 65_534 };
const at = (...turns: number[]) => turns.map((turn) => ({ depth: 0, turn }));

function board() {
  const words = new Uint32Array(RECALL_BOARD_WORDS);
  return { words, slot: new BegunTurns(words), agent: new Recalls(words) };
}

describe("RecallBoard", () => {
  it("what has not begun is free and never begins; what has begun is not", () => {
    const { slot, agent } = board();
    expect([1, 2].map((turn) => slot.begin(A, 0, turn))).toEqual([true, true]);
    expect(agent.recall(A, at(1, 2, 3, 5))).toEqual([2, 3]);
    expect([3, 4, 5, 6].map((turn) => slot.begin(A, 0, turn))).toEqual([false, true, false, true]);
    expect(agent.recall(A, at(3, 5, 6))).toEqual([]);
  });

  it("of whom nothing has begun, all is free", () => {
    const { slot, agent } = board();
    slot.begin(B, 0, 9);
    expect(agent.recall(A, at(1, 2))).toEqual([0, 1]);
    expect([slot.begin(B, 0, 10), slot.begin(A, 0, 1), slot.begin(A, 0, 2), slot.begin(A, 0, 3)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it("owners and depths are apart", () => {
    const { slot, agent } = board();
    slot.begin(A, 0, 5);
    slot.begin(A, 1, 9);
    expect(agent.recall(A, [{ depth: 0, turn: 8 }, { depth: 1, turn: 8 }])).toEqual([0]); // biome-ignore format: short
    expect(agent.recall(B, at(5, 8))).toEqual([0, 1]);
    expect([slot.begin(A, 1, 10), slot.begin(A, 0, 6), slot.begin(A, 0, 8)]).toEqual([true, true, false]);
  });

  it("turns go around: later is what is at most half the way ahead", () => {
    const { slot, agent } = board();
    slot.begin(A, 0, TURN_MASK - 1);
    expect(agent.recall(A, at(TURN_MASK - 2, TURN_MASK - 1, TURN_MASK, 0, 1))).toEqual([2, 3, 4]);
    expect([TURN_MASK, 0, 1, 2].map((turn) => slot.begin(A, 0, turn))).toEqual([false, false, false, true]);
  });

  it("a slot that does not look takes 256 recalls and no more; the last ones are recalled first", () => {
    const { slot, agent } = board();
    slot.begin(A, 0, 0);
    const turns = Array.from({ length: 300 }, (_, i) => i + 1);
    expect(agent.recall(A, at(...turns))).toEqual(turns.slice(44).map((turn) => turn - 1));
    expect(agent.recall(A, at(1, 2))).toEqual([]);
    expect(turns.filter((turn) => slot.begin(A, 0, turn))).toEqual(turns.slice(0, 44));
    expect(agent.recall(A, at(301))).toEqual([0]);
  });

  it("more owners than there are rows: of those without one, nothing is free", () => {
    const { slot, agent } = board();
    for (let node = 1; node <= 300; node++) expect(slot.begin({ node, slot: 2 }, 0, 1)).toBe(true);
    expect(agent.recall({ node: 256, slot: 2 }, at(1, 2))).toEqual([1]);
    expect(agent.recall({ node: 257, slot: 2 }, at(1, 2))).toEqual([]);
    expect(slot.begin({ node: 257, slot: 2 }, 0, 2)).toBe(true);
  });

  it("an owner that is gone is forgotten with what was recalled of it", () => {
    const { slot, agent } = board();
    agent.recall(A, at(4));
    expect(slot.begin(A, 0, 3)).toBe(true);
    slot.forget(A);
    expect(slot.begin(A, 0, 4)).toBe(true);
  });

  it.each([1, 2, 3])("any order of steps: each turn begins once or is free once, never both (seed %d)", (seed) => {
    const random = randomOf(seed);
    const { slot, agent } = board();
    const owners = [A, B, { node: 5, slot: 5 }].map((owner) => ({ owner, next: 0, queue: [] as number[] }));
    const fates = new Map<string, string[]>();
    const fate = (owner: { node: number }, turn: number, what: string) => {
      const key = `${owner.node} ${turn}`;
      fates.set(key, [...(fates.get(key) ?? []), what]);
    };
    for (let step = 0; step < 20_000; step++) {
      const each = owners[Math.floor(random() * owners.length)]!;
      const { owner, queue } = each;
      const what = random();
      if (what < 0.5) queue.push((each.next++ * 1_000) & TURN_MASK);
      else if (what < 0.9) {
        const turn = queue.shift();
        if (turn !== undefined) fate(owner, turn, slot.begin(owner, 0, turn) ? "begun" : "skipped");
      } else {
        const waiting = queue.filter(() => random() < 0.3);
        for (const i of agent.recall(owner, at(...waiting))) fate(owner, waiting[i]!, "free");
      }
    }
    for (const each of owners) {
      for (const turn of each.queue) fate(each.owner, turn, slot.begin(each.owner, 0, turn) ? "begun" : "skipped");
    }
    const seen = new Set([...fates.values()].map((each) => [...new Set(each)].join()));
    expect([...seen].sort()).toEqual(["begun", "free,skipped"]);
  });

  it("two processes at full speed: what is free in one has not begun in the other", async () => {
    using folder = testFolder();
    const path = folder.at("page");
    const { recalls } = StatusPage.create(path);
    const owner = { node: 16, slot: 1 };
    const turns = 8_000_000;
    const script = join(import.meta.dirname, "begin-turns.ts");
    const child = Bun.spawn([process.execPath, script, path, String(turns)], { stdout: "pipe" });
    const words = new Uint32Array(Bun.mmap(path, { shared: true }).buffer);
    const last = 64 + 4 + 2; // where the page has the last turn of its first owner
    const free: number[] = [];
    const told = new Response(child.stdout).text();
    while (child.exitCode === null) {
      for (let i = 0; i < 1_000; i++) {
        const next = words[last]! + 1 + (i % 4);
        if (recalls.recall(owner, at(next)).length > 0) free.push(next);
      }
      await new Promise((turn) => setImmediate(turn));
    }
    const skipped = new Set(JSON.parse(await told) as number[]);
    expect([free.length > 0, skipped.size > 0]).toEqual([true, true]);
    expect(free.filter((turn) => turn < turns && !skipped.has(turn))).toEqual([]);
  });
});
