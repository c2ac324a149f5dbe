// F2 F93: `mesh up` from behind a router starts a rendezvous on a machine that cannot dial back.
import { describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import { kill } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();

describe.skipIf(missing)(`a rendezvous of mesh up${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("F2 F93 X4 though it cannot dial the coordinator; workers reach it; killed (kill -9), the next mesh up starts it; mesh down ends all", async () => {
    await using lab = await SshLab.start({
      deskIn: "house",
      segments: { house: { letsOut: true } },
      hosts: { vps: { hasBinary: true }, far: { hasBinary: true } },
      files: {
        "mesh.toml": '[rendezvous]\nssh = "vps"\nports = "40000-40099"\n[hosts.far]\nslots = 1\n',
        "job.ts": `import { pool } from "mesh"; console.log(await pool().map((x: number) => x * 3, [1, 2, 3]));`,
      },
    });
    const up = await lab.mesh(["up"]);
    expect([up.status, up.stdout]).toEqual([0, expect.stringMatching(/^rendezvous +started/m)]);
    const node = async (name: string) => {
      const { nodes } = JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
      return nodes.find((each) => each.name === name);
    };
    expect((await node("rendezvous"))?.state).toBe("up");
    const reached = async () => (await node("far"))?.peers.find(({ name }) => name === "rendezvous")?.path;
    await until(async () => (await reached()) === "tcp", {
      what: "the worker to reach it directly",
      timeoutMs: 30_000,
    });
    expect((await lab.succeed(["run", "job.ts"])).stdout).toBe("[ 3, 6, 9 ]\n");
    expect((await lab.mesh(["up"])).stdout).toMatch(/^rendezvous +unchanged/m);
    const doctor = await lab.mesh(["doctor", "rendezvous"]);
    expect([doctor.status, doctor.stdout]).toEqual([
      0,
      expect.stringMatching(/rendezvous +process \d+ runs, of this build/),
    ]);

    const runs = () => lab.host("vps").processes.filter(({ command }) => command[1] === "rendezvous");
    for (const { pid } of runs()) kill(pid, "SIGKILL");
    await until(async () => (await node("rendezvous"))?.state === "down", { what: "its loss", timeoutMs: 30_000 });
    expect((await lab.mesh(["up"])).stdout).toMatch(/^rendezvous +started/m);
    expect(runs()).toHaveLength(1);
    await lab.succeed(["down", "--purge"]);
    await until(() => lab.host("vps").processes.length === 0, { what: "the end of what ran there" });
    await lab.nothingRuns();
  }, 90_000);
});
