// The sshd of the tests, by the system's own ssh.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { noSshd, type Sshd, startSshd, writeSshConfig } from "../../support/sshd.ts";
import { runs } from "./support.ts";

function ssh(sshd: Sshd, command: string, config = sshd.configFile) {
  const result = spawnSync("ssh", ["-F", config, "-o", "BatchMode=yes", sshd.name, command], { encoding: "utf8" });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

describe.skipIf(noSshd)(`startSshd${noSshd ? ` (skipped: ${noSshd})` : ""}`, () => {
  test("each instance is a host with a home of its own", async () => {
    await using first = await startSshd({ name: "a" });
    await using second = await startSshd({ name: "b", env: { COLOUR: "blue green" } });
    const config = writeSshConfig(join(first.folder, "both"), [first, second]);
    expect(ssh(first, "pwd; echo $HOME", config)).toMatchObject({
      status: 0,
      stdout: `${first.home}\n${first.home}\n`,
    });
    expect(ssh(second, 'cat > x; echo "$HOME $COLOUR"; exit 7', config)).toMatchObject({
      status: 7,
      stdout: `${second.home} blue green\n`,
    });
    expect(existsSync(join(second.home, "x"))).toBe(true);
    expect(readFileSync(first.knownHosts, "utf8")).toContain(first.hostKeys[0]!);
  });

  test("an account without a shell; what a session leaves behind goes with the sshd", async () => {
    await using none = await startSshd({ shell: "/bin/false" });
    expect(ssh(none, "echo hello")).toMatchObject({ status: 1, stdout: "" });
    const sshd = await startSshd();
    expect(ssh(sshd, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")).toMatchObject({ status: 0 });
    await runs(sshd, "sleep");
    await sshd[Symbol.asyncDispose]();
    expect(sshd.processes()).toEqual([]);
    expect(existsSync(sshd.folder)).toBe(false);
  });
});
