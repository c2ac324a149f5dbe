// The scheduler with several hosts: which seats it takes, how it opens hosts, and what it does when they come and go.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Claim } from "../../core/api/seats.ts";
import { taskOf } from "../../core/api/task-error.ts";
import { ManualClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { CALLER, FakePool, type FakePoolOptions, HERE, hostInfo, KeepingSink, turn } from "./fake-pool.ts";

let clock = new ManualClock();
beforeEach(() => {
  clock = new ManualClock();
  vi.spyOn(performance, "now").mockImplementation(() => clock.now());
});
afterEach(() => vi.restoreAllMocks());

const here = hostInfo(HERE, "here", 2);
const gpu1 = hostInfo(20, "gpu1", 2, ["gpu"]);
const gpu2 = hostInfo(21, "gpu2", 4, ["gpu", "big"]);

async function poolOf(options: FakePoolOptions): Promise<FakePool> {
  return new FakePool({ clock, ...options }).begin();
}

function labels({ seats }: Claim): string[] {
  return [...seats].map((seat) => seat.label).sort();
}

function list(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function inOrder(sink: KeepingSink): unknown[] {
  return [...sink.byIndex].sort(([a], [b]) => a - b).map(([, value]) => value);
}

/** Ends open tasks until none is left; messages of far hosts arrive meanwhile. */
async function finishAll(pool: FakePool): Promise<void> {
  for (let idle = 0; idle < 4; idle++) {
    while (pool.open.length > 0) {
      idle = 0;
      clock.advance(1);
      pool.finishOne((item) => item);
      await turn();
    }
    clock.advance(60);
    await turn(2);
  }
}

function ordersOf(pool: FakePool, type: number): [string, unknown][] {
  return pool.orders.filter((order) => order.type === type).map(({ host, body }) => [host, body]);
}

describe("Scheduler: seats", () => {
  it("F42 by default all slots of all hosts are taken", async () => {
    const pool = await poolOf({ hosts: [gpu2, here, gpu1] });
    const all = ["gpu1/1", "gpu1/2", "gpu2/1", "gpu2/2", "gpu2/3", "gpu2/4", "here/1", "here/2"];
    expect(labels(pool.scheduler.takeSeats())).toEqual(all);
    await turn(5);
    expect(pool.scheduler.readySlots.map(({ host, seat }) => `${host}/${seat}`).sort()).toEqual(all);
    expect(ordersOf(pool, MessageType.acquireSlots)).toContainEqual(["gpu1", { job: HERE, seats: [1, 2] }]);
  });

  it("F42 a number of slots is spread over the hosts by their size, those least used first, the same every time", async () => {
    for (const hosts of [
      [here, gpu1, gpu2],
      [gpu2, gpu1, here],
    ]) {
      const { scheduler } = await poolOf({ hosts });
      expect(labels(scheduler.takeSeats(4))).toEqual(["gpu1/1", "gpu2/1", "gpu2/2", "here/1"]);
      expect(labels(scheduler.takeSeats(4))).toEqual(["gpu1/2", "gpu2/3", "gpu2/4", "here/2"]);
      expect(labels(scheduler.takeSeats(3))).toEqual(["gpu1/1", "gpu2/1", "gpu2/2"]);
    }
  });

  it("F42 more slots than there are go beyond each host's own number", async () => {
    const { scheduler } = await poolOf({ hosts: [here, gpu1] });
    expect(labels(scheduler.takeSeats(6))).toEqual(["gpu1/1", "gpu1/2", "gpu1/3", "here/1", "here/2", "here/3"]);
  });

  it("F21 only hosts chosen by name or tag are taken and opened", async () => {
    const pool = await poolOf({ hosts: [here, gpu1, gpu2] });
    expect(labels(pool.scheduler.takeSeats(undefined, { hosts: ["gpu1"] }))).toEqual(["gpu1/1", "gpu1/2"]);
    expect(labels(pool.scheduler.takeSeats(2, { tags: ["big"] }))).toEqual(["gpu2/1", "gpu2/2"]);
    expect(pool.opened).toEqual([20, 21]);
  });

  it("a host is opened once for all who take its seats, and asked for slots only then", async () => {
    const gate = Promise.withResolvers<void>();
    const pool = await poolOf({ hosts: [here, gpu1], openHost: () => gate.promise });
    pool.scheduler.watchTimeouts();
    pool.scheduler.takeSeats();
    const released = pool.scheduler.takeSeats(undefined, { hosts: ["gpu1"] });
    pool.scheduler.releaseSeats(released);
    await turn(3);
    expect(pool.opened).toEqual([20]);
    expect(pool.orders.filter(({ host }) => host === "gpu1")).toEqual([]);
    gate.resolve();
    await turn(3);
    expect(pool.orders.filter(({ host }) => host === "gpu1")).toEqual([
      { host: "gpu1", type: MessageType.watchTimeouts, body: { job: HERE } },
      { host: "gpu1", type: MessageType.acquireSlots, body: { job: HERE, seats: [1, 2] } },
    ]);
    pool.scheduler.takeSeats();
    await turn(3);
    expect(pool.opened).toEqual([20]);
  });

  it("a host that cannot be opened is told of and done without; a pool made later tries it again", async () => {
    let refuses = true;
    const openHost = async () => {
      if (refuses) throw new MeshError("CONFIG", "its disk is full");
    };
    const pool = await poolOf({ hosts: [here, gpu1], openHost });
    const sink = new KeepingSink();
    pool.map(list(20), sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    expect(pool.notices).toEqual(["host gpu1 cannot be used: its disk is full"]);
    expect(new Set(pool.open.map(({ slot }) => slot.host.info.name))).toEqual(new Set(["here"]));
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(20));

    const alone = new KeepingSink();
    pool.map(list(1), alone, pool.scheduler.takeSeats(undefined, { tags: ["gpu"] }));
    await turn(5);
    expect(alone.ends).toEqual([
      [expect.objectContaining({ message: "pool.map: host gpu1 cannot be used: its disk is full" })],
    ]);
    refuses = false;
    const again = new KeepingSink();
    pool.map(list(3), again, pool.scheduler.takeSeats(undefined, { tags: ["gpu"] }));
    await turn(5);
    await finishAll(pool);
    expect(inOrder(again)).toEqual(list(3));
  });

  it("a host that is lost while it is opened is not asked for anything", async () => {
    const gate = Promise.withResolvers<void>();
    const pool = await poolOf({ hosts: [here, gpu1], openHost: () => gate.promise });
    pool.scheduler.takeSeats();
    pool.lose(pool.hostOf("gpu1"));
    gate.resolve();
    await turn(3);
    expect(pool.orders.map(({ host }) => host)).toEqual(["here"]);
  });

  it("seats that were given back are not used again by what lingers there", async () => {
    const pool = await poolOf({ hosts: [gpu1] });
    const first = pool.scheduler.takeSeats(1);
    await turn(5);
    const [old] = pool.slots;
    pool.scheduler.releaseSeats(first);
    await turn(2);
    expect(ordersOf(pool, MessageType.releaseSlots)).toEqual([["gpu1", { job: HERE, seats: [1] }]]);
    expect(pool.scheduler.readySlots).toEqual([]);
    pool.die(old!);
    const sink = new KeepingSink();
    pool.map(list(3), sink, pool.scheduler.takeSeats(1));
    await turn(5);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(3));
  });
});

describe("Scheduler: hosts that come and go", () => {
  it("F5 F19 a host that joins during a call is used by pools that are not bound to others", async () => {
    const pool = await poolOf({ hosts: [here] });
    const sinks = list(3).map(() => new KeepingSink());
    const claims = [
      pool.scheduler.takeSeats(),
      pool.scheduler.takeSeats(undefined, { hosts: ["here"] }),
      pool.scheduler.takeSeats(2),
    ];
    for (const [i, sink] of sinks.entries()) pool.map(list(30), sink, claims[i]!, { chunkSize: 1 });
    await turn(3);
    await pool.join(gpu1);
    await turn(5);
    expect(claims.map((claim) => labels(claim).filter((label) => label.startsWith("gpu1")))).toEqual([
      ["gpu1/1", "gpu1/2"],
      [],
      [],
    ]);
    expect(pool.open.some(({ slot }) => slot.host.info.name === "gpu1")).toBe(true);
    await finishAll(pool);
    for (const sink of sinks) expect(inOrder(sink)).toEqual(list(30));
  });

  it("a host that joins between calls is used by the next one", async () => {
    const pool = await poolOf({ hosts: [here] });
    const claim = pool.scheduler.takeSeats();
    await pool.join(gpu1);
    await turn(3);
    expect(pool.opened).toEqual([]); // nobody works: it can wait
    const sink = new KeepingSink();
    pool.map(list(8), sink, claim, { chunkSize: 1 });
    await turn(5);
    expect(pool.opened).toEqual([20]);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(8));
  });

  it("X33 a lost host's items go elsewhere: what it may have begun counts as tried, what waited does not", async () => {
    const pool = await poolOf({ hosts: [here, hostInfo(20, "gpu1", 1)] });
    const sink = new KeepingSink(true);
    const claim = pool.scheduler.takeSeats();
    await turn(5);
    const attempts: [unknown, number][] = [];
    const fail = (item: unknown) => {
      throw new Error(`item ${item}`);
    };
    pool.map(list(12), sink, claim, { chunkSize: 1, retries: 3 }, true);
    await turn(3);
    for (let i = 0; i < 3; i++) {
      clock.advance(20); // now the function is known, and one more waits in each slot
      pool.finishOne((item) => item);
      await turn(3);
    }
    const host = pool.hostOf("gpu1");
    const begun = pool.open.find(({ slot }) => slot.host === host)!.item;
    pool.lose(host);
    await turn(3);
    while (pool.open.length > 0) {
      pool.finishOne(fail, 0);
      await turn(2);
    }
    for (const [at, error] of sink.failures) attempts.push([at, taskOf(error)!.attempt]);
    const others = attempts.filter(([at]) => at !== begun).map(([, attempt]) => attempt);
    expect(attempts.filter(([at]) => at === begun)).toEqual([[begun, 2]]);
    expect(new Set(others)).toEqual(new Set([1]));
    expect(sink.byIndex.size + sink.failures.size).toBe(12);
  });

  it("an item that is lost with its host once too often fails with that reason", async () => {
    const pool = await poolOf({ hosts: [gpu1] });
    const sink = new KeepingSink();
    pool.map(["a"], sink, pool.scheduler.takeSeats(1), { retries: 1 });
    for (let loss = 0; loss < 2; loss++) {
      await turn(5);
      pool.lose(pool.hostOf(`gpu${loss + 1}`));
      await pool.join(hostInfo(30 + loss, `gpu${loss + 2}`, 1));
    }
    expect(sink.ends).toEqual([
      [
        expect.objectContaining({
          code: "SLOT_LOST",
          message: "pool.map: item 0: host gpu2 is lost: it did not answer for 10 s (attempt 2, on gpu2/1)",
        }),
      ],
    ]);
  });

  it("X33 what a lost host still says matches nothing, also after it came back with the same number", async () => {
    const pool = await poolOf({ hosts: [gpu1] });
    const sink = new KeepingSink();
    pool.map(list(4), sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    const host = pool.hostOf("gpu1");
    const old = [...host.slots.values()];
    const chunks = old.map(({ running }) => running[0]!.chunk);
    pool.lose(host);
    await turn(2);
    // Late: results of what they ran, results in the name of chunks they never had, and the tale of their deaths.
    for (const task of pool.open.splice(0)) task.resolve("late");
    await turn(3);
    for (const slot of old) {
      pool.die(slot);
      pool.tellDown(slot, []);
    }
    expect(sink.byIndex.size).toBe(0);
    await pool.join(gpu1);
    await turn(5);
    const payload = pool.results.at(-1)!.payload;
    for (const { node } of old) {
      for (const chunk of [...chunks, ...pool.slots.map(({ running }) => running[0]!.chunk)]) {
        node.send(CALLER, MessageType.result, 0, chunk, payload);
        node.send(CALLER, MessageType.result, 0, chunk, payload);
      }
    }
    await turn(3);
    expect(sink.byIndex.size).toBe(0);
    await finishAll(pool);
    expect([inOrder(sink), sink.ends]).toEqual([list(4), [[]]]);
  });

  it("X33 a result from a slot of the same number on another host is dropped", async () => {
    const pool = await poolOf({ hosts: [hostInfo(20, "gpu1", 1), hostInfo(21, "gpu2", 1)] });
    const sink = new KeepingSink();
    pool.map(["a", "b"], sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    const [one, two] = pool.slots;
    expect(one!.info.slot).toBe(two!.info.slot);
    pool.finishOne((item) => item);
    await turn(2);
    const payload = pool.results[0]!.payload;
    const [slot, other] = pool.open[0]!.slot === one ? [one, two] : [two, one];
    other!.node.send(CALLER, MessageType.result, 0, slot!.running[0]!.chunk, payload);
    await turn(2);
    expect(sink.byIndex.size).toBe(1);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(["a", "b"]);
  });

  it("what a slot of another host said before its death counts, and is known when its host tells of it", async () => {
    const pool = await poolOf({ hosts: [hostInfo(20, "gpu1", 1)] });
    const sink = new KeepingSink();
    pool.map(list(3), sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    const [slot] = pool.slots;
    slot!.host.delayMs = 10;
    pool.finishOne(() => "before its death");
    await turn(2);
    pool.die(slot!);
    pool.cutLink(slot!);
    await turn(2);
    pool.tellDown(slot!, []);
    await turn(2);
    expect([sink.byIndex.size, pool.killed]).toEqual([0, []]);
    clock.advance(10);
    await turn(2);
    expect([...sink.byIndex]).toEqual([[0, "before its death"]]);
    await pool.startSlot(1, pool.hostOf("gpu1"));
    await turn(2);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(["before its death", 1, 2]);
  });

  it("a host that is no longer listed is lost", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const sink = new KeepingSink();
    pool.map(list(6), sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    pool.listHosts([here]);
    pool.open = pool.open.filter(({ slot }) => slot.host.isHere);
    await turn(3);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(6));
  });

  it("a pool with a number of slots takes others for those lost", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const claim = pool.scheduler.takeSeats(4);
    const sink = new KeepingSink();
    pool.map(list(6), sink, claim, { chunkSize: 1 });
    await turn(5);
    pool.lose(pool.hostOf("gpu1"));
    expect(labels(claim)).toEqual(["here/1", "here/2", "here/3", "here/4"]);
    await turn(5);
    pool.open = pool.open.filter(({ slot }) => slot.host.isHere);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(6));
  });

  it("a call meant for one slot ends when its host is lost", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const claim = pool.scheduler.takeSeats();
    const sinks = pool.scheduler.seatsOf(claim).map((seat) => {
      const sink = new KeepingSink();
      pool.map([seat.label], sink, pool.scheduler.takeSeat(seat));
      return sink;
    });
    await turn(5);
    pool.lose(pool.hostOf("gpu1"), "its power failed");
    await turn(3);
    const lost = [expect.objectContaining({ code: "SLOT_LOST", message: expect.stringContaining("its power failed") })];
    expect(sinks.map((sink) => sink.ends)).toEqual([[lost], [lost], [], []]);
    await finishAll(pool);
    expect(sinks.flatMap(inOrder)).toEqual(["here/1", "here/2"]);
  });

  it("without any host a call waits for one, and ends after 30 s", async () => {
    const pool = await poolOf({ hosts: [gpu1] });
    const claim = pool.scheduler.takeSeats(undefined, { tags: ["gpu"] });
    const [saved, lost] = [new KeepingSink(), new KeepingSink()];
    pool.map(list(3), saved, claim, { chunkSize: 1 });
    await turn(5);
    pool.open = [];
    pool.lose(pool.hostOf("gpu1"));
    clock.advance(29_000);
    expect(saved.ends).toEqual([]);
    await pool.join(gpu2);
    await turn(5);
    clock.advance(2_000);
    await finishAll(pool);
    expect([inOrder(saved), saved.ends]).toEqual([list(3), [[]]]);

    pool.lose(pool.hostOf("gpu2"), "it left the mesh");
    pool.map(list(3), lost, claim);
    await pool.join(hostInfo(40, "cpu1", 2)); // not what was asked for
    clock.advance(29_999);
    await turn();
    expect(lost.ends).toEqual([]);
    clock.advance(1);
    expect(lost.ends).toEqual([
      [
        expect.objectContaining({
          code: "SLOT_LOST",
          message:
            "pool.map: no host has the tag gpu (gpu1 is lost: it did not answer for 10 s; gpu2 is lost: it left the mesh), " +
            "and none came within 30 s; `mesh status` shows the hosts there are",
        }),
      ],
    ]);
    expect(pool.scheduler.runs).toEqual([]);
  });

  it("a host that cannot be reached is waited for; one that refuses is not", async () => {
    let reachable = false;
    const openHost = async () => {
      if (!reachable) throw new MeshError("UNREACHABLE", "nothing answers there");
    };
    const pool = await poolOf({ hosts: [gpu1], openHost });
    const sink = new KeepingSink();
    pool.map(list(2), sink, pool.scheduler.takeSeats());
    await turn(5);
    expect([sink.ends, pool.notices.length]).toEqual([[], 1]);
    reachable = true;
    pool.lose(pool.hostOf("gpu1"));
    await pool.join(gpu1);
    await turn(5);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(2));
  });
});

describe("Scheduler: hosts that retire", () => {
  const old = { ...gpu1, retiring: true } as const;
  const successor = hostInfo(30, "gpu1", 2, ["gpu"]);

  it("F96 one in use stays, and who comes under its name is not used beside it, also by later calls", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const claim = pool.scheduler.takeSeats();
    await turn(5);
    pool.scheduler.hostsChanged([here, old]);
    await pool.join(successor);
    pool.scheduler.hostsChanged([here, old, successor]);
    await turn(5);
    expect(labels(claim)).toEqual(["gpu1/1", "gpu1/2", "here/1", "here/2"]);
    const later = pool.scheduler.takeSeats(undefined, { hosts: ["gpu1"] });
    expect([...later.seats].map(({ host }) => host.info.node)).toEqual([20, 20]);
    expect(pool.opened).toEqual([20]);
    expect(pool.scheduler.hosts.map(({ node }) => node)).toEqual([20, HERE]);
  });

  it("F96 when it is gone its items run on who has its name", async () => {
    const pool = await poolOf({ hosts: [gpu1] });
    const sink = new KeepingSink();
    pool.map(list(6), sink, pool.scheduler.takeSeats(), { chunkSize: 1 });
    await turn(5);
    pool.scheduler.hostsChanged([old]);
    await pool.join(successor);
    pool.scheduler.hostsChanged([old, successor]);
    await turn(5);
    pool.lose(pool.hosts.get(20)!);
    await turn(5);
    pool.open = pool.open.filter(({ slot }) => slot.host.info.node === 30);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(6));
    expect(pool.opened).toEqual([20, 30]);
  });

  it("F96 one that is not in use is passed over by who is new", async () => {
    const pool = await poolOf({ hosts: [here, old, successor] });
    const claim = pool.scheduler.takeSeats(undefined, { hosts: ["gpu1"] });
    expect([...claim.seats].map(({ host }) => host.info.node)).toEqual([30, 30]);
    expect(pool.scheduler.hosts.map(({ node }) => node)).toEqual([30, HERE]);
  });

  it("F96 one that refuses because it retires is no failure: nobody is told, and its successor is used", async () => {
    const openHost = async (node: number) => {
      if (node === 20) throw new MeshError("RETIRING", "gpu1 is being replaced: it takes no new jobs");
    };
    const pool = await poolOf({ hosts: [gpu1], openHost });
    const sink = new KeepingSink();
    pool.map(list(4), sink, pool.scheduler.takeSeats(undefined, { hosts: ["gpu1"] }), { chunkSize: 1 });
    await turn(5);
    await pool.join(successor);
    pool.scheduler.hostsChanged([old, successor]);
    await turn(5);
    await finishAll(pool);
    expect(inOrder(sink)).toEqual(list(4));
    expect(pool.notices).toEqual([]);
  });
});
