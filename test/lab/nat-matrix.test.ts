// Every kind of router with every other: all are connected, directly where that can be, and the packets show it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missingForNatLab } from "./namespaces.ts";
import { NAT_KINDS } from "./nat.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const BYTES = 256 * 1024;
const KINDS = ["none", ...NAT_KINDS] as const;

/** Sixteen workers share two cores: with shorter limits a path may fall silent for want of time, and another carry the bytes. */
const PATIENT = "";

/** Two of each kind; then those that only some pairs are made of. */
const stands: Record<string, Stand> = {
  none1: { nat: "none" },
  none2: { nat: "none" },
  ...Object.fromEntries(
    NAT_KINDS.flatMap((nat) => [1, 2].map((i) => [nat + i, { nat, router: { letsOut: true, nat } }])),
  ),
  twin1: { nat: "port", router: { letsOut: true } },
  twin2: { nat: "port", beside: "twin1" },
  home1: { nat: "port", router: { letsOut: true, to: "carrier" } },
  home2: { nat: "port", router: { letsOut: true, to: "carrier" } },
  noudp1: { nat: "port", router: { letsOut: "tcp" } },
  noudp2: { nat: "port", router: { letsOut: "tcp" } },
};

const cells = KINDS.flatMap((a, i) => KINDS.slice(i).map((b) => ({ a, b, path: pathOf(a, b) })));

/** Pairs beside the matrix, and what is expected of them. */
const special: [string, string, string, string][] = [
  ["X10 two behind one router: by their own network", "twin1", "twin2", "direct"],
  ["X8 behind two routers, one after the other", "home1", "port1", "punch"],
  ["X8 behind two routers, to nobody's", "home1", "none1", "direct"],
  ["X8 F24 two homes of one carrier that leads nobody back", "home1", "home2", "relay"],
  ["X8 F24 no UDP gets out", "noudp1", "port1", "tcprelay"],
  ["X8 F24 no UDP gets out of either", "noudp1", "noudp2", "tcprelay"],
  ["X8 no UDP gets out, to nobody's", "noudp1", "none1", "direct"],
];

function pathOf(a: string, b: string): string {
  if (a === "none" || b === "none") return "direct";
  return a === "symmetric" && b === "symmetric" ? "relay" : "punch";
}

/** Each of the one kind with each of the other, once. */
function pairsOf(a: string, b: string): [string, string][] {
  if (a === b) return [[`${a}1`, `${a}2`]];
  return [1, 2].flatMap((i) => [1, 2].map((k): [string, string] => [a + i, b + k]));
}

describe.skipIf(missing)(`NAT matrix${missing ? ` (skipped: ${missing})` : ""}`, () => {
  const expected = new Map<string, string>();
  for (const { a, b, path } of cells) for (const pair of pairsOf(a, b)) expected.set(pair.join(" "), path);
  for (const [, a, b, path] of special) expected.set(`${a} ${b}`, path);
  const pairs = [...expected.keys()].map((key) => key.split(" ") as [string, string]);

  let matrix: NatMatrix;
  let paths: Map<string, string>;
  /** Pairs that got wrong bytes. */
  let failed: string[];
  const grown = new Map<string, number>();

  beforeAll(async () => {
    matrix = await NatMatrix.start(stands, { between: { carrier: { letsOut: true } }, config: PATIENT });
    expect(await matrix.talk(BYTES, pairs)).toEqual([]); // both lanes, which may begin by a relay
    paths = await matrix.paths((a, b) => expected.get(`${a} ${b}`) ?? expected.get(`${b} ${a}`)!, pairs);
    const before = count();
    failed = await matrix.talk(BYTES, pairs);
    for (const [key, bytes] of count()) grown.set(key, bytes - before.get(key)!);
  }, 120_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  /** Bytes so far: by "a b" straight between two, by "a" between it and the rendezvous. */
  function count(): Map<string, number> {
    const routed = Object.keys(stands).filter((name) => stands[name]!.router);
    const straight = pairs.filter(([a, b]) => stands[a]!.router || stands[b]!.router);
    return new Map([
      ...straight.map(([a, b]): [string, number] => [`${a} ${b}`, matrix.direct(a, b)]),
      ...routed.map((name): [string, number] => [name, matrix.toCentre(name)]),
    ]);
  }

  function check(a: string, b: string, path: string): void {
    const pair = `${a} ${b}`;
    expect(failed.filter((each) => each === pair)).toEqual([]);
    expect([pair, paths.get(pair), paths.get(`${b} ${a}`)]).toEqual([pair, path, path]);
    if (path.endsWith("relay")) {
      expect(grown.get(pair)).toBeLessThan(BYTES / 10);
      expect([grown.get(a)! > 2 * BYTES, grown.get(b)! > 2 * BYTES]).toEqual([true, true]);
    } else if (grown.has(pair) && !stands[b]!.beside) expect(grown.get(pair)).toBeGreaterThan(2 * BYTES);
  }

  test.each(cells)("X8 F22 F24 $a and $b: $path", ({ a, b, path }) => {
    for (const pair of pairsOf(a, b)) check(...pair, path);
  });

  test.each(special)("%s (%s and %s): %s", (_, a, b, path) => check(a, b, path));

  test("F26 F35 values that go in pieces, over each kind of path", async () => {
    const each: [string, string][] = [
      ["twin1", "twin2"],
      ["port1", "port2"],
      ["symmetric1", "symmetric2"],
      ["noudp1", "port1"],
    ];
    expect(await matrix.talk(3 * 2 ** 20, each)).toEqual([]);
  }, 60_000);
});
