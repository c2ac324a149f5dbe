// Networks whose own addresses do not lead from one to the other: by the routers that lead back, or by the relay.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missingForNatLab } from "./namespaces.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const BYTES = 256 * 1024;

/** The same on both sides, as bridges of containers are, but for the last. */
const bridges = (own: number) => [...Array.from({ length: 12 }, (_, i) => `172.${17 + i}.0.1`), `192.168.1.${own}`];

const stands: Record<string, Stand> = {
  guest1: { nat: "full", router: { letsOut: true, nat: "full", hairpin: true, isolates: true } },
  guest2: { nat: "full", beside: "guest1" },
  apart1: { nat: "port", router: { letsOut: true, isolates: true } },
  apart2: { nat: "port", beside: "apart1" },
  home1: { nat: "port", router: { letsOut: true, to: "carrier" } },
  home2: { nat: "port", router: { letsOut: true, to: "carrier" } },
  many1: { nat: "port", router: { letsOut: true }, bridges: bridges(10) },
  many2: { nat: "port", router: { letsOut: true }, bridges: bridges(11) },
};

const cells: [string, string, string, string][] = [
  ["X10 hosts kept apart behind a router that leads back (hairpin)", "guest1", "guest2", "punch"],
  ["X10 F24 hosts kept apart behind one that does not", "apart1", "apart2", "relay"],
  ["X8 two homes of one carrier that leads back (hairpin)", "home1", "home2", "punch"],
  ["X8 thirteen addresses on each side that lead nowhere, twelve of them the same", "many1", "many2", "punch"],
];

describe.skipIf(missing)(`shapes of networks${missing ? ` (skipped: ${missing})` : ""}`, () => {
  const pairs = cells.map(([, a, b]): [string, string] => [a, b]);
  const expected = new Map(cells.map(([, a, b, path]) => [`${a} ${b}`, path]));
  let matrix: NatMatrix;
  let paths: Map<string, string>;
  let before: [number, number][];
  let after: [number, number][];
  const count = () => pairs.map(([a, b]): [number, number] => [matrix.direct(a, b), matrix.toCentre(a)]);

  beforeAll(async () => {
    const between = { carrier: { letsOut: true, nat: "full", hairpin: true } } as const;
    matrix = await NatMatrix.start(stands, { between, config: "" });
    expect(await matrix.talk(BYTES, pairs)).toEqual([]);
    paths = await matrix.paths((a, b) => (expected.get(`${a} ${b}`) ?? expected.get(`${b} ${a}`))!, pairs);
    before = count();
    expect(await matrix.talk(BYTES, pairs)).toEqual([]);
    after = count();
  }, 100_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  test.each(cells)("%s (%s and %s): %s", (_, a, b, path) => {
    expect([paths.get(`${a} ${b}`), paths.get(`${b} ${a}`)]).toEqual([path, path]);
    const at = pairs.findIndex(([first]) => first === a);
    const [straight, toCentre] = [0, 1].map((i) => after[at]![i]! - before[at]![i]!) as [number, number];
    if (path === "relay") expect([straight < BYTES / 10, toCentre > 2 * BYTES]).toEqual([true, true]);
    else expect(straight).toBeGreaterThan(2 * BYTES);
  });
});
