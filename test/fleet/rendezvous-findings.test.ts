import { describe, expect, test } from "vitest";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import { nodePairFindings, type Pair } from "../../core/fleet/mesh-findings.ts";
import { reachFinding } from "../../core/fleet/rendezvous-findings.ts";
import { nodeOf } from "../cmd/fake-mesh.ts";

const addresses = ["tcp://198.51.100.9:7451", "tcp://127.0.0.1:7451", "tcp://[::1]:7451"];
const meet = nodeOf({ name: "meet", node: 20, role: "rendezvous", addresses });

function worker(name: string, state?: "up" | "down", more: Partial<NodeStatus> = {}): NodeStatus {
  const peer = { node: 20, name: "meet", path: "tcp", address: null, rttMs: null, sinceMs: null, why: null };
  return nodeOf({ name, peers: state ? [{ ...peer, state }] : [], ...more });
}

describe("reachFinding: F2 F98", () => {
  test.each<[what: string, nodes: NodeStatus[], expected: object]>([
    ["nobody there", [], { state: "skipped" }],
    ["all reach it", [worker("a", "up"), worker("b", "up")], { state: "ok" }],
    [
      "one that is down does not count",
      [worker("a", "up"), worker("b", undefined, { state: "down" })],
      { state: "ok" },
    ],
    [
      "some do not",
      [worker("a", "up"), worker("b", "down"), worker("c")],
      {
        state: "warning",
        words: "2 of 3 nodes have no session with it: b, c",
        fix: expect.stringMatching(/^let them through to tcp:\/\/198\.51\.100\.9:7451; .* --advertise$/),
      },
    ],
    [
      "many do not",
      Array.from({ length: 8 }, (_, i) => worker(`w${i}`)),
      { words: "8 of 8 nodes have no session with it: w0, w1, w2, w3, w4 and 3 more" },
    ],
  ])("%s", (_, nodes, expected) => {
    expect(reachFinding(meet, [...nodes, meet])).toMatchObject(expected);
  });

  test("of a pair: it has to be dialed; no row on holes, or on routers before it", () => {
    const to = { node: 20, name: "meet", state: "down" as const, path: null, candidates: [], meeting: null };
    const nat = { mapping: "dependent" as const, filtering: "restricted" as const, outside: [], places: 1 };
    const side = (node: NodeStatus, name: string): Pair => ({
      ...{ name: node.name, node, dials: undefined },
      report: { nat, rendezvous: [], to: { ...to, name } },
    });
    const rows = nodePairFindings(side(worker("a", "down"), "meet"), side(meet, "a"));
    expect(rows.map(({ check }) => check)).toEqual(["path", "NAT of a", "reach", "from a", "from meet"]);
    expect(rows[2]).toMatchObject({
      ...{ state: "problem", code: "UNREACHABLE" },
      words: "meet is a rendezvous, which has to be dialed, and a does not get through to it",
    });
  });
});
