// F93: `mesh up` from behind a router, on a host that cannot dial back.
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import type { Finding } from "../../core/provider.ts";
import { kill } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const sshOf = (node: string) => ({ node, port: 22 });

describe.skipIf(missing)(`mesh up by way of a tether${missing ? ` (skipped: ${missing})` : ""}`, () => {
  test("F93 F98 mesh up lays the tunnel, starts a tether again that was killed, mesh down takes all back, and so does the end of mesh run --hosts; F5 pool.addHost may start one", async () => {
    await using lab = await SshLab.start({
      deskIn: "house",
      // Two sites whose routers let nothing in but logins: neither end can dial the other.
      segments: {
        house: { letsOut: true },
        site: { letsOut: true, forwards: { 2201: sshOf("far"), 2202: sshOf("near"), 2203: sshOf("shut") } },
      },
      hosts: {
        far: { hasBinary: true, segments: ["site"], port: 2201 },
        near: { hasBinary: true, segments: ["site"], port: 2202 },
        shut: { hasBinary: true, segments: ["site"], port: 2203, sshd: ["AllowStreamLocalForwarding no"] },
      },
      files: {
        "job.ts": `import { pool } from "mesh"; console.log(await pool().map((x: number) => x * 3, [1, 2, 3]));`,
        "add.ts": `import { pool } from "mesh"; console.log((await pool().addHost("near")).name);`,
      },
    });
    const tethers = () => lab.processes.filter(({ command }) => command[1] === "tether");
    const up = await lab.mesh(["up", "far", "shut", "--json"]);
    const { hosts } = JSON.parse(up.stdout) as {
      hosts: { name: string; outcome: string; error?: { message: string } }[];
    };
    hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
    expect(hosts).toMatchObject([
      { name: "far", outcome: "started" },
      { name: "shut", outcome: "failed" },
    ]);
    expect(hosts[1]!.error!.message).toContain("AllowStreamLocalForwarding");
    await until(() => lab.host("shut").processes.length === 0, { what: "nothing to be left on the host that failed" });
    expect(tethers().length).toBe(1);

    const { nodes } = JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
    expect(nodes.map(({ name, path }) => [name, path?.kind])).toEqual([
      ["coordinator", "self"],
      ["far", "ssh"],
    ]);
    expect((await lab.succeed(["run", "job.ts"])).stdout).toBe("[ 3, 6, 9 ]\n");

    const doctor = await lab.mesh(["doctor", "far", "shut", "--json"]);
    expect(doctor.status, doctor.stderr).toBe(3);
    const seen = (JSON.parse(doctor.stdout) as { hosts: { findings: Finding[] }[] }).hosts.map(({ findings }) =>
      Object.fromEntries(findings.map(({ check, state, words }) => [check, `${state}: ${words}`])),
    );
    expect(seen[0]).toMatchObject({
      "to the coordinator": expect.stringMatching(/^warning: cannot be dialed from there: tcp:/),
      tunnel: "ok: sshd carries the worker's sessions over the login",
      mesh: expect.stringMatching(/^ok: up, reached through a tunnel over SSH/),
    });
    expect(seen[1]).toMatchObject({
      "to the coordinator": expect.stringMatching(/^warning/),
      tunnel: expect.stringMatching(/^problem: .*no other way to the coordinator/),
    });

    for (const { pid } of tethers()) kill(pid, "SIGKILL");
    expect((await lab.succeed(["up", "far"])).stdout).toMatch(/far +unchanged/);
    expect(tethers().length).toBe(1);
    expect((await lab.succeed(["run", "job.ts"])).stdout).toBe("[ 3, 6, 9 ]\n");

    for (const { pid } of tethers()) kill(pid, "SIGKILL");
    expect((await lab.succeed(["run", "add.ts"])).stdout).toBe("near\n");
    expect(tethers().length).toBe(1); // started below the job's head, which sweeps what it leaves
    expect((await lab.succeed(["exec", "near", "--", "echo", "it works"])).stdout).toBe("it works\n");

    await lab.succeed(["down", "--purge"]);
    expect(lab.host("far").files.filter((path) => path.includes("tunnel"))).toEqual([]);
    await lab.nothingRuns();

    const { stdout } = await lab.succeed(["run", "--hosts", "far", "job.ts"]);
    expect(stdout).toBe("[ 3, 6, 9 ]\n");
    await lab.nothingRuns();
    expect(readdirSync(lab.folder.at(".local/state/mesh")).filter((name) => name.startsWith("run-"))).toEqual([]);
  }, 90_000);
});
