// A host of another architecture: this binary makes the one for it, which runs there by qemu.
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { binary } from "../support/mesh.ts";
import { QUICK } from "./lab-mesh.ts";
import { missingForArm64 } from "./ssh-host-files.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab() ?? missingForArm64();

test.skipIf(missing)(
  `F8 F97 a host of arm64 joins, runs a job and is left clean${missing ? ` (skipped: ${missing})` : ""}`,
  async ({ skip }) => {
    // The desk has no way to npm's registry: what it needs is in its cache before.
    const env = { ...process.env, XDG_CACHE_HOME: join(dirname(binary), ".test-cache") };
    const { exitCode, stderr } = Bun.spawnSync([binary, "binary", "linux-arm64"], { env, timeout: 60_000 });
    if (exitCode !== 0) skip(`the base for arm64 cannot be had: ${stderr}`);
    await using lab = await SshLab.start({
      hosts: { arm: { isArm64: true }, here: { hasBinary: true } },
      files: {
        "mesh.toml": `${QUICK}[hosts.arm]\nssh = "arm"\nslots = 1\n[hosts.here]\nssh = "here"\nslots = 1\n`,
        "job.ts": `import { pool } from "mesh";
const where = ["arm", "here"].map((host) => pool({ hosts: [host] }).map((n: number) => [process.arch, n * 2], [21]));
console.log(JSON.stringify(await Promise.all(where)));`,
      },
    });
    await lab.succeed(["up"]);
    const { stdout } = await lab.succeed(["run", "job.ts"]);
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual([[["arm64", 42]], [["x64", 42]]]);
    await lab.succeed(["down", "--purge"]);
    expect(lab.host("arm").files).toEqual([]);
  },
  90_000,
);
