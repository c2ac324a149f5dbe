// A mesh of another build meets this one: `mesh up` replaces its workers, and jobs that run do not notice.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import { writeOtherBuild } from "../support/other-build.ts";
import { until } from "../support/until.ts";
import { QUICK } from "./lab-mesh.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const OLD = { program: "/root/mesh-old" };

describe.skipIf(missing)(`mesh up with another build${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let lab: SshLab;
  let oldCommit: string;

  beforeAll(async () => {
    lab = await SshLab.start({
      hosts: { h1: { hasBinary: true } },
      files: { "mesh.toml": `${QUICK}[hosts.h1]\nssh = "h1"\nslots = 2\n` },
    });
    oldCommit = writeOtherBuild(lab.folder.at("mesh-old"));
  });
  afterAll(async () => {
    await lab?.mesh(["down", "--purge"]);
    await lab?.[Symbol.asyncDispose]();
  });

  /** The build of the worker that is up. */
  async function build(): Promise<string | undefined> {
    const { nodes } = JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
    return nodes.find(({ name, state }) => name === "h1" && state === "up")?.build;
  }

  test("F96 X25 X30 the worker is replaced, and the job that it runs ends undisturbed", async () => {
    await lab.succeed(["up"], OLD);
    expect(await build()).toBe(oldCommit);
    lab.folder.write({
      "job.ts": `import { existsSync } from "node:fs";
import { pool, self } from "mesh";
const wait = async (i: number) => {
  const { existsSync, writeFileSync } = await import("node:fs");
  writeFileSync("/tmp/started-" + i, "");
  while (!existsSync("/tmp/go")) await Bun.sleep(10);
  return self.node;
};
console.log(JSON.stringify(await pool({ hosts: ["h1"] }).map(wait, [1, 2])));`,
    });
    await using run = lab.start(["run", "job.ts"], OLD);
    const host = lab.host("h1");
    await until(() => host.files.filter((path) => path.startsWith("/tmp/started-")).length === 2, { what: "tasks" });
    const { stdout } = await lab.succeed(["up"]);
    expect(stdout).toMatch(/h1.*replaced/);
    await until(async () => (await build()) !== oldCommit, { what: "the new worker" });
    host.run("touch /tmp/go");
    expect(JSON.parse((await run.ended()).stdout.trim().split("\n").at(-1)!)).toHaveLength(2);
    await until(() => host.processes.every(({ command }) => !command[0]?.includes("old")), { what: "the old to end" });
    expect((await lab.succeed(["run", "job.ts"])).stdout).toContain('["h1","h1"]');
    expect((await lab.succeed(["up"])).stdout).toMatch(/h1.*unchanged/);
    host.run("rm /tmp/started-* /tmp/go");
  });
});
