// Where those behind routers meet: two rendezvous, of which one is killed; routers between which no hole can be made though it seems so.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { DESK, jsonOf, QUICK } from "./lab-mesh.ts";
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
    const config = `${QUICK}[rendezvous]\nrelayRate = "1M"\n`;
    matrix = await NatMatrix.start({ ...stands, polite1: polite, polite2: polite }, { config });
  }, 60_000);
  afterAll(async () => {
    await matrix?.[Symbol.asyncDispose]();
  });

  test("F2 F24 F98 two symmetric routers: relayed, no faster than relayRate, and counted; doctor says why, and what to do", async () => {
    const { mesh } = matrix;
    const bytes = 1 << 20;
    expect(await matrix.talk(bytes, [["symmetric1", "symmetric2"]])).toEqual([]);
    await mesh.nodeIs("coordinator", (node) => (node?.rendezvous?.bytes ?? 0) > 2 * bytes);
    const { nodes } = await mesh.status();
    const { introduced, relays, overQuota, pairs } = nodes.find(({ role }) => role === "coordinator")!.rendezvous!;
    expect([introduced, relays, overQuota].map((count) => count > 0)).toEqual([true, true, true]);
    expect(pairs.map(({ between }) => between.toSorted())).toContainEqual(["symmetric1", "symmetric2"]);
    const peer = nodes.find(({ name }) => name === "symmetric1")?.peers.find(({ name }) => name === "symmetric2");
    expect([peer?.state, peer?.path]).toEqual(["up", "relay"]);
    const shown = await mesh.succeed(DESK, ["status", "--peers", "symmetric1"]);
    expect(shown.stdout).toMatch(/^symmetric1 +symmetric2 +up +relay .* \d\.\dM +relay:/m);

    const { status, stdout } = await mesh.mesh(DESK, ["doctor", "--path", "symmetric1", "symmetric2"]);
    const found = stdout.replaceAll(/\n +/g, "\n");
    expect([status, found]).toEqual([
      0,
      expect.stringContaining("\nok       path               relayed by a rendezvous, over UDP"),
    ]);
    expect(found.match(/^ok +NAT of symmetric[12] +UDP .* symmetric\)/gm)).toHaveLength(2);
    expect(found).toMatch(
      /^warning +hole +the routers of both .* \(symmetric NAT\).*: no hole can be made\nfix: forward a UDP port/m,
    );
    expect(found).toMatch(/^ok +rendezvous +both reach coordinator$/m);
  }, 60_000);

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
