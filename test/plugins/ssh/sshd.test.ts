// The sshd of the tests, by the system's own ssh.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { noSshd, type Sshd, startSshd, writeSshConfig } from "../../support/sshd.ts";
import { until } from "../../support/until.ts";
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

  test("is gone when the test that started it is killed", async () => {
    const fixture = new URL("../../support/sshd.ts", import.meta.url).pathname;
    const script = `const sshd = await (await import("${fixture}")).startSshd(); console.log(sshd.pid, sshd.folder);`;
    const test = Bun.spawn([process.execPath, "-e", `${script} setInterval(() => {}, 1000);`], { stdout: "pipe" });
    const { value } = await test.stdout.getReader().read();
    const [pid, folder] = String(Buffer.from(value!)).trim().split(" ");
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    test.kill("SIGKILL");
    await until(() => !existsSync(`/proc/${pid}`), { what: "the end of sshd" });
    rmSync(folder!, { recursive: true });
  });

  test("an account without a shell; what a session leaves behind goes with the sshd", async () => {
    await using none = await startSshd({ shell: "/bin/false" });
    expect(ssh(none, "echo hello")).toMatchObject({ status: 1, stdout: "" });
    await using sshd = await startSshd();
    expect(ssh(sshd, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")).toMatchObject({ status: 0 });
    await runs(sshd, "sleep");
    await sshd[Symbol.asyncDispose]();
    expect(sshd.processes()).toEqual([]);
    expect(existsSync(sshd.folder)).toBe(false);
  });
});
