// By which of several paths a session goes, one situation at a time. What happens at random is in test/sim/ladder.test.ts.
import { describe, expect, it } from "vitest";
import { PUNCH_RANK } from "../../core/session/machine/ladder.ts";
import type { SimNode } from "./sim-node.ts";
import { errorsOf, phases, World } from "./world.ts";

const RELAY = "relay://b";
const PUNCH = "punch://b?from=1";
const UDP = "udp://b";
const HOUR_MS = 3_600_000;

/** Two nodes of which A knows all ways to B; B can dial nothing. `silent` ones come to life when the network is told. */
function pairOf(seed: number, ways: string[], silent: string[] = []) {
  const world = new World(seed);
  const [a, b] = [world.node("a", 100, { isHidden: true }), world.node("b", 200)];
  world.network.unlisten(b.address);
  for (const way of [...ways, ...silent]) world.network.listen(way, b, (link) => b.peers.accept(link));
  for (const way of silent) world.network.silent.add(way);
  const session = a.peers.to({ ...b.info, addresses: ways.concat(silent).filter((way) => way === b.address) });
  session.addWays(ways.concat(silent).filter((way) => way !== b.address));
  return { world, a, b, ab: a.logOf(session), ba: () => b.get(a)! };
}

const kinds = (node: SimNode, other: SimNode) => node.get(other)!.session.paths.map(({ kind }) => kind);

describe("a better path", () => {
  it.each([
    ["sim://b", "sim", RELAY, "relay"],
    [PUNCH, "punch", RELAY, "relay"],
    ["sim://b", "sim", UDP, "udp"],
  ])(
    "F93 %s that answers when the session is up already is gone over to, and nothing is lost",
    async (better, kind, first, firstKind) => {
      for (let seed = 1; seed <= 50; seed++) {
        const { world, a, b, ab, ba } = pairOf(seed, [first], [better]);
        await world.run(600);
        expect([seed, phases(ab), ab.session.path?.kind]).toEqual([seed, ["up"], firstKind]);
        const since = () => [ab, ba()].map(({ session }) => world.clock.now() - session.state.forMs);
        const before = since();
        const stream = setFrames(world, 3_000, () => {
          ab.main.send(10);
          ba().main.send(10);
        });
        world.network.silent.delete(better);
        await world.run(2_000);
        expect([seed, kinds(a, b), kinds(b, a)]).toEqual([seed, [kind], [kind]]);
        expect(since()).toEqual(before); // it was up all the time
        await world.run(2_000);
        expect([ab.main.got, ba().main.got, ab.main.problem, ba().main.problem]).toEqual([
          stream.sent,
          stream.sent,
          undefined,
          undefined,
        ]);
        expect(world.wiresOf(a, b)).toHaveLength(1);
      }
    },
  );

  it("F93 that is told while the session is up is dialed at once, from either side", async () => {
    for (const who of ["a", "b"]) {
      const { world, a, b, ab, ba } = pairOf(1, [RELAY]);
      await world.run(30_000);
      world.network.listen("punch://x", who === "a" ? b : a, (link) => (who === "a" ? b : a).peers.accept(link));
      (who === "a" ? ab : ba()).session.addWays(["punch://x"]);
      await world.run(150);
      expect([kinds(a, b), kinds(b, a), ab.session.state.phase]).toEqual([["punch"], ["punch"], "up"]);
    }
  });

  it("F93 that does not work is tried more and more rarely, and the session does not notice", async () => {
    const { world, ab } = pairOf(1, [RELAY, PUNCH], ["sim://b"]);
    await world.run(2_000);
    expect(ab.session.path?.kind).toBe("punch");
    const [dials, upSince] = [world.network.dials, world.clock.now() - ab.session.state.forMs];
    await world.run(600_000);
    expect([ab.session.main.generation, ab.session.state.phase]).toEqual([ab.session.main.generation, "up"]);
    expect(world.clock.now() - ab.session.state.forMs).toBe(upSince);
    expect(world.network.dials - dials).toBeGreaterThanOrEqual(12);
    expect(world.network.dials - dials).toBeLessThanOrEqual(20);
  });

  it("F93 that is dropped by a firewall: from direct UDP it is tried at most 17 times in the first hour, 8 in the next, and nobody is asked for a way", async () => {
    const { world, a, ab } = pairOf(1, [UDP], ["sim://b"]);
    const dialsIn = async (ms: number) => {
      const before = world.network.dials;
      await world.run(ms);
      return world.network.dials - before;
    };
    expect(await dialsIn(HOUR_MS)).toBeLessThanOrEqual(17);
    expect(await dialsIn(HOUR_MS)).toBeLessThanOrEqual(8);
    expect([ab.session.path?.kind, ab.session.isStraight, a.introduced]).toEqual(["udp", true, []]);
    world.network.silent.delete("sim://b");
    expect(await dialsIn(750_000)).toBeGreaterThanOrEqual(1);
    expect(ab.session.path?.kind).toBe("sim");
  });

  it("F93 that breaks every time is gone over to more and more rarely", async () => {
    const { world, a, b, ab, ba } = pairOf(3, [RELAY, PUNCH]);
    let changes = 0;
    await world.run(1_000);
    for (let s = 0; s < 600; s++) {
      const { path } = ab.session;
      if (path?.kind === "punch" && path.sinceMs > 2_000) {
        changes++;
        world.network.silent.add(PUNCH);
        for (const wire of world.wiresOf(a, b)) wire.cut();
        world.clock.after(500, () => world.network.silent.delete(PUNCH));
      }
      ab.main.send(1);
      ba().main.send(1);
      await world.run(1_000);
    }
    await world.run(1_000);
    expect([ab.main.got, ba().main.got]).toEqual([600, 600]);
    expect(changes).toBeGreaterThan(4);
    expect(changes).toBeLessThan(25);
  });

  it("F93 of the main lane is the bulk lane's from its first moment, also when the side that needs it knows a relay alone", async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { world, a, b, ba } = pairOf(seed, [PUNCH]);
      world.network.listen("relay://a", a, (link) => a.peers.accept(link));
      await world.run(600);
      ba().session.addWays(["relay://a"]);
      ba().bulk.send(2_000);
      const seen = new Set<string>();
      for (let ms = 0; ms < 900; ms += 10) {
        await world.run(10);
        for (const kind of kinds(a, b)) seen.add(kind);
      }
      expect([seed, [...seen], kinds(a, b), a.get(b)!.bulk.got]).toEqual([seed, ["punch"], ["punch", "punch"], 1]);
    }
  });

  it("F93 of the main lane is followed by the bulk lane", async () => {
    const { world, a, b, ab, ba } = pairOf(1, [RELAY], [PUNCH]);
    await world.run(1_000);
    ab.bulk.send(1_000);
    await world.run(300);
    expect(kinds(a, b)).toEqual(["relay", "relay"]);
    world.network.silent.delete(PUNCH);
    for (let i = 0; i < 40; i++) {
      ab.bulk.send(500);
      ba().bulk.send(500);
      await world.run(100);
    }
    await world.run(500);
    expect([kinds(a, b), kinds(b, a)]).toEqual([
      ["punch", "punch"],
      ["punch", "punch"],
    ]);
    expect([ab.bulk.got, ba().bulk.got, world.wiresOf(a, b).length]).toEqual([40, 41, 2]);
  });

  it("F93 is asked for again and again while others carry the session, and not when it is direct", async () => {
    const { world, a, ab } = pairOf(1, [RELAY]);
    await world.run(600_000);
    expect(ab.session.path?.kind).toBe("relay");
    expect(a.introduced.length).toBeGreaterThan(10);
    expect(a.introduced.length).toBeLessThan(20);
    const direct = pairOf(1, [PUNCH]);
    await direct.world.run(600_000);
    expect(direct.a.introduced).toEqual([200]); // before the first way was known
  });
});

describe("a path that falls silent", () => {
  it.each([
    ["sim://b", [RELAY]],
    [RELAY, ["sim://b"]],
    [PUNCH, ["tcprelay://b?token=00", RELAY]],
  ])("F93 X11 %s: the session goes on by another within 5 s, and nothing is lost", async (first, others) => {
    let longest = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const { world, a, b, ab, ba } = pairOf(seed, [first], others);
      await world.run(5_000 + 1_000 * world.random());
      const kind = first.slice(0, first.indexOf(":"));
      expect([seed, ab.session.path?.kind]).toEqual([seed, kind]);
      const at = world.clock.now();
      world.network.silent.add(first);
      for (const way of others) world.network.silent.delete(way);
      ab.main.send(100);
      ba().main.send(100);
      await world.runUntil(() => ab.main.got === 1 && ba().main.got === 1);
      longest = Math.max(longest, world.clock.now() - at);
      expect([seed, errorsOf(ab), phases(ab, ba())]).toEqual([seed, [], ["up", "up"]]);
      await world.run(200);
      expect([seed, world.wiresOf(a, b).filter(({ address }) => address !== first).length]).toEqual([seed, 1]);
    }
    expect(longest).toBeLessThan(5_000);
  });

  it("F93 others are asked for a way at once", async () => {
    const { world, a, ab } = pairOf(1, ["sim://b"]);
    await world.run(5_000);
    expect(a.introduced).toEqual([]);
    world.network.silent.add("sim://b");
    await world.runUntil(() => ab.session.state.phase === "suspect");
    expect(a.introduced).toEqual([200]);
  });
});

describe("dials that cross", () => {
  it("F93 a better one whose path goes silent after the greeting gives way to the other soon", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const world = new World(seed);
      const [a, b] = [world.node("a", 100, { isHidden: true }), world.node("b", 200, { isHidden: true })];
      world.network.listen(PUNCH, b, (link) => b.peers.accept(link));
      world.network.listen("relay://a", a, (link) => a.peers.accept(link));
      const ab = a.logOf(a.peers.to({ ...b.info, addresses: [] }));
      ab.session.addWays([PUNCH]);
      await world.runUntil(() => ab.session.greetedRank(0) === PUNCH_RANK);
      world.network.silent.add(PUNCH);
      for (const wire of world.network.wires) wire.isBroken = true;
      b.peers.to({ ...a.info, addresses: [] }).addWays(["relay://a"]);
      await world.run(1_400);
      expect([seed, phases(ab), kinds(a, b), kinds(b, a)]).toEqual([seed, ["up"], ["relay"], ["relay"]]);
      expect(world.network.refusals.get("DUPLICATE")).toBe(1);
    }
  });

  it("F93 at the same moment, by different ways: the better one stays, whoever is the lower node", async () => {
    let refused = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const world = new World(seed);
      world.network.latencyMs = [1, 20, 150][seed % 3]!;
      const nodes = [world.node("a", 100, { isHidden: true }), world.node("b", 200, { isHidden: true })] as const;
      const [x, y] = seed % 2 ? nodes : [nodes[1], nodes[0]];
      world.network.listen("punch://y", y, (link) => y.peers.accept(link));
      world.network.listen("relay://x", x, (link) => x.peers.accept(link));
      x.peers.to({ ...y.info, addresses: [] }).addWays(["punch://y"]);
      const delayMs = world.random() * 3 * world.network.latencyMs;
      world.clock.after(delayMs, () => y.peers.to({ ...x.info, addresses: [] }).addWays(["relay://x"]));
      await world.run(2_000);
      expect([seed, kinds(x, y), kinds(y, x), world.wiresOf(x, y).length]).toEqual([seed, ["punch"], ["punch"], 1]);
      refused += world.network.refusals.get("DUPLICATE") ?? 0;
    }
    expect(refused).toBeGreaterThan(10);
  });
});

describe("addWays", () => {
  it("F93 while all addresses are silent: what is added is dialed at once, in the same round", async () => {
    const { world, ab } = pairOf(1, [], ["sim://b"]);
    await world.run(300);
    const relayed = pairOf(2, [RELAY]);
    expect(phases(ab)).toEqual(["connecting"]);
    world.network.listen(RELAY, relayed.b, (link) => link.destroy(new Error("not this one")));
    expect(world.network.dials).toBe(1);
    ab.session.addWays([RELAY]);
    await world.run(1);
    expect(world.network.dials).toBe(2);
  });

  it("F93 ways are told to nobody, and are no addresses of the peer", async () => {
    const { world, a, ab, ba } = pairOf(1, ["sim://b", RELAY, PUNCH]);
    await world.run(500);
    expect(ab.session.addresses).toEqual(["sim://b"]);
    expect(ab.session.info.addresses).toEqual(["sim://b"]);
    expect(ba().session.addresses).toEqual([]);
    expect(a.peers.get(200)!.ways).toEqual([RELAY, PUNCH]);
  });

  it("F93 a way for one use that fails twice in a row is forgotten; others, and what is added again, are not", async () => {
    const { world, ab } = pairOf(1, ["relay://b-there"], [RELAY, PUNCH]);
    await world.run(60_000);
    expect(ab.session.ways).toEqual(["relay://b-there", RELAY]);
    world.network.silent.delete(PUNCH);
    ab.session.addWays([PUNCH]);
    await world.run(200);
    expect([ab.session.path?.kind, ab.session.ways]).toEqual(["punch", [PUNCH, "relay://b-there", RELAY]]);
    ab.session.removeWays([PUNCH]);
    await world.run(5_000);
    expect([ab.session.path?.kind, ab.session.ways]).toEqual(["punch", ["relay://b-there", RELAY]]);
  });
});

describe("failedPaths", () => {
  it("F93 says what was tried, when, and why it failed, and shows no token", async () => {
    const { world, ab } = pairOf(1, [RELAY], ["sim://b"]);
    ab.session.addWays(["punch://nowhere?from=7"]);
    await world.run(5_000);
    const about = (address: string) => ab.session.failedPaths.find((failed) => failed.address === address);
    expect(about("punch://nowhere")).toMatchObject({ kind: "punch", error: /nothing listens on punch:\/\/nowhere$/ });
    expect(about("sim://b")).toMatchObject({ kind: "sim", error: /did not answer/ });
    expect(about("sim://b")!.agoMs).toBeLessThan(5_000);
    ab.session.addWays(Array.from({ length: 30 }, (_, i) => `punch://${i}?token=secret`));
    await world.run(60_000);
    expect(ab.session.failedPaths.length).toBe(12);
    expect(JSON.stringify(ab.session.failedPaths)).not.toContain("secret");
  });

  it("forgets an address that leads to the peer again", async () => {
    const { world, ab } = pairOf(1, [RELAY], ["sim://b"]);
    await world.run(4_000);
    expect(ab.session.failedPaths).toHaveLength(1);
    world.network.silent.delete("sim://b");
    await world.run(10_000);
    expect([ab.session.failedPaths, ab.session.path]).toMatchObject([[], { kind: "sim", address: "sim://b" }]);
  });
});

describe("path", () => {
  it("F93 tells since when, from which own port, and each change is told", async () => {
    const changes: (string | undefined)[] = [];
    const world = new World(1);
    const b = world.node("b", 200, { isHidden: true });
    const onPathChanged: NonNullable<Parameters<World["node"]>[2]>["onPathChanged"] = ({ path, isUp }) =>
      void changes.push(isUp ? path?.kind : undefined);
    const a = world.node("a", 100, { isHidden: true, onPathChanged });
    world.network.listen("punch://b?from=40001", b, (link) => b.peers.accept(link));
    world.network.listen(RELAY, b, (link) => b.peers.accept(link));
    const session = a.peers.to({ ...b.info, addresses: [] });
    session.addWays([RELAY]);
    await world.run(1_000);
    session.addWays(["punch://b?from=40001"]);
    await world.run(1_000);
    expect(session.path).toMatchObject({ kind: "punch", address: "punch://b", local: "40001" });
    expect(session.path!.sinceMs).toBeGreaterThan(800);
    expect(session.path!.sinceMs).toBeLessThan(1_000);
    expect(changes).toEqual(["relay", "punch"]);
  });
});

describe("connect, once", () => {
  it("F3 a round in which nobody answered is followed by another; one in which somebody refused is not", async () => {
    const world = new World(1);
    const [a, b] = [world.node("a", 100), world.node("b", 200)];
    world.network.silent.add("sim://b");
    const connecting = a.peers.connect(["sim://b"], {}, { once: true });
    const refused = a.peers.connect(["sim://b", "sim://nobody"], {}, { once: true });
    refused.catch(() => {});
    await world.run(2_550);
    await expect(refused).rejects.toMatchObject({ code: "UNREACHABLE" });
    world.network.silent.delete("sim://b");
    await world.run(400);
    expect((await connecting).node).toBe(b.node);
    world.network.silent.add("sim://c");
    world.node("c", 300);
    const inVain = a.peers.connect(["sim://c"], {}, { once: true });
    inVain.catch(() => {});
    await world.run(5_500);
    await expect(inVain).rejects.toMatchObject({ code: "UNREACHABLE", message: /tried sim:\/\/c/ });
  });
});

/** Calls `send` every 10 ms for so long. */
function setFrames(world: World, forMs: number, send: () => void): { sent: number } {
  const stream = { sent: 0 };
  for (let at = 0; at < forMs; at += 10) {
    world.clock.after(at, () => {
      stream.sent++;
      send();
    });
  }
  return stream;
}
