// What is told of pairs that nobody can connect: why so, and what would help.
import { describe, expect, test } from "vitest";
import type { Finding } from "../../core/provider.ts";
import { CENTRE, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";

const missing = missingForLab();
const RELAY = String.raw`tcprelay://10\.77\.0\.2:\d+`;

describe.skipIf(missing)(`paths${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("F93 F98 F25 two workers that only the coordinator's relay connects: doctor and status say why, and what to do", async () => {
    await using mesh = await LabMesh.start({ workers: { w1: 1, w2: 1 } });
    for (const host of ["w1", "w2"]) mesh.lan.closeTo(host, "DROP");
    mesh.lan.lose(1, "udp");
    const { status, stdout, stderr } = await mesh.mesh(CENTRE, ["doctor", "--path", "w1", "w2", "--json"]);
    expect(status, stderr + stdout).toBe(0);
    const { pair } = JSON.parse(stdout) as { pair: Finding[] };
    const found = Object.fromEntries(pair.map((finding) => [finding.check, finding]));
    expect(found.path!.words).toMatch(new RegExp(String.raw`^relayed by a rendezvous, over TCP \(${RELAY}\)`));
    for (const name of ["w1", "w2"]) {
      expect(found[`NAT of ${name}`]).toMatchObject({ state: "warning", fix: "let UDP out of its network" });
      expect(found[`from ${name}`]!.words).toMatch(
        /^tcp:\/\/10\.77\.0\.\d:\d+: did not answer within \d+ ms \(\d+ s ago\)$/m,
      );
    }
    expect(found.hole).toMatchObject({
      state: "warning",
      words: "no UDP packet of w1 and w2 gets an answer from outside: no hole can be made",
    });
    expect(found.rendezvous).toMatchObject({ state: "ok", words: "both reach coordinator" });
    await mesh.nodeIs("w1", (node) => node?.peers.some(({ name, why }) => name === "w2" && why !== null) ?? false);
    await mesh.nodeIs("w2", (node) => node?.peers.some(({ name }) => name === "w1") ?? false);
    const shown = await mesh.mesh(CENTRE, ["status", "--peers", "w1"]);
    const why = "no hole: UDP is blocked here and there";
    expect(shown.stdout).toMatch(
      new RegExp(String.raw`^w1 +w2 +up +tcprelay +[\d.]+ms +\d+s +[\d.]+[BK] +${RELAY} +${why}`, "m"),
    );
  }, 60_000);
});
