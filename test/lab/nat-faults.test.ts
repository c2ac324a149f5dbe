// What goes wrong between nodes behind routers, in one mesh: the work goes on, by whatever way is left.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf } from "./lab-mesh.ts";
import { missingForNatLab } from "./namespaces.ts";
import type { NatKind } from "./nat.ts";
import { NatMesh } from "./nat-mesh.ts";
import { Network } from "./network.ts";

const missing = missingForNatLab();
const DIRECT = ["tcp", "udp"];

/** Sends so many tasks from one worker to another, one every 50 ms; prints what came back. */
const talk = (from: string, to: string, count: number) => `import { pool, self } from "mesh";
const [from, to, count] = ${JSON.stringify([from, to, count])};
const [answers] = await pool({ hosts: [from as string] }).apply(async () => {
  const there = pool({ hosts: [to as string] });
  const got: string[] = [];
  for (let i = 0; i < (count as number); i++) {
    got.push(...(await there.map((n: number) => self.node + n, [i])));
    console.error("round " + i);
    await Bun.sleep(50);
  }
  return got;
});
console.log(JSON.stringify(answers));`;
const MIB = 2 ** 20;
/** 3 MiB from one to the other, and how many came: more than goes in one piece beside small messages. */
const LARGE = (from: string, to: string) => `import { pool } from "mesh";
const to = ${JSON.stringify(to)};
const [size] = await pool({ hosts: [${JSON.stringify(from)}] }).apply(async () => {
  const bytes = new Uint8Array(${3 * MIB}).fill(7);
  const [sum] = await pool({ hosts: [to] }).map((data: Uint8Array) => data.reduce((a, b) => a + b, 0) / 7, [bytes]);
  return sum;
});
console.log(JSON.stringify(size));`;
const answersOf = (to: string, count: number) => Array.from({ length: count }, (_, i) => `${to}${i}`);

/** Segment -> its hosts and its router. */
const SEGMENTS: Record<
  string,
  { hosts: string[]; nat?: NatKind; to?: string; letsOut?: "tcp"; answersStrangers?: true }
> = {
  home: { hosts: ["t1", "t2"] },
  office: { hosts: ["p1"] },
  flat: { hosts: ["p2"] },
  street: { hosts: [] },
  attic: { hosts: ["d1"], to: "street" },
  cellar: { hosts: ["d2"], to: "street" },
  bank: { hosts: ["u1"], letsOut: "tcp" },
  north: { hosts: ["s1"], nat: "symmetric" },
  south: { hosts: ["s2"], nat: "symmetric" },
  polite1: { hosts: ["q1"], answersStrangers: true },
  polite2: { hosts: ["q2"], answersStrangers: true },
};

function networkOf(): Network {
  const network = new Network();
  for (const name of [CENTRE, DESK, "meet"]) network.addNode(name);
  for (const name of Object.keys(SEGMENTS)) network.addSegment(name);
  for (const [name, { hosts }] of Object.entries(SEGMENTS)) for (const host of hosts) network.addNode(host, [name]);
  for (const [name, { hosts: _, letsOut = true, ...router }] of Object.entries(SEGMENTS)) {
    network.addRouter(name, { letsOut, ...router });
  }
  return network;
}

describe.skipIf(missing)(`behind routers${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let mesh: NatMesh;

  beforeAll(async () => {
    const workers = Object.values(SEGMENTS).flatMap(({ hosts }) => hosts);
    mesh = await NatMesh.start(networkOf(), { workers });
  }, 60_000);

  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
  }, 60_000);

  test.each([
    ["X10 two of one network, by their addresses inside", "t1", "t2", DIRECT],
    ["F22 a router behind a router", "d1", "p1", ["punch"]],
    ["F24 two networks behind one router that leads nothing back in", "d1", "d2", ["relay"]],
    ["F93 one whose router lets no UDP out: TCP through the rendezvous", "u1", "p1", ["tcprelay"]],
    ["X9 routers that answer strangers, and take a port for it that the other needs", "q1", "q2", ["relay", "punch"]],
  ])(
    "%s",
    async (_, from, to, kinds) => {
      expect(await mesh.resultOf(talk(from, to, 1))).toEqual(answersOf(to, 1));
      await mesh.isReachedBy(from, to, kinds);
      expect(await mesh.resultOf(LARGE(from, to))).toBe(3 * MIB);
    },
    60_000,
  );

  test("X7 the routers forget all they knew in the middle of a job, and use other ports from then on", async () => {
    const { network } = mesh;
    await using run = mesh.run(talk("p1", "p2", 80));
    await run.prints(/round 20\n/, "stderr");
    await mesh.isReachedBy("p1", "p2", ["punch"]);
    for (const segment of ["office", "flat"]) {
      const ports = ["-p", "udp", "-j", "MASQUERADE", "--to-ports", "20000-20999"];
      network.inside(`${segment}-router`, "iptables", "-w", "-t", "nat", "-I", "POSTROUTING", ...ports);
      network.inside(`${segment}-router`, "conntrack", "-F");
    }
    expect(await jsonOf(run)).toEqual(answersOf("p2", 80));
    await mesh.isReachedBy("p1", "p2", ["punch"]);
  }, 60_000);

  test("F22 routers that forget a quiet flow after 5 s: none is quiet that long", async () => {
    for (const segment of ["office", "flat"]) {
      for (const name of ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"]) {
        mesh.network.inside(`${segment}-router`, "sh", "-c", `echo 5 > /proc/sys/net/netfilter/${name}`);
      }
    }
    expect(await mesh.resultOf(talk("p1", "p2", 140))).toEqual(answersOf("p2", 140));
    const path = await mesh.path("p1", "p2");
    expect(path).toMatchObject({ path: "punch", state: "up" });
  }, 60_000);

  test("X11 X3 the rendezvous is killed (kill -9) in the middle of a job: punched paths stay, relayed ones come back with it", async () => {
    await using relayed = mesh.run(talk("s1", "s2", 120));
    await relayed.prints(/round 20\n/, "stderr");
    await mesh.isReachedBy("s1", "s2", ["relay"]);
    mesh.daemon(CENTRE).signal("SIGKILL");
    await mesh.daemon(CENTRE).ended();
    await mesh.startCoordinator();
    expect(await jsonOf(relayed)).toEqual(answersOf("s2", 120));
    await mesh.isReachedBy("s1", "s2", ["relay"]);
    await mesh.isReachedBy("p1", "p2", ["punch"]);
  }, 90_000);

  test("X11 F2 where there are two rendezvous and one is killed, the other relays", async () => {
    await using _ = await mesh.startRendezvous("meet");
    await using relayed = mesh.run(talk("s2", "s1", 120));
    await relayed.prints(/round 5\n/, "stderr");
    const carrier = (await mesh.path("s2", "s1"))?.address ?? "";
    expect(carrier).toContain("relay://");
    const isOwn = carrier.includes(mesh.network.address("meet"));
    mesh.daemon(isOwn ? "meet" : CENTRE).signal("SIGKILL");
    expect(await jsonOf(relayed)).toEqual(answersOf("s1", 120));
    if (!isOwn) await mesh.startCoordinator();
    await until(async () => (await mesh.path("s2", "s1"))?.address !== carrier, { what: "another relay" });
  }, 90_000);
});
