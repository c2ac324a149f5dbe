import { describe, expect, test } from "vitest";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import { memberFinding, type Pair, pairFindings } from "../../core/fleet/mesh-findings.ts";
import type { Finding } from "../../core/provider.ts";

const BUILD = "1.0 (abc)";

function pathOf(kind: string, rttMs: number | null) {
  return { kind, address: null, rttMs, sinceMs: null, why: null };
}

function node(name: string, more: Partial<NodeStatus> = {}): NodeStatus {
  const path = pathOf("tcp", 0.42);
  const own = { version: "1.0", build: "abc", slots: 8, used: 2, addresses: [`tcp://${name}:1`], peers: [] };
  return { name, role: "worker", state: "up", path, ...own, ...more } as unknown as NodeStatus;
}

describe("memberFinding: F98 F96", () => {
  test.each<[what: string, node: NodeStatus | undefined, hasWorker: boolean, expected: Partial<Finding>]>([
    [
      "up",
      node("a"),
      true,
      { state: "ok", words: "up, reached directly, over TCP, round trip 0.42 ms, 2 of 8 slots used" },
    ],
    [
      "not measured yet",
      node("a", { path: pathOf("tcp", null) }),
      true,
      { state: "ok", words: "up, reached directly, over TCP, 2 of 8 slots used" },
    ],
    ["another build", node("a", { build: "old" }), true, { state: "warning", fix: "mesh up a" }],
    ["suspect", node("a", { state: "suspect" }), true, { state: "warning" }],
    ["lost", node("a", { state: "down" }), false, { state: "problem", code: "UNREACHABLE" }],
    ["nowhere", undefined, false, { state: "skipped" }],
    ["running, but not in the mesh", undefined, true, { state: "problem", code: "UNREACHABLE" }],
  ])("%s", (_, of, hasWorker, expected) => {
    expect(memberFinding("a", of, { build: BUILD, hasWorker })).toMatchObject(expected);
  });
});

describe("pairFindings: F98 F93", () => {
  const pair = (name: string, dials?: boolean, peer?: string): Pair => {
    const peers = peer
      ? [
          {
            node: 1,
            name: name === "a" ? "b" : "a",
            ...{ state: "up" as const, path: peer, address: null, rttMs: 0.3, sinceMs: null, why: null },
          },
        ]
      : [];
    return { name, node: node(name, { peers }), dials };
  };
  const path = (a: Pair, b: Pair) => pairFindings(a, b)[0]!;

  test.each<[what: string, a: Pair, b: Pair, expected: Partial<Finding>]>([
    [
      "a session, either way",
      pair("a", true, "tcp"),
      pair("b", true),
      { state: "ok", words: "directly, over TCP, round trip 0.30 ms: each can dial the other" },
    ],
    [
      "told by the other side alone",
      pair("a", false),
      pair("b", true, "tcp"),
      { words: expect.stringMatching(/: b dials a$/) },
    ],
    [
      "through a tunnel",
      pair("a", false, "ssh"),
      pair("b", false),
      { state: "ok", words: expect.stringContaining("through a tunnel over SSH") },
    ],
    [
      "none yet, but possible",
      pair("a", false),
      pair("b", true),
      { state: "ok", words: expect.stringContaining("none yet") },
    ],
    [
      "none, and impossible",
      pair("a", false),
      pair("b", false),
      { state: "problem", code: "UNREACHABLE", fix: expect.stringContaining("mesh up a b") },
    ],
    ["none, and nothing known", pair("a"), pair("b", false), { state: "skipped" }],
    [
      "one of them not there",
      { ...pair("a"), node: undefined },
      pair("b"),
      { state: "problem", words: "a is not in the mesh", fix: expect.stringContaining("`mesh up a`;") },
    ],
  ])("%s", (_, a, b, expected) => {
    expect(path(a, b)).toMatchObject(expected);
  });

  test("one that cannot dial is a warning only when the other cannot either", () => {
    const states = (a: Pair, b: Pair) =>
      pairFindings(a, b)
        .slice(1)
        .map(({ check, state }) => `${check}: ${state}`);
    expect(states(pair("a", false), pair("b", true))).toEqual(["a to b: ok", "b to a: ok"]);
    expect(states(pair("a", false), pair("b", false))).toEqual(["a to b: warning", "b to a: warning"]);
    expect(states(pair("a"), pair("b", true))).toEqual(["a to b: skipped", "b to a: ok"]);
  });
});
