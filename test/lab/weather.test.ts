// Pairs of workers on each kind of path while packets take long, get lost, come twice or overtake each other (bench/weather).
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fateOf, type WeatherSettings } from "../../bench/weather/fate.ts";
import { missingForNatLab } from "./namespaces.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const stands: Record<string, Stand> = {
  none1: { nat: "none" },
  none2: { nat: "none" },
  port1: { nat: "port", router: { letsOut: true } },
  port2: { nat: "port", router: { letsOut: true } },
  symmetric1: { nat: "symmetric", router: { letsOut: true, nat: "symmetric" } },
  symmetric2: { nat: "symmetric", router: { letsOut: true, nat: "symmetric" } },
  noudp1: { nat: "port", router: { letsOut: "tcp" } },
  noudp2: { nat: "port", router: { letsOut: "tcp" } },
};
const PATHS: Record<string, string> = { none1: "direct", port1: "punch", symmetric1: "relay", noudp1: "tcprelay" };
const PAIRS = Object.keys(PATHS).map((name): [string, string] => [name, name.replace("1", "2")]);

/** The weather of one of each pair befalls all that they say to each other. */
const PLACES = ["none1", "port1-router", "symmetric1-router", "noudp1-router"];
const COUNT = 500;
/** Goes in two pieces. */
const VALUE_BYTES = 300_000;

/** Of each pair, one counts into a pipe that the other reads, and sends a value that comes back changed. Prints who did, and how. */
const script = `import { type Spout, pipe, pool } from "mesh";
async function readAll(spout: Spout<number>) {
  const wrong: number[] = [];
  let read = 0;
  for await (const number of spout) if (number !== read++) wrong.push(number);
  return { read, wrong };
}
const turned = (bytes: Uint8Array) => bytes.map((byte, i) => byte ^ (i >>> 8));
async function talk(other: string) {
  const there = pool({ hosts: other });
  const [numbers, spout] = pipe<number>();
  const counted = there.submit(readAll, spout);
  const value = new Uint8Array(${VALUE_BYTES}).map((_, i) => i * 31 + (i >>> 16));
  const back = there.submit(turned, value);
  for (let i = 0; i < ${COUNT}; i++) await numbers.send(i);
  await numbers.close();
  const isExact = Bun.hash(turned(await back)) === Bun.hash(value);
  return { ...(await counted), isExact };
}
const pairs: [string, string][] = ${JSON.stringify(PAIRS)};
const results = pairs.map(async ([a, b]) => [a, await pool({ hosts: a }).submit(talk, b)]);
console.log(JSON.stringify(Object.fromEntries(await Promise.all(results))));`;

test("fateOf chooses by seed, direction and number of the packet, as often as was asked for", () => {
  const settings = { loss: 0.1, duplicates: 0.2, reorder: 0.05, seed: 7 };
  const fates = (direction: number, seed = 7) =>
    Array.from({ length: 10_000 }, (_, i) => fateOf({ ...settings, seed }, direction, i));
  expect(fates(0)).toEqual(fates(0));
  expect([fates(1), fates(0, 8)]).not.toContainEqual(fates(0));
  const share = (prompt: boolean, held: boolean) =>
    fates(0).filter((fate) => fate.prompt === prompt && fate.held === held).length / 10_000;
  expect(share(false, false)).toBeCloseTo(0.1, 1.7);
  expect(share(true, true)).toBeCloseTo(0.2, 1.7);
  expect(share(false, true)).toBeCloseTo(0.05, 1.7);
});

describe.skipIf(missing)(`weather${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let matrix: NatMatrix;
  beforeAll(async () => {
    matrix = await NatMatrix.start(stands, { config: "" });
    for (const name of ["none1", "none2"]) matrix.network.closeTo(name, "DROP"); // of TCP; which leaves them UDP
  }, 60_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  async function weather(settings: WeatherSettings, places = PLACES): Promise<void> {
    for (const place of places) await matrix.network.weather(place, settings);
  }

  test("F22 F24 80 ms of round trip, before anybody has met: all are connected, and directly where that can be", async () => {
    await weather({ delayMs: 40 });
    expect(await matrix.talk(10, PAIRS)).toEqual([]);
    const expected = (a: string) => PATHS[a.replace("2", "1")]!;
    const paths = await matrix.paths(expected, PAIRS);
    for (const [a, b] of PAIRS)
      expect([a, paths.get(`${a} ${b}`), paths.get(`${b} ${a}`)]).toEqual([a, PATHS[a], PATHS[a]]);
    for (const [a, b] of PAIRS)
      await matrix.mesh.nodeIs(a, (node) => (node?.peers.find(({ name }) => name === b)?.rttMs ?? 0) >= 80);
  }, 60_000);

  test.each<WeatherSettings>([
    { loss: 0.01 },
    { loss: 0.05, duplicates: 0.05, reorder: 0.1 },
    { loss: 0.1 },
    { loss: 0.2 },
    { duplicates: 0.2, reorder: 0.2 },
  ])(
    `X6 F23 F26 F35 %j, by udp, a hole, a relay and tcp: all arrives, once and in order`,
    async (settings) => {
      await weather({ delayMs: 2, ...settings });
      const exact = { read: COUNT, wrong: [], isExact: true };
      const results = await matrix.mesh.resultOf(script);
      expect(results).toEqual(Object.fromEntries(PAIRS.map(([a]) => [a, exact])));
    },
    60_000,
  );
});
