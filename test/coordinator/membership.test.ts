import { describe, expect, it } from "vitest";
import type { MembershipUpdate, NodeInfo } from "../../core/coordinator/answers.ts";
import { Membership } from "../../core/coordinator/membership.ts";
import { MembershipView } from "../../core/coordinator/membership-view.ts";
import { randomOf } from "../support/random.ts";
import { START } from "./support.ts";

function info(node: number, name = `n${node}`, more: Partial<NodeInfo> = {}): NodeInfo {
  const machine = { host: "h", slots: 1, cores: 1, arch: "x64", memoryBytes: 1, tags: [] };
  const build = { version: "1", build: "b", addresses: [], since: START };
  return { ...machine, ...build, node, name, role: "worker", state: "up", ...more };
}

const live = () => true;
const dead = () => false;

describe("Membership", () => {
  it("F14: a second live node of the same name is refused, naming the first; the first stays", () => {
    const membership = new Membership();
    membership.join(info(1, "gpu1", { host: "rack7" }), live);
    expect(() => membership.join(info(2, "gpu1"), live)).toThrow(
      /the name gpu1 is taken: a worker of that name runs on rack7 since 2026-11-24 12:00:00 UTC; .* mesh kill gpu1/,
    );
    expect([...membership.nodes()].map(({ node }) => node)).toEqual([1]);
  });

  it("F14: a node whose session is gone is replaced by the next of its name, in one update", () => {
    const membership = new Membership();
    membership.join(info(1, "gpu1"), live);
    membership.takeUpdate();
    membership.join(info(2, "gpu1"), dead);
    expect(membership.takeUpdate()).toMatchObject({ version: 2, gone: [1], nodes: [{ node: 2, name: "gpu1" }] });
  });

  it("a node that registers again is a change, not a clash", () => {
    const membership = new Membership();
    membership.join(info(1), live);
    membership.takeUpdate();
    membership.join(info(1, "n1", { slots: 9 }), live);
    expect(membership.takeUpdate()).toMatchObject({ nodes: [{ node: 1, slots: 9 }], gone: [] });
  });

  it("an update holds what changed and nothing else; without news there is none", () => {
    const membership = new Membership();
    for (let node = 1; node <= 100; node++) membership.join(info(node), live);
    expect(membership.takeUpdate()?.nodes).toHaveLength(100);
    expect(membership.takeUpdate()).toBeUndefined();
    membership.leave(7);
    membership.setState(8, "suspect");
    membership.setState(9, "up");
    expect(membership.takeUpdate()).toEqual({
      version: 2,
      settling: true,
      nodes: [],
      gone: [7],
      states: [[8, "suspect"]],
    });
  });

  it("remembers who went down, until they are back, and no more than 256 of them", () => {
    const membership = new Membership();
    for (let node = 1; node <= 300; node++) {
      membership.join(info(node), live);
      membership.leave(node, true);
    }
    expect([...membership.lost()].map(({ name }) => name)).toEqual(Array.from({ length: 256 }, (_, i) => `n${i + 45}`));
    membership.join(info(1_000, "n300"), live);
    expect([...membership.lost()].some(({ name }) => name === "n300")).toBe(false);
  });
});

describe("Membership: nodes that retire", () => {
  const retiring = { retiring: true } as const;

  it("F96: one that retires has no name: the next of that name replaces nobody, and is not replaced by it", () => {
    const membership = new Membership();
    membership.join(info(1, "gpu1"), live);
    membership.join(info(1, "gpu1", retiring), live);
    expect(membership.byName("gpu1")).toBeUndefined();
    membership.takeUpdate();
    membership.join(info(2, "gpu1"), live);
    expect(membership.takeUpdate()).toMatchObject({ gone: [], nodes: [{ node: 2 }] });
    membership.join(info(1, "gpu1", { ...retiring, slots: 9 }), live); // after a restart of the coordinator
    expect(membership.byName("gpu1")?.node).toBe(2);
    expect(membership.named("gpu1").map(({ node }) => node)).toEqual([1, 2]);
    expect(() => membership.join(info(3, "gpu1"), live)).toThrow(/is taken/);
  });

  it("F96: its end is nobody's loss, and leaves the name to who has it", () => {
    const membership = new Membership();
    membership.join(info(1, "gpu1", retiring), live);
    membership.join(info(2, "gpu1"), live);
    membership.leave(1, true);
    expect([...membership.lost()]).toEqual([]);
    expect(membership.byName("gpu1")?.node).toBe(2);
  });

  it("F96: several may retire side by side, and one that was replaced unheard comes back as retiring", () => {
    const membership = new Membership();
    membership.join(info(1, "gpu1", retiring), live);
    membership.join(info(2, "gpu1"), live);
    membership.join(info(3, "gpu1"), dead); // 2 could not be reached when it was told to retire
    expect(membership.get(2)).toBeUndefined();
    membership.join(info(2, "gpu1", retiring), live);
    expect(membership.named("gpu1").map(({ node }) => node)).toEqual([1, 3, 2]);
    expect(membership.byName("gpu1")?.node).toBe(3);
  });
});

describe("MembershipView", () => {
  const update = (version: number, more: Partial<MembershipUpdate> = {}): MembershipUpdate => {
    return { version, nodes: [], gone: [], states: [], ...more };
  };

  it("F12: tells who came online, changed and went offline", () => {
    const view = new MembershipView();
    const kinds = (changes: ReturnType<MembershipView["apply"]>) =>
      changes?.map(({ kind, node }) => `${node.name} ${kind}`);
    expect(kinds(view.apply(16, update(1, { full: true, nodes: [info(1), info(2)] })))).toEqual([
      "n1 online",
      "n2 online",
    ]);
    expect(kinds(view.apply(16, update(2, { nodes: [info(2), info(3)], states: [[1, "suspect"]] })))).toEqual([
      "n3 online",
      "n1 changed",
    ]);
    expect(kinds(view.apply(16, update(3, { gone: [1], nodes: [info(4, "n3")] })))).toEqual([
      "n1 offline",
      "n3 offline",
      "n3 online",
    ]);
    expect(view.byName("n3")?.node).toBe(4);
  });

  it("F96: a node that retires stays when another comes under its name", () => {
    const view = new MembershipView();
    const kinds = (changes: ReturnType<MembershipView["apply"]>) =>
      changes?.map(({ kind, node }) => `${node.node} ${kind}`);
    view.apply(16, update(1, { full: true, nodes: [info(1, "gpu1")] }));
    expect(kinds(view.apply(16, update(2, { nodes: [info(1, "gpu1", { retiring: true })] })))).toEqual(["1 changed"]);
    expect(kinds(view.apply(16, update(3, { nodes: [info(2, "gpu1")] })))).toEqual(["2 online"]);
    expect(view.byName("gpu1")?.node).toBe(2);
    expect(kinds(view.apply(16, update(4, { gone: [1] })))).toEqual(["1 offline"]);
    expect(view.byName("gpu1")?.node).toBe(2);
  });

  it("F96: that it retires may be heard from the node itself before the coordinator knows", () => {
    const view = new MembershipView();
    view.apply(16, update(1, { full: true, nodes: [info(1, "gpu1")] }));
    expect(view.retire(1)).toMatchObject([{ kind: "changed", node: { retiring: true } }]);
    expect([view.retire(1), view.retire(9)]).toEqual([[], []]);
    const [lost, next] = view.apply(16, update(2, { gone: [1], nodes: [info(2, "gpu1")] }))!;
    expect(lost).toMatchObject({ kind: "offline", node: { node: 1, retiring: true } });
    expect(next).toMatchObject({ kind: "online", node: { node: 2 } });
  });

  it("F15: a missing version is not papered over; the full view heals it, and what is old is ignored", () => {
    const view = new MembershipView();
    view.apply(16, update(1, { full: true, nodes: [info(1)] }));
    expect(view.apply(16, update(3, { nodes: [info(3)] }))).toBeUndefined();
    expect(view.nodes()).toHaveLength(1);
    view.apply(16, update(4, { full: true, nodes: [info(1), info(2), info(3)] }));
    expect(view.apply(16, update(3, { gone: [1] }))).toEqual([]);
    expect(view.apply(16, update(2, { full: true, nodes: [] }))).toEqual([]);
    expect(view.nodes()).toHaveLength(3);
  });

  it("X3: who a coordinator that has just started does not list yet stays, until it has settled", () => {
    const view = new MembershipView();
    view.apply(16, update(9, { full: true, nodes: [info(1), info(2)] }));
    expect(view.apply(17, update(1, { full: true, settling: true, nodes: [info(1)] }))).toEqual([]);
    expect(view.nodes()).toHaveLength(2);
    expect(view.apply(17, update(2, { settling: true, nodes: [info(3)] }))).toHaveLength(1);
    expect(view.apply(17, update(3))).toMatchObject([{ kind: "offline", node: { name: "n2" } }]);
    expect(view.nodes().map(({ node }) => node)).toEqual([1, 3]);
  });

  it("X3: a node that comes back within that time was never away", () => {
    const view = new MembershipView();
    view.apply(16, update(9, { full: true, nodes: [info(1)] }));
    view.apply(17, update(1, { full: true, settling: true, nodes: [] }));
    expect(view.apply(17, update(2, { settling: true, nodes: [info(1)] }))).toEqual([]);
    expect(view.apply(17, update(3))).toEqual([]);
  });

  it("another coordinator's changes are worth nothing before its full view", () => {
    const view = new MembershipView();
    view.apply(16, update(1, { full: true, nodes: [info(1)] }));
    expect(view.apply(17, update(2, { gone: [1] }))).toBeUndefined();
  });

  it.each([1, 2, 3])(
    "F15: after any changes and any loss of updates, asking once makes it whole again (seed %d)",
    (seed) => {
      const random = randomOf(seed);
      const membership = new Membership();
      const view = new MembershipView();
      view.apply(16, membership.full());
      let node = 0;
      for (let step = 0; step < 400; step++) {
        const name = `n${Math.floor(random() * 20)}`;
        const known = membership.byName(name);
        if (!known || random() < 0.3) membership.join(info(++node, name), dead);
        else if (random() < 0.2) membership.join({ ...known, retiring: true }, dead);
        else if (random() < 0.5) membership.leave(known.node);
        else membership.setState(known.node, random() < 0.5 ? "suspect" : "up");
        const news = random() < 0.5 ? membership.takeUpdate() : undefined;
        if (!news || random() < 0.2) continue; // not told yet, or lost on the way
        if (!view.apply(16, news)) view.apply(16, membership.full());
      }
      membership.settle();
      membership.takeUpdate();
      view.apply(16, membership.full());
      const byNode = (nodes: Iterable<NodeInfo>) => [...nodes].sort((a, b) => a.node - b.node);
      expect(byNode(view.nodes())).toEqual(byNode(membership.nodes()));
      for (const { node: each, name, retiring } of view.nodes()) {
        expect(view.byName(name)?.node === each).toBe(!retiring);
      }
    },
  );
});
