// Where those behind routers meet: two rendezvous, of which one is killed; routers between which no hole can be made though it seems so.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { jsonOf } from "./lab-mesh.ts";
import { missingForNatLab } from "./namespaces.ts";
import { NatMatrix, type Stand } from "./nat-matrix.ts";

const missing = missingForNatLab();
const symmetric: Stand = { nat: "symmetric", router: { letsOut: true, nat: "symmetric" } };
const polite: Stand = { nat: "port", router: { letsOut: true, answersStrangers: true } };
const CALLS = 160;

/** On the first, calls the second so often, one call every 50 ms; prints what came back. */
const calls = (from: string, to: string) => `import { pool } from "mesh";
const answers = await pool({ hosts: "${from}" }).submit(async () => {
  const there = pool({ hosts: "${to}" });
  const got: number[] = [];
  for (let i = 0; i < ${CALLS}; i++) {
    got.push(await there.submit((n: number) => n * 2, i));
    console.log("call " + i);
    await Bun.sleep(50);
  }
  return got;
});
console.log(JSON.stringify(answers));`;

describe.skipIf(missing)(`rendezvous${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let matrix: NatMatrix;

  beforeAll(async () => {
    const stands = { meet: { nat: "none" as const }, symmetric1: symmetric, symmetric2: symmetric };
    matrix = await NatMatrix.start({ ...stands, polite1: polite, polite2: polite });
  }, 60_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  test("X9 routers that remember a stranger's packet, and give its port away: connected all the same", async () => {
    expect(await matrix.talk(1_000, [["polite1", "polite2"]])).toEqual([]);
    const [path] = (await matrix.paths((a) => (a === "" ? "" : "relay"), [["polite1", "polite2"]], 2_000)).values();
    expect(["relay", "punch"]).toContain(path);
  }, 60_000);

  test("X11 F2 F24 of two rendezvous the one that relays is killed in the middle of a job: the other does", async () => {
    const { mesh } = matrix;
    const env = { MESH_TOKEN: await mesh.token("rendezvous") };
    await using meet = mesh.start("meet", ["rendezvous", "--join", mesh.address], { env });
    await meet.prints(/ ready /, "stderr");
    await using run = mesh.run(calls("symmetric1", "symmetric2"));
    await run.prints(/^call 5$/m);
    const carrier = async () => {
      const { nodes } = await mesh.status();
      const peers = nodes.find(({ name }) => name === "symmetric1")?.peers ?? [];
      const peer = peers.find(({ name, state }) => name === "symmetric2" && state === "up");
      return peer?.path === "relay" ? (peer.address ?? undefined) : undefined;
    };
    await until(async () => (await carrier()) !== undefined, { what: "the two to be relayed" });
    const first = (await carrier())!;
    const isOfMeet = first.includes(`//${matrix.network.address("meet")}:`);
    const killed = isOfMeet ? meet : mesh.coordinator;
    killed.signal("SIGKILL");
    await killed.ended();
    if (!isOfMeet) await mesh.startCoordinator();
    expect(await jsonOf(run)).toEqual(Array.from({ length: CALLS }, (_, i) => i * 2));
    await until(async () => ![undefined, first].includes(await carrier()), { what: "another relay to be told of" });
    meet.signal("SIGTERM");
    await meet.ended();
  }, 90_000);
});
