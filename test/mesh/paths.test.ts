// What a mesh of real processes tells of how its nodes reach each other.
import { describe, expect, test } from "vitest";
import type { Finding } from "../../core/provider.ts";
import { TestMesh } from "../support/test-mesh.ts";

const COUNT = `import { pool } from "mesh";
console.log(JSON.stringify(await pool().map((i: number) => i, [1, 2])));`;

describe("paths", () => {
  test("F93 F98 mesh doctor --path asks both nodes, which meet for it; status --peers shows the pair since then", async () => {
    await using mesh = await TestMesh.start();
    const before = (await mesh.status()).nodes.find(({ name }) => name === "w1")!;
    expect(before.peers.filter(({ name }) => name === "w2")).toEqual([]);
    const { status, stdout, stderr } = await mesh.mesh(["doctor", "--path", "w1", "w2", "--json"]);
    expect(status, stderr).toBe(0);
    const { between, pair } = JSON.parse(stdout) as { between: string[]; pair: Finding[] };
    expect(between).toEqual(["w1", "w2"]);
    expect(pair.map(({ check, state }) => `${check}: ${state}`)).toEqual([
      "path: ok",
      "NAT of w1: skipped",
      "NAT of w2: skipped",
    ]);
    expect(pair[0]!.words).toMatch(/^directly, over TCP \(tcp:\/\/127\.0\.0\.1:\d+\).*, for \d+ s$/);
    expect(pair[1]!.words).toContain("on the same machine");
    const short = await mesh.mesh(["doctor", "w1", "w2", "--json"]);
    expect((JSON.parse(short.stdout) as { pair: Finding[] }).pair.map(({ check }) => check)).toEqual(
      pair.map(({ check }) => check),
    );
    const isShown = (node: typeof before | undefined) =>
      node?.peers.some(({ name, rttMs }) => name === "w2" && rttMs !== null) ?? false;
    await mesh.nodeIs("w1", isShown);
    const shown = await mesh.mesh(["status", "--peers", "w1"]);
    expect(shown.stdout).toMatch(/^FROM +TO +STATE +PATH +RTT +FOR +ADDRESS\n/);
    expect(shown.stdout).toMatch(/^w1 +w2 +up +tcp +[\d.]+ms +\d+s +tcp:\/\/127\.0\.0\.1:\d+$/m);
    expect(shown.stdout).toMatch(/^w1 +coordinator +up +tcp +[\d.]+ms .*tcp:/m);
    expect(await mesh.resultOf(COUNT)).toEqual([1, 2]);
  }, 60_000);

  test("F98 mesh doctor --path: also of the coordinator and of one that is lost; wrong names are told, 2", async () => {
    await using mesh = await TestMesh.start({
      workers: { w1: 1 },
      config: '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\n',
    });
    const own = await mesh.mesh(["doctor", "--path", "coordinator", "w1"]);
    expect([own.status, own.stderr]).toEqual([0, ""]);
    expect(own.stdout).toMatch(/^coordinator and w1\n {2}ok {7}path +directly, over TCP /);
    for (const [words, told] of [
      [["w1"], "--path wants the names of two nodes"],
      [["w1", "w1"], "--path wants the names of two nodes"],
      [["w1", "w2"], 'there is no node "w2" in the mesh; did you mean "w1"?'],
    ] as const) {
      const { status, stderr } = await mesh.mesh(["doctor", "--path", ...words]);
      expect([status, stderr]).toEqual([2, expect.stringContaining(told)]);
    }
    mesh.worker("w1").signal("SIGKILL");
    await mesh.nodeIs("w1", (node) => node?.state === "down");
    const lost = await mesh.mesh(["doctor", "--path", "coordinator", "w1"]);
    expect(lost.status).toBe(5);
    expect(lost.stdout).toMatch(/PROBLEM {2}path {2}w1 is down: it was lost\n +fix: `mesh up w1`/);
  }, 60_000);

  test("F98 mesh doctor NODE that joined by itself: what the mesh says of it, and no login is tried", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1, w2: 1 } });
    const { status, stdout } = await mesh.mesh(["doctor", "w1", "--json"]);
    const { hosts, mesh: nodes } = JSON.parse(stdout) as {
      hosts: unknown[];
      mesh: { name: string; findings: Finding[] }[];
    };
    expect([status, hosts, nodes.map(({ name }) => name)]).toEqual([0, [], ["w1"]]);
    expect(nodes[0]!.findings.map(({ check, state }) => [check, state])).toEqual([
      ["mesh", "ok"],
      ["NAT", "skipped"],
    ]);
    const all = JSON.parse((await mesh.mesh(["doctor", "--json"])).stdout) as { mesh: { name: string }[] };
    expect(all.mesh.map(({ name }) => name)).toEqual(["w1", "w2"]);
  }, 60_000);

  test("F25 F98 mesh doctor of this machine tells of the routers before it", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const { stdout } = await mesh.mesh(["doctor", "--json"]);
    const { here } = JSON.parse(stdout) as { here: Finding[] };
    expect(here.find(({ check }) => check === "NAT")).toMatchObject({
      state: "skipped",
      words: "not known: the rendezvous is on the same machine, or tells too little",
    });
  });
});
