import { describe, expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { ROLES, type Role } from "../../core/identity/names.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { rejection, settled } from "../coordinator/support.ts";
import { TestRendezvous } from "./support.ts";

const nobody = (node: number) => `node ${node} has no session with this rendezvous: it cannot be met here now`;

describe("meet (F2, F22)", () => {
  test("two that ask for each other are answered with each other's addresses, one key, and who dials", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a", "head"), rendezvous.join("b")];
    const [ofA, ofB] = await Promise.all([a.meet(b.id, { mapping: "dependent" }), b.meet(a.id, { mapping: "none" })]);
    expect(ofA).toMatchObject({ dials: true, candidates: [`10.0.0.${b.id}:4000`], mapping: "none" });
    expect(ofB).toMatchObject({ dials: false, candidates: [`10.0.0.${a.id}:4000`], mapping: "dependent" });
    expect([ofA.meeting.length, ofA.key.length]).toEqual([8, 32]);
    expect([ofB.meeting, ofB.key]).toEqual([ofA.meeting, ofA.key]);
    expect(rendezvous.metrics).toMatchObject({ met: 1, waiting: 0 });
  });

  test("tells its log once a minute what it did, and nothing while it does nothing", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    clock.advance(60_000);
    expect(rendezvous.told).toEqual([]);
    await Promise.all([a.meet(b.id), b.meet(a.id)]);
    clock.advance(180_000);
    expect(rendezvous.told).toEqual([{ met: 1, relayed: 0, relayedBytes: 0, dropped: 0 }]);
  });

  test("each meeting has a key of its own", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const [first] = await Promise.all([a.meet(b.id), b.meet(a.id)]);
    const [second] = await Promise.all([a.meet(b.id), b.meet(a.id)]);
    expect(second.key).not.toEqual(first.key);
    expect(second.meeting).not.toEqual(first.meeting);
  });

  test("the other is invited, once in a second, and told who it is; three do not mix", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const [a, b, c] = [rendezvous.join("a", "client"), rendezvous.join("b"), rendezvous.join("c")];
    void a.meet(b.id).catch(() => {});
    await settled();
    void a.meet(b.id).catch(() => {});
    await settled();
    expect(b.invitations).toEqual([{ node: a.id, name: "a", role: "client" }]);
    clock.advance(1_000);
    const asked = a.meet(b.id);
    void c.meet(a.id).catch(() => {});
    await settled();
    expect(b.invitations.length).toBe(2);
    expect([a.invitations.length, c.invitations.length]).toEqual([1, 0]);
    await b.meet(a.id);
    expect((await asked).candidates).toEqual([`10.0.0.${b.id}:4000`]);
    expect(rendezvous.metrics.waiting).toBe(1); // c's
  });

  test("one that is not here, or of no mesh, is told of in the same words, at once", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const other = rendezvous.join("rendezvous2", "rendezvous");
    b.leave();
    await settled();
    for (const node of [b.id, 4_000_000, a.id, other.id]) {
      expect(await rejection(a.meet(node))).toMatchObject({ code: "UNREACHABLE", message: nobody(node) });
      expect(await rejection(a.relay(node))).toMatchObject({ code: "UNREACHABLE", message: nobody(node) });
    }
  });

  test("who waits is told after 10 s that the other did not come, and why that may be", async () => {
    const clock = new ManualClock();
    await using rendezvous = await TestRendezvous.start({}, clock);
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const late = rejection(a.meet(b.id));
    await settled();
    clock.advance(9_999);
    await settled();
    expect(rendezvous.metrics.waiting).toBe(1);
    clock.advance(1);
    const error = await late;
    expect(error.code).toBe("TIMEOUT");
    expect(error.message).toMatch(/^b \(node \d+\) did not ask to be met within 10 s: it may be busy/);
    expect(rendezvous.metrics.waiting).toBe(0);
    void b.meet(a.id).catch(() => {});
    await settled();
    expect(rendezvous.metrics.met).toBe(0); // b came after the end
  });

  test("a newer wish takes the place of the same one", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    const first = rejection(a.meet(b.id, { candidates: ["10.9.9.9:1"] }));
    const second = a.meet(b.id, { candidates: ["10.9.9.9:2"] });
    expect(await first).toMatchObject({ code: "CANCELLED" });
    expect((await b.meet(a.id)).candidates).toEqual(["10.9.9.9:2"]);
    await second;
  });

  test("wishes end with the session of either", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b, c] = [rendezvous.join("a"), rendezvous.join("b"), rendezvous.join("c")];
    const waits = rejection(a.meet(b.id));
    void b.meet(c.id).catch(() => {});
    await settled();
    b.leave();
    expect(await waits).toMatchObject({ code: "UNREACHABLE", message: nobody(b.id) });
    expect(rendezvous.metrics.waiting).toBe(0);
  });

  test("limits: wishes of one node, of all, and in a second", async () => {
    const clock = new ManualClock();
    const pairings = { waitingEach: 3, waitingAll: 5, asksEach: 6 };
    await using rendezvous = await TestRendezvous.start({ pairings }, clock);
    const nodes = Array.from({ length: 8 }, (_, i) => rendezvous.join(`n${i}`));
    const [a, b] = [nodes[0]!, nodes[1]!];
    const others = nodes.slice(2);
    for (const other of others.slice(0, 3)) void a.meet(other.id).catch(() => {});
    expect(await rejection(a.meet(others[3]!.id))).toMatchObject({ code: "FULL" });
    void a.meet(others[0]!.id).catch(() => {}); // not one more
    await settled();
    expect(rendezvous.metrics.waiting).toBe(3);
    for (const other of others.slice(0, 2)) void b.meet(other.id).catch(() => {});
    expect(await rejection(b.meet(others[2]!.id))).toMatchObject({ code: "FULL" });
    await rejection(a.meet(others[4]!.id));
    const often = await rejection(a.meet(others[4]!.id));
    expect(often.message).toContain("over 6 times in a second");
    await others[0]!.meet(a.id); // who waits is met all the same
    clock.advance(10_000);
    await settled();
    expect(rendezvous.metrics.waiting).toBe(0);
  });

  test.each([
    ["no node", { node: 0, candidates: [], mapping: "none" }],
    ["33 addresses", { node: 1, candidates: Array(33).fill("10.0.0.1:1"), mapping: "none" }],
    ["a long address", { node: 1, candidates: ["1".repeat(65)], mapping: "none" }],
    ["control characters", { node: 1, candidates: ["10.0.0.1:1\u001b[2J"], mapping: "none" }],
    ["another mapping", { node: 1, candidates: [], mapping: "magic" }],
    ["no body", null],
  ])("a body with %s is refused", async (_, body) => {
    await using rendezvous = await TestRendezvous.start();
    expect(await rejection(rendezvous.join("a").ask(MessageType.meet, body))).toMatchObject({ code: "PROTOCOL" });
  });

  test("a body that is too large is refused unread", async () => {
    await using rendezvous = await TestRendezvous.start();
    const error = await rejection(rendezvous.join("a").ask(MessageType.meet, { node: 1, padding: "x".repeat(20_000) }));
    expect(error).toMatchObject({ code: "FRAME_TOO_LARGE" });
  });

  test.each(["coordinator", "rendezvous"] as const)("%s: serves these roles, and no other", async (role) => {
    await using rendezvous = await TestRendezvous.start({ role });
    const served: Role[] = [];
    for (const each of ROLES) {
      const answer = await rendezvous
        .join(each, each)
        .places()
        .catch((error) => error);
      if (answer instanceof Error) expect(answer).toMatchObject({ code: "AUTHENTICATION" });
      else served.push(each);
    }
    expect(served.sort()).toEqual(["client", "coordinator", "head", "worker"]);
  });

  test("whose session is over is not served, whatever still comes from it", async () => {
    await using rendezvous = await TestRendezvous.start();
    const [a, b] = [rendezvous.join("a"), rendezvous.join("b")];
    rendezvous.forget(a.id);
    for (const asked of [a.places(), a.meet(b.id), a.relay(b.id)]) {
      expect(await rejection(asked)).toMatchObject({ code: "AUTHENTICATION" });
    }
  });
});
