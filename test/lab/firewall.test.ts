// Hosts that others cannot connect to: whoever can dial does, by the coordinator's word.
import { describe, expect, test } from "vitest";
import type { PeerStatus } from "../../core/coordinator/answers.ts";
import { DESK, LabMesh } from "./lab-mesh.ts";
import { missingForLab } from "./namespaces.ts";

const missing = missingForLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";
const where = `import { pool, self } from "mesh"; ${out} out(await pool().map(() => self.node, [1, 2, 3]));`;

describe.skipIf(missing)(`firewalls${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test.each([
    ["w1", "DROP"],
    ["w1", "REJECT"],
    [DESK, "DROP"],
    [DESK, "REJECT"],
  ] as const)("F35 nobody can connect to %s (%s): the other side dials", async (host, how) => {
    await using mesh = await LabMesh.start({ workers: { w1: 1 } });
    mesh.lan.closeTo(host, how);
    expect(await mesh.resultOf(where)).toEqual(["w1", "w1", "w1"]);
  });

  test.each([
    ["by TCP: they do over UDP", false],
    ["by anything: the coordinator relays", true],
  ])("F35 F24 neither can connect to the other %s", async (_, isUdpClosed) => {
    await using mesh = await LabMesh.start({ workers: { w1: 1 } });
    for (const host of [DESK, "w1"]) mesh.lan.closeTo(host, "DROP");
    if (isUdpClosed) mesh.lan.lose(1, "udp");
    expect(await mesh.resultOf(where)).toEqual(["w1", "w1", "w1"]);
  });

  test.each([4, 6] as const)(
    "X8 F22 two that let in nothing but replies, over IPv%d alone: both send at once",
    async (family) => {
      await using mesh = await LabMesh.start({ workers: { w1: 2, w2: 2 }, family });
      for (const host of ["w1", "w2"]) mesh.lan.letInRepliesOnly(host);
      const script = `import { pool, self } from "mesh"; ${out}
out(await pool({ hosts: "w1" }).submit(() => pool({ hosts: "w2" }).submit(() => self.node)));`;
      expect(await mesh.resultOf(script)).toBe("w2");
      const ip = mesh.lan.ip("w2");
      const isDirect = ({ name, path, address }: PeerStatus) =>
        name === "w2" && ["udp", "punch"].includes(path) && (address?.includes(ip) ?? false);
      await mesh.nodeIs("w1", (node) => node?.peers.some(isDirect) ?? false);
    },
    60_000,
  );
});
