import { describe, expect, it } from "vitest";
import type { NodeInfo } from "../../core/coordinator/answers.ts";
import { jobViewOf } from "../../core/member/job-view.ts";

function member(node: number, name: string, more: Partial<NodeInfo> = {}): NodeInfo {
  const machine = { host: "h", slots: 1, cores: 1, arch: "x64", memoryBytes: 1, tags: [] };
  const build = { version: "1", build: "b", addresses: [], since: 0 };
  return { ...machine, ...build, node, name, role: "worker", state: "up", ...more };
}

/** Names with numbers of what a process sees that has sessions with `reached` and uses `used`. */
function seen(members: NodeInfo[], used: number[] = [], reached: number[] = used) {
  const { hosts, nodes } = jobViewOf(members, {
    isReached: (node) => reached.includes(node),
    isUsed: (node) => used.includes(node),
  });
  return {
    hosts: hosts.map(({ node, name, retiring }) => `${name}:${node}${retiring ? " retiring" : ""}`),
    nodes: nodes.map(({ node, name, status }) => `${name}:${node} ${status}`),
  };
}

describe("jobViewOf", () => {
  const old = member(1, "gpu1", { retiring: true });
  const successor = member(2, "gpu1");

  it("F12 workers with slots are hosts, all are nodes; those that are down are no hosts", () => {
    const members = [member(1, "a"), member(2, "b", { role: "head", slots: 0 }), member(3, "c", { state: "down" })];
    expect(seen(members)).toEqual({ hosts: ["a:1"], nodes: ["a:1 up", "b:2 up", "c:3 down"] });
    expect(seen(members, [], [3]).hosts).toEqual(["a:1", "c:3"]);
  });

  it.each([
    ["alone, not used", [old], [], { hosts: [], nodes: [] }],
    ["alone, used", [old], [1], { hosts: ["gpu1:1 retiring"], nodes: ["gpu1:1 up"] }],
    ["with its successor, not used", [old, successor], [], { hosts: ["gpu1:2"], nodes: ["gpu1:2 up"] }],
    ["with its successor, used", [successor, old], [1], { hosts: ["gpu1:2", "gpu1:1 retiring"], nodes: ["gpu1:1 up"] }],
    [
      "lost by the coordinator, used",
      [successor, member(1, "gpu1", { retiring: true, state: "down" })],
      [1],
      { hosts: ["gpu1:2", "gpu1:1 retiring"], nodes: ["gpu1:1 up"] },
    ],
  ] as const)("F96 a worker that retires, %s", (_, members, used, expected) => {
    expect(seen([...members], [...used])).toEqual(expected);
  });
});
