import { describe, expect, test } from "vitest";
import type { NatReport, PairReport, PathReport } from "../../core/coordinator/path-report.ts";
import { MeshError } from "../../core/errors.ts";
import { nodePairFindings, type Pair } from "../../core/fleet/mesh-findings.ts";
import { natFinding } from "../../core/fleet/path-findings.ts";
import type { Finding } from "../../core/provider.ts";

function nat(mapping: NatReport["mapping"], more: Partial<NatReport> = {}): NatReport {
  return { mapping, filtering: "restricted", outside: ["198.51.100.7:4000"], places: 1, ...more };
}

function report(mapping: NatReport["mapping"], to: Partial<PairReport> = {}, rendezvous = ["coordinator"]): PathReport {
  return {
    ...{ nat: nat(mapping), rendezvous },
    to: { node: 1, name: "other", state: "up", path: null, candidates: [], meeting: null, ...to },
  };
}

const AWAY = new MeshError("TIMEOUT", "it said nothing");
const RELAY: PairReport["path"] = { kind: "relay", address: "relay://198.51.100.1:9", rttMs: 12, sinceMs: 5_000 };

function side(name: string, said: PathReport | Error, addresses = ["tcp://10.0.0.5:1", "udp://10.0.0.5:1"]): Pair {
  const node = { name, state: "up", peers: [], addresses } as unknown as Pair["node"];
  return { name, node, dials: undefined, report: said };
}

function found(a: PathReport | Error, b: PathReport | Error): Record<string, Finding> {
  return Object.fromEntries(nodePairFindings(side("a", a), side("b", b)).map((finding) => [finding.check, finding]));
}

describe("natFinding: F25 F98", () => {
  test.each<[what: string, report: Parameters<typeof natFinding>[0], expected: Partial<Finding>]>([
    ["no NAT", report("none"), { state: "ok", words: expect.stringMatching(/^none: .*restricted|^none: /) }],
    [
      "one port outside",
      report("independent"),
      { state: "ok", words: expect.stringMatching(/endpoint-independent\).*; seen as 198\.51\.100\.7:4000$/) },
    ],
    ["another port for each", report("dependent"), { state: "ok", words: expect.stringContaining("symmetric") }],
    ["no UDP", report("blocked"), { state: "warning", fix: "let UDP out of its network" }],
    [
      "nobody to ask",
      { nat: nat("unknown", { places: 0 }) },
      { state: "skipped", words: "not known: no rendezvous that answers over UDP was reached" },
    ],
    ["asked on this machine", { nat: nat("unknown") }, { state: "skipped" }],
    ["no port", { nat: null }, { state: "warning", words: "not known: it could open no UDP port" }],
    ["not asked", AWAY, { state: "skipped", words: "not known: it said nothing" }],
  ])("%s", (_, of, expected) => {
    expect(natFinding(of)).toMatchObject(expected);
  });
});

describe("nodePairFindings: F98 F93", () => {
  test("a direct path needs no explanation", () => {
    const path = { kind: "udp", address: "udp://10.0.0.5:7450", sinceMs: 5_000 };
    const rows = nodePairFindings(side("a", report("none", { path })), side("b", report("none", { path })));
    expect(rows.map(({ check }) => check)).toEqual(["path", "NAT of a", "NAT of b"]);
    expect(rows[0]).toMatchObject({ state: "ok", words: "directly, over UDP (udp://10.0.0.5:7450), for 5 s" });
  });

  test("both routers symmetric: relayed, and what to do about it", () => {
    const { path, hole, rendezvous } = found(report("dependent", { path: RELAY }), report("dependent"));
    expect(path).toMatchObject({
      state: "ok",
      words: expect.stringMatching(/^relayed .*, round trip 12 ms, for 5 s: no better way was found; why/),
    });
    expect(hole).toMatchObject({
      state: "warning",
      words: expect.stringMatching(/^the routers of both .*\(symmetric NAT\).*: no hole can be made$/),
      fix: expect.stringMatching(/^forward a UDP port .* --advertise .*; or put both on one network/),
    });
    expect(rendezvous).toMatchObject({ state: "ok", words: "both reach coordinator" });
  });

  test("no path at all is a problem, with what each has tried", () => {
    const candidates = [
      { address: "tcp://10.0.0.5:1", failed: { agoMs: 3_000, error: "refused: nothing listens there" } },
      { address: "udp://10.0.0.5:1" },
    ];
    const meeting = { agoMs: 300_000, words: "nothing came from it" };
    const down = report("independent", { state: "down", candidates, meeting }, ["vps"]);
    const rows = found(down, report("independent", { state: "none" }, ["coordinator"]));
    expect(rows.path).toMatchObject({ state: "problem", code: "UNREACHABLE" });
    expect(rows.hole).toMatchObject({ state: "problem", fix: expect.stringContaining("start a rendezvous") });
    expect(rows.rendezvous).toMatchObject({ state: "warning", words: "none that both reach" });
    expect(rows["from a"]!.words.split("\n")).toEqual([
      "tcp://10.0.0.5:1: refused: nothing listens there (3 s ago)",
      "udp://10.0.0.5:1: not tried to the end",
      "hole: nothing came from it (5 min ago)",
    ]);
    expect(rows["from b"]!.words).toBe("no address of other is known there");
  });

  test("a relay that the rendezvous refuses is a problem of its own, unless there is a path", () => {
    const notRelayed = "this rendezvous relays as many pairs as it may (1), and takes no more: raise relayPairs";
    const asked = report("dependent", { state: "down", meeting: { agoMs: 1_000, words: "symmetric", notRelayed } });
    const { relay } = found(report("dependent", { state: "down" }), asked);
    expect(relay).toMatchObject({ state: "problem", code: "UNREACHABLE", words: notRelayed });
    expect(found(report("dependent", { path: RELAY }), asked).relay).toBeUndefined();
  });

  test("UDP blocked before one; one that is the rendezvous itself; an address that only the other side knows", () => {
    const spliced = { kind: "tcprelay", sinceMs: 1_000 };
    const dialed = { ...spliced, address: "tcprelay://198.51.100.1:9" };
    const rows = found(report("blocked", { path: spliced }, ["b"]), report("none", { path: dialed }, []));
    expect(rows.path!.words).toContain("over TCP (tcprelay://198.51.100.1:9)");
    expect(rows.hole).toMatchObject({ fix: "let UDP out of the network of a" });
    expect(rows.rendezvous!.words).toBe("both reach b");
  });

  test("one that does not listen on UDP: mesh.toml is why, not a router", () => {
    const path = { kind: "tcprelay", sinceMs: 1_000 };
    const said = report("unknown", { path, meeting: { agoMs: 1_000, words: "this node does not listen on UDP" } });
    const rows = nodePairFindings(side("a", said, ["tcp://10.0.0.5:1"]), side("b", report("none", { path })));
    const hole = rows.find(({ check }) => check === "hole");
    expect(hole).toMatchObject({
      words: expect.stringMatching(/^a does not listen on UDP: no hole/),
      state: "warning",
    });
    expect(hole!.fix).toContain("`transports` of [mesh]");
  });

  test("a hole is as good as it gets where nobody can be dialed: no row on holes, no warning", () => {
    const path = { kind: "punch", address: "punch://198.51.100.7:4000", sinceMs: 1_000 };
    const rows = nodePairFindings(side("a", report("dependent", { path })), side("b", report("none", { path })));
    expect(rows.filter(({ state }) => state !== "ok")).toEqual([]);
    expect(rows.map(({ check }) => check)).not.toContain("hole");
  });

  test("one that cannot be asked hides nothing of the other; both: it is not known", () => {
    const rows = found(AWAY, report("independent", { path: RELAY }));
    expect(rows.path!.words).toMatch(/^relayed/);
    expect(rows["from a"]).toMatchObject({ state: "skipped", words: "could not be asked: it said nothing" });
    expect(found(AWAY, AWAY).path).toMatchObject({ state: "skipped" });
  });
});
