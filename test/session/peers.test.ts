// Sessions of nodes over a simulated network, one situation at a time. What happens at random is in test/sim.
import { describe, expect, it } from "vitest";
import type { Link } from "../../core/transport.ts";
import { errorsOf, phases, World } from "./world.ts";

describe("two nodes that dial each other", () => {
  it("F35 at the same moment: one session and one link, at once, whatever the delays", async () => {
    let duplicates = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const world = new World(seed);
      world.network.latencyMs = [1, 20, 150][seed % 3]!;
      const [a, b] = [world.node("a", 100), world.node("b", 200)];
      const ab = a.to(b);
      world.clock.after(world.random() * 4 * world.network.latencyMs, () => b.to(a));
      await world.run(6 * world.network.latencyMs + 50);
      const ba = b.get(a)!;
      expect([seed, phases(ab, ba)]).toEqual([seed, ["up", "up"]]);
      await world.run(900);
      expect([seed, ab.session.epoch, ab.session.main.generation]).toEqual([seed, ba.session.epoch, 1]);
      expect([seed, world.wiresOf(a, b).length]).toEqual([seed, 1]);
      duplicates += world.network.refusals.get("DUPLICATE") ?? 0;
    }
    expect(duplicates).toBeGreaterThan(10);
  });

  it("F29 after their link was cut: the session goes on over one link, at once", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const world = new World(seed);
      const { a, b, ab, ba, wire } = await world.linked();
      wire.cut();
      ab.main.send(5);
      ba.main.send(5);
      await world.run(400);
      expect([seed, phases(ab, ba), ab.main.got, ba.main.got]).toEqual([seed, ["up", "up"], 1, 1]);
      expect([seed, world.wiresOf(a, b).length]).toEqual([seed, 1]);
    }
  });

  it.each(["the dialer", "the acceptor"])("a link that only %s knows to be broken is replaced at once", async (who) => {
    const world = new World();
    const { a, b, ab, ba, wire } = await world.linked();
    wire.cutFor(who === "the dialer" ? a : b);
    ab.main.send(5); // goes into the void from one of them
    ba.main.send(5);
    await world.run(500);
    expect([phases(ab, ba), ab.main.got, ba.main.got]).toEqual([["up", "up"], 1, 1]);
  });

  it("a link that neither knows to be broken is replaced when 3 s were silent", async () => {
    const world = new World();
    const { ab, ba, wire } = await world.linked();
    wire.isBroken = true;
    ab.main.send(5);
    await world.run(2_000);
    expect(ba.main.got).toBe(0);
    await world.run(2_500);
    expect([phases(ab, ba), ba.main.got]).toEqual([["up", "up"], 1]);
  });
});

describe("a peer that is lost", () => {
  it("X1 its process died: who dialed it knows at once", async () => {
    const world = new World();
    const { b, ab } = await world.linked();
    world.network.kill(b);
    await world.run(300);
    expect(errorsOf(ab)).toEqual(["node b is lost: nothing of it listens on sim://b any more"]);
    expect(ab.main.ends[0]).toMatchObject({ code: "LINK_CLOSED" });
    expect(ab.bulk.ends).toHaveLength(1);
  });

  it("X1 its process died: who was dialed by it knows soon", async () => {
    const world = new World();
    const { a, ba } = await world.linked();
    world.network.kill(a);
    await world.run(900);
    expect(phases(ba)).toEqual(["detached"]);
    await world.run(1_600);
    expect(errorsOf(ba)).toEqual(["node a is lost: nothing of it listens on sim://a any more"]);
  });

  it("X1 its process died and its link does not say so, as over UDP: its machine does, to whoever missed one heartbeat", async () => {
    for (const who of ["the dialer", "the acceptor"]) {
      const world = new World();
      const { a, b, ab, ba } = await world.linked();
      await world.run(10_000 * world.random());
      const [dead, log] = who === "the dialer" ? [b, ab] : [a, ba];
      world.network.killSilently(dead);
      await world.run(who === "the dialer" ? 2_300 : 4_500);
      expect(errorsOf(log)).toEqual([
        `node ${dead.name} is lost: nothing of it listens on sim://${dead.name} any more`,
      ]);
    }
  });

  it("X1 X22 somebody lies that nothing listens there, while it is silent: another link is made, and nothing is lost", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    await world.run(20_000);
    expect(world.network.probes).toBeLessThan(3);
    world.network.isLiedTo = true;
    world.network.block(b, a, 1_500);
    ab.main.send(5);
    ba.main.send(5);
    await world.run(4_000);
    expect([phases(ab, ba), ab.main.got, ba.main.got]).toEqual([["up", "up"], 1, 1]);
    expect(ab.session.main.generation).toBeGreaterThan(1);
  });

  it("a path through a router is not asked about: who answers there knows nothing of the process", async () => {
    const world = new World();
    const { a, b, ab } = await world.linked({ isHidden: true });
    world.network.isLiedTo = true;
    world.network.block(a, b, 2_000);
    await world.run(3_000);
    expect([b.get(a)!.session.main.generation, phases(ab)]).toEqual([1, ["up"]]);
  });

  it("X1 another process took its address: it is known to be gone, and the new one is somebody else", async () => {
    const world = new World();
    const { a, b, ab } = await world.linked();
    world.network.kill(b);
    const next = world.node("b", 201);
    await world.run(300);
    expect(errorsOf(ab)).toEqual(["node b is lost: nothing of it listens on sim://b any more"]);
    const other = a.to(next);
    other.main.send(3);
    await world.run(300);
    expect(next.get(a)!.main.got).toBe(1);
  });

  it("X4 a partition of 15 s: down on both sides within 11 s, saying so; a new session when it heals", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    await world.run(5_000);
    world.network.block(a, b, 15_000);
    world.network.block(b, a, 15_000);
    await world.run(8_900);
    expect(phases(ab, ba)).toEqual(["suspect", "suspect"]);
    await world.run(2_100);
    expect([errorsOf(ab), errorsOf(ba)]).toEqual([
      ["node b is lost: it did not answer for 10 s"],
      ["node a is lost: it did not answer for 10 s"],
    ]);
    const again = a.to(b);
    again.main.send(1);
    await world.run(8_000);
    expect([phases(again), b.get(a)!.main.got]).toEqual([["up"], 1]);
    expect([ab.main.ends.length, ba.main.ends.length]).toEqual([1, 1]);
  });

  it("X5 a partition of one direction ends the session on both sides as well", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    world.network.block(a, b, 15_000);
    await world.run(11_500);
    expect([ab.main.ends.length, ba.main.ends.length]).toEqual([1, 1]);
  });

  it("X4 a side that comes back to a session the other gave up hears so", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked({}, { timing: { downAfterMs: 4_000 } });
    world.network.block(a, b, 6_000);
    world.network.block(b, a, 6_000);
    await world.run(5_500);
    expect([errorsOf(ba), phases(ab)]).toEqual([["node a is lost: it did not answer for 4 s"], ["suspect"]]);
    await world.run(3_000);
    expect(errorsOf(ab)[0]).toMatch(
      /node b had given this node up: node a is lost: it did not answer for 4 s|given up/,
    );
    expect(phases(ab)).toEqual(["down"]);
  });

  it("X2 this process stood still for 9.3 s: it reads what came before it judges, and goes on", async () => {
    const world = new World();
    const { a, ab, ba } = await world.linked();
    a.clock.stop();
    await world.run(9_300);
    expect(phases(ba)).toEqual(["suspect"]);
    a.clock.proceed();
    await world.run(1_500);
    expect(phases(ab, ba)).toEqual(["up", "up"]);
  });

  it("X2 this process stood still for 30 s: the other gave it up within 11 s and says so", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    a.clock.stop();
    await world.run(11_000);
    expect(errorsOf(ba)).toEqual(["node a is lost: it did not answer for 10 s"]);
    await world.run(19_000);
    a.clock.proceed();
    await world.run(300);
    expect(errorsOf(ab)).toEqual(["node b had given this node up: node a is lost: it did not answer for 10 s"]);
    a.to(b).main.send(1);
    await world.run(300);
    expect(b.get(a)!.main.got).toBe(1);
  });

  it("one that cannot be dialed is waited for, while others are asked to introduce it", async () => {
    const world = new World();
    const { a, b, ab, ba, wire } = await world.linked({ isHidden: true });
    wire.cutFor(b); // A believes in its link; B cannot dial A
    await world.run(2_000);
    expect([phases(ba), b.introduced]).toEqual([["detached"], [a.node]]);
    await world.run(3_000);
    expect(phases(ab, ba)).toEqual(["up", "up"]);
    world.network.block(a, b, 20_000);
    [...world.network.wires][0]!.cut();
    await world.run(11_000);
    expect(errorsOf(ba)).toEqual(["node a is lost: it did not answer for 10 s"]);
  });

  it("an epoch that is over does not come back", async () => {
    const world = new World();
    const { a, b, ab } = await world.linked();
    b.get(a)!.session.main.stop(undefined); // without a word to A
    await world.run(500);
    expect(errorsOf(ab)).toEqual(["node b has given up this session: it was closed"]);
    expect(world.network.refusals.get("GONE")).toBe(1);
  });
});

describe("a peer that is not there yet", () => {
  it("F30 gets what was sent before it came, in order", async () => {
    const world = new World();
    const a = world.node("a", 100);
    const info = { node: 200, name: "b", role: "worker" as const, addresses: ["sim://b"] };
    const session = a.peers.to(info);
    const log = a.logOf(session);
    for (let i = 0; i < 50; i++) log.main.send(i);
    await world.run(7_000);
    expect(session.state.phase).toBe("connecting");
    const b = world.node("b", 200);
    await world.run(2_600);
    expect([session.state.phase, b.get(a)!.main.got]).toEqual(["up", 50]);
  });

  it("F32 never comes: its session ends after 10 s, saying what was tried", async () => {
    const world = new World();
    const a = world.node("a", 100);
    const addresses = ["sim://b", "sim://other"];
    const session = a.peers.to({ node: 200, name: "b", role: "worker", addresses });
    const log = a.logOf(session);
    log.main.send(4);
    await world.run(9_900);
    expect(log.main.ends).toEqual([]);
    await world.run(200);
    expect(log.main.ends[0]).toMatchObject({ code: "UNREACHABLE" });
    expect(errorsOf(log)[0]).toMatch(
      /^node b cannot be reached within 10000 ms: tried sim:\/\/b \(nothing listens on .*\); sim:\/\/other \(/,
    );
    expect([a.introduced.length > 2, a.peers.get(200)]).toEqual([true, undefined]);
  });

  it("F32 has no address and does not dial either", async () => {
    const world = new World();
    const a = world.node("a", 100);
    const log = a.logOf(a.peers.to({ node: 200, name: "b", role: "worker", addresses: [] }));
    await world.run(10_100);
    expect(errorsOf(log)[0]).toMatch(/no address of it is known, and it did not dial itself/);
    expect(a.introduced.length).toBeGreaterThan(2);
  });

  it("is reached at once when another address of it becomes known, or it dials itself", async () => {
    const world = new World();
    const [a, b, c] = [world.node("a", 100), world.node("b", 200), world.node("c", 300)];
    const toB = a.logOf(a.peers.to({ ...b.info, addresses: ["sim://wrong"] }));
    const toC = a.logOf(a.peers.to({ ...c.info, addresses: [] }));
    await world.run(3_000);
    expect(phases(toB, toC)).toEqual(["connecting", "connecting"]);
    a.to(b);
    c.to(a);
    await world.run(200);
    expect(phases(toB, toC)).toEqual(["up", "up"]);
  });

  it("F3 of several addresses the one that answers is taken, without waiting for those that do not", async () => {
    const world = new World();
    const [a, b] = [world.node("a", 100), world.node("b", 200)];
    const nowhere = world.node("nowhere", 300);
    world.network.block(a, nowhere, 60_000);
    const log = a.logOf(a.peers.to({ ...b.info, addresses: ["sim://nowhere", "sim://b"] }));
    await world.run(200);
    expect(phases(log)).toEqual(["connecting"]);
    await world.run(250);
    expect([phases(log), log.session.path]).toMatchObject([["up"], { kind: "sim", address: "sim://b" }]);
  });

  it.each(["breaks", "says no more"])(
    "F3 an address whose link %s after the greeting: the next one is greeted",
    async (how) => {
      const world = new World();
      const [a, b] = [world.node("a", 100), world.node("b", 200)];
      world.network.listen("sim://b-first", b, (link: Link) => b.peers.accept(link));
      let links = 0;
      world.network.framesOfLink = () => (how === "breaks" && links++ === 0 ? 1 : Number.POSITIVE_INFINITY);
      const log = a.logOf(a.peers.to({ ...b.info, addresses: ["sim://b-first", "sim://b"] }));
      const [first] = await world.wiresWithin(100);
      await world.runUntil(() => first!.frames === 1);
      if (how === "says no more") first!.isBroken = true;
      await world.run(how === "breaks" ? 100 : 1_400);
      expect([phases(log), log.session.path?.address]).toEqual([["up"], "sim://b"]);
      await world.run(100);
      expect(world.wiresOf(a, b).filter(({ isBroken }) => !isBroken).length).toBe(1);
    },
  );
});

describe("connect", () => {
  it("F14 finds out who listens there; a second time it is the same session", async () => {
    const world = new World();
    const [a, b] = [world.node("a", 100), world.node("b", 200)];
    const first = a.peers.connect(["sim://b"], { name: "b" });
    const second = a.peers.connect(["sim://b"], { role: "worker" });
    await world.run(300);
    const session = await first;
    expect([session.node, session.name, (await second) === session]).toEqual([200, "b", true]);
    expect([b.logs.length, world.wiresOf(a, b).length]).toEqual([1, 1]);
    const third = a.peers.connect(["sim://b"], { role: "coordinator" });
    third.catch(() => {});
    await world.run(300);
    await expect(third).rejects.toMatchObject({ code: "AUTHENTICATION", message: /the coordinator was dialed/ });
    expect(a.peers.all()).toEqual([session]);
  });

  it("is one session with what `to` or the other side begins meanwhile", async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const world = new World(seed);
      const [a, b] = [world.node("a", 100), world.node("b", 200)];
      const connecting = a.peers.connect(["sim://b"], {});
      world.clock.after(world.random() * 60, () => a.to(b));
      world.clock.after(world.random() * 60, () => b.to(a));
      await world.run(1_500);
      const session = await connecting;
      expect([seed, a.peers.get(200) === session, a.logs.length, b.logs.length]).toEqual([seed, true, 1, 1]);
      expect([seed, b.get(a)!.session.epoch, world.wiresOf(a, b).length]).toEqual([seed, session.epoch, 1]);
    }
  });

  it("tries until somebody listens there, or only once when asked to", async () => {
    const world = new World();
    const a = world.node("a", 100);
    const once = a.peers.connect(["sim://b"], {}, { once: true });
    once.catch(() => {});
    const patient = a.peers.connect(["sim://b"], {});
    await world.run(3_000);
    await expect(once).rejects.toMatchObject({ code: "UNREACHABLE", message: /cannot be reached: tried sim:\/\/b/ });
    world.node("b", 200);
    await world.run(2_600);
    expect((await patient).name).toBe("b");
  });

  it("gives up on time, or when it is cancelled, and leaves nothing", async () => {
    const world = new World();
    const [a, b] = [world.node("a", 100), world.node("b", 200)];
    world.network.block(a, b, 60_000);
    const late = a.peers.connect(["sim://b"], {}, { timeoutMs: 700 });
    const abort = new AbortController();
    const stopped = a.peers.connect(["sim://b"], {}, { signal: abort.signal });
    for (const each of [late, stopped]) each.catch(() => {});
    await world.run(699);
    abort.abort();
    await world.run(2);
    await expect(late).rejects.toMatchObject({ code: "TIMEOUT" });
    await expect(stopped).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(a.peers.connect(["sim://b"], {}, { signal: abort.signal })).rejects.toMatchObject({
      code: "CANCELLED",
    });
    await world.run(30_000);
    expect([a.peers.all(), b.peers.all(), a.logs, world.network.wires.size]).toEqual([[], [], [], 0]);
  });
});

describe("the bulk lane", () => {
  it("F26 has a link of its own from its first use on, until nothing went over it for 60 s", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    expect(world.wiresOf(a, b).length).toBe(1);
    ab.bulk.send(2_000);
    ba.bulk.send(2_000);
    await world.run(300);
    expect([ab.bulk.got, ba.bulk.got, world.wiresOf(a, b).length]).toEqual([1, 1, 2]);
    await world.run(59_000);
    expect(world.wiresOf(a, b).length).toBe(2);
    await world.run(4_000);
    expect([world.wiresOf(a, b).length, ab.session.lanes.bulk.phase, phases(ab, ba)]).toEqual([
      1,
      "idle",
      ["up", "up"],
    ]);
    ba.bulk.send(2_000);
    await world.run(300);
    expect([ab.bulk.got, ab.bulk.ends]).toEqual([2, []]);
  });

  it("loses nothing that is sent in the moment in which it is given up", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const world = new World(seed);
      const { ab, ba } = await world.linked({ bulkIdleMs: 3_000 }, { bulkIdleMs: 3_000 });
      ab.bulk.send(100);
      let sent = 0;
      for (let at = 2_900 + world.random() * 200; at < 5_000; at += 15 + world.random() * 30) {
        world.clock.after(at, () => {
          sent++;
          ba.bulk.send(10);
        });
        at += world.random() < 0.3 ? 0 : 5_000;
      }
      await world.run(8_000);
      expect([seed, ab.bulk.got, ab.bulk.problem, phases(ab, ba)]).toEqual([seed, sent, undefined, ["up", "up"]]);
    }
  });

  it("is dialed by the other side when this one cannot", async () => {
    const world = new World();
    const { ba, ab } = await world.linked({ isHidden: true });
    ba.bulk.send(500);
    await world.run(400);
    expect([ab.bulk.got, ab.session.bulk.hasOwnLink]).toEqual([1, true]);
  });

  it("waits for the main lane, and goes with it", async () => {
    const world = new World();
    const [a, b] = [world.node("a", 100), world.node("b", 200)];
    world.network.block(a, b, 9_000);
    const ab = a.to(b);
    ab.bulk.send(10);
    await world.run(9_900);
    expect([b.get(a)?.bulk.got, phases(ab)]).toEqual([1, ["up"]]);
    world.network.kill(b);
    await world.run(300);
    expect(ab.bulk.ends.map((error) => error?.message)).toEqual(errorsOf(ab));
  });

  it("that cannot be made any more ends the session: what waits for it would be lost", async () => {
    const world = new World();
    const { ab, ba } = await world.linked();
    world.network.unlisten("sim://b");
    world.network.unlisten("sim://a");
    ab.bulk.send(10);
    await world.run(9_000);
    expect(phases(ab)).toEqual(["up"]);
    await world.run(1_200);
    expect(errorsOf(ab)).toEqual(["node b is lost: its second link, for bulk, cannot be made or does not answer"]);
    expect(ba.main.ends).toHaveLength(1);
  });
});

describe("the end", () => {
  it("F32 close: what was sent on both lanes arrives before the end is told, also when links break meanwhile", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const world = new World(seed);
      const { a, ab, ba } = await world.linked();
      for (let i = 0; i < 30; i++) (world.random() < 0.5 ? ab.main : ab.bulk).send(200);
      const closing = a.peers.close();
      ab.main.send(1_000); // is not taken any more
      ab.main.sent--;
      for (let i = 0; i < 3; i++) world.clock.after(world.random() * 300, () => [...world.network.wires][0]?.cut());
      await world.run(4_000);
      await closing;
      expect([seed, ba.main.got, ba.bulk.got]).toEqual([seed, ab.main.sent, ab.bulk.sent]);
      expect([seed, ab.main.ends, errorsOf(ba)]).toEqual([seed, [undefined], ["node a ended"]]);
      expect([seed, ab.bulk.ends.length, ba.bulk.ends.length, world.network.wires.size]).toEqual([seed, 1, 1, 0]);
    }
  });

  it("close does not wait for a heartbeat to confirm the bulk lane", async () => {
    const world = new World();
    const { a, ab, ba } = await world.linked();
    ab.bulk.send(5_000);
    ab.main.send(5);
    const closing = a.peers.close();
    await world.run(300); // two links to make and two round trips, of 40 ms each at most
    await closing;
    expect([ba.main.got, ba.bulk.got, ab.main.ends]).toEqual([1, 1, [undefined]]);
  });

  it("close on both sides at once ends without an error on either", async () => {
    const world = new World();
    const { a, b, ab, ba } = await world.linked();
    ab.main.send(1);
    ba.main.send(1);
    const closing = Promise.all([a.peers.close(), b.peers.close()]);
    await world.run(500);
    await closing;
    expect([ab.main.got, ba.main.got, ab.main.ends, ba.main.ends]).toEqual([1, 1, [undefined], [undefined]]);
  });

  it("F32 close towards a peer that does not answer ends after its limit with an error", async () => {
    const world = new World();
    const { a, b, ab } = await world.linked();
    world.network.block(b, a, 60_000);
    ab.main.send(1);
    void a.peers.close();
    await world.run(2_900);
    expect(ab.main.ends).toEqual([]);
    await world.run(200);
    expect(ab.main.ends[0]).toMatchObject({ code: "LINK_CLOSED", message: /1 messages may not have arrived/ });
    await world.run(3_000);
    expect(world.wiresOf(a, b).length).toBe(0);
  });

  it("close before anything was reached", async () => {
    const world = new World();
    const a = world.node("a", 100);
    const log = a.logOf(a.peers.to({ node: 200, name: "b", role: "worker", addresses: ["sim://b"] }));
    const connecting = a.peers.connect(["sim://c"], {});
    connecting.catch(() => {});
    await a.peers.close();
    expect(log.main.ends).toEqual([undefined]);
    await expect(connecting).rejects.toMatchObject({ message: /a is ending/ });
    const after = a.peers.to({ node: 300, name: "c", role: "worker", addresses: ["sim://c"] });
    expect([after.isOver, a.logOf(after).main.ends.length]).toEqual([true, 1]);
  });

  it("destroy: the own side hears the error at once, the other side its words", async () => {
    const world = new World();
    const { ab, ba } = await world.linked();
    const error = new Error("the disk is full");
    ab.session.main.destroy(error);
    expect(ab.main.ends).toEqual([error]);
    await world.run(100);
    expect(errorsOf(ba)).toEqual(["node a ended the session: the disk is full"]);
  });

  it("X23 revoke ends a live session on both sides, and its peer does not come back", async () => {
    const world = new World();
    const { a, b, ab, ba, wire } = await world.linked();
    b.peers.revoke((_serial, name) => name === "a");
    expect(ba.main.ends[0]).toMatchObject({ code: "AUTHENTICATION", message: "the certificate of a was revoked" });
    await world.run(100);
    expect(ab.main.ends[0]).toMatchObject({ code: "AUTHENTICATION" });
    const again = a.to(b);
    await world.run(500);
    expect(errorsOf(again)[0]).toMatch(/the certificate of a was revoked/);
    expect([b.peers.all(), wire.isOpen]).toEqual([[], false]);
  });

  it("X23 a session is not resumed after its peer was revoked behind its back", async () => {
    const world = new World();
    let isRevoked = false;
    const { ab, wire } = await world.linked(
      {},
      {
        verify: (certificate) => {
          const identity = JSON.parse(new TextDecoder().decode(certificate));
          if (isRevoked)
            throw Object.assign(new Error(), { name: "MeshError", code: "AUTHENTICATION", message: "revoked" });
          return identity;
        },
      },
    );
    isRevoked = true;
    wire.cut();
    ab.main.send(1);
    await world.run(1_000);
    expect(ab.main.ends).toMatchObject([{ code: "AUTHENTICATION", message: /^node b refused this node: revoked$/ }]);
  });
});
