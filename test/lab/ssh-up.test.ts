// A fleet from start to end, over SSH to hosts that have nothing: up, jobs, down.
import { existsSync, readFileSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import { until } from "../support/until.ts";
import { QUICK } from "./lab-mesh.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const NAMES = ["cold", "warm", "inner", "natted", "ada"];

/** Every way in which a host is named: an alias, user and name of /etc/hosts, one with ProxyJump, one behind a port forward. */
const CONFIG = `${QUICK}
[hosts.cold]
ssh = "cold"
slots = 1
[hosts.warm]
ssh = "root@warm.lab"
slots = 2
tags = ["big"]
[hosts.inner]
ssh = "inner"
slots = 1
[hosts.natted]
ssh = "natted"
slots = 1
[hosts.ada]
ssh = "ada"
slots = 1
`;

describe.skipIf(missing)(`mesh up and down over SSH${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let lab: SshLab;

  beforeAll(async () => {
    lab = await SshLab.start({
      segments: { rack: "sealed", home: { letsOut: false, forwards: { 2222: { node: "natted", port: 22 } } } },
      hosts: {
        cold: { segments: ["outside", "rack"] },
        warm: { hasBinary: true },
        inner: { hasBinary: true, segments: ["rack"], jump: "cold" },
        natted: { hasBinary: true, segments: ["home"], port: 2222 },
        ada: { hasBinary: true, user: "ada", files: { ".bashrc": "echo welcome, ada; echo beware >&2\n" } },
      },
      files: { "mesh.toml": CONFIG },
    });
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

  async function status(): Promise<Status> {
    return JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
  }

  /** Names of the workers that are up. */
  async function workers(): Promise<string[]> {
    const { nodes } = await status();
    return nodes
      .filter(({ role, state }) => role === "worker" && state === "up")
      .map(({ name }) => name)
      .sort();
  }

  test("F1 F7 a dry run says what would be done, and does nothing", async () => {
    const before = lab.host("cold").files;
    const { stdout } = await lab.succeed(["up", "--dry-run"]);
    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^\\[?${name}\\b.*start`, "m"));
    expect(lab.host("cold").files).toEqual(before);
    expect(lab.processes).toEqual([]);
    expect([...lab.hosts.values()].flatMap(({ processes }) => processes)).toEqual([]);
  });

  test("F1 F3 F6 F9 F91 up starts a worker on every host, whatever the way to it", async () => {
    const { stdout } = await lab.succeed(["up"]);
    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^\\[?${name}\\b.*started`, "m"));
    expect(await workers()).toEqual([...NAMES].sort());
    const bin = lab.host("cold").run("ls -d /root/.cache/mesh/bin/*/mesh");
    expect(statSync(lab.host("cold").path(bin)).mode & 0o777).toBe(0o700);
  });

  test("F1 again: nothing changes, and nothing is sent", async () => {
    const before = [...lab.hosts.values()].map(({ processes }) => processes);
    const { stdout } = await lab.succeed(["up"]);
    for (const name of NAMES) expect(stdout).toMatch(new RegExp(`^\\[?${name}\\b.*unchanged`, "m"));
    expect([...lab.hosts.values()].map(({ processes }) => processes)).toEqual(before);
  });

  test("F4 F91 a job uses all of them", async () => {
    lab.folder.write({
      "job.ts": `import { args, pool, self } from "mesh";
const where = args.map((host) => pool({ hosts: [host] }).map(() => self.node, [1, 2]));
console.log(JSON.stringify(await Promise.all(where)));`,
    });
    const { stdout } = await lab.succeed(["run", "job.ts", ...NAMES]);
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual(NAMES.map((name) => [name, name]));
  });

  test("F89 exec runs a command everywhere, each line with its host's name", async () => {
    const { stdout } = await lab.succeed(["exec", "--all", "echo $(hostname) $(id -un)"]);
    const lines = NAMES.map((name) => [name, `${name} ${name === "ada" ? "ada" : "root"}`]);
    for (const [name, line] of lines) expect(stdout).toMatch(new RegExp(`^\\[?${name}\\b.* ${line}$`, "m"));
  });

  test("F98 doctor examines each host, and says what is wrong with which", async () => {
    const { stdout, stderr, status } = await lab.mesh(["doctor", ...NAMES]);
    for (const name of NAMES) expect(stdout + stderr).toContain(name);
    expect([stdout + stderr, status]).toEqual([expect.not.stringMatching(/✗|fail/i), 0]);
  });

  test("F89 X34 a file whose way is cut in the middle arrives whole, and is not seen before", async () => {
    const bytes = new Uint8Array(120_000_000);
    for (let at = 0; at < bytes.length; at += 60_000) crypto.getRandomValues(bytes.subarray(at, at + 60_000));
    lab.folder.write({ "data.bin": bytes });
    const host = lab.host("cold");
    const size = () =>
      Math.max(0, ...host.files.filter((path) => !path.includes("mesh/bin")).map((path) => sizeOf(host.path(path))));
    await using copy = lab.start(["cp", "data.bin", "cold:data.bin"]);
    await until(() => size() > 1_000_000, { what: "the first megabyte" });
    lab.network.cutOff("cold");
    expect(existsSync(host.path("/root/data.bin"))).toBe(false);
    await until(async () => !(await workers()).includes("cold"), { what: "cold to be missed" });
    lab.network.heal("cold");
    const { status, stderr } = await copy.ended();
    expect([stderr, status]).toEqual([expect.any(String), 0]);
    expect(Bun.hash(readFileSync(host.path("/root/data.bin")))).toBe(Bun.hash(bytes));
    host.run("rm /root/data.bin");
  });

  test("F6 F93 workers outlive the logins that started them; those that need one get it back", async () => {
    const before = [...lab.hosts.values()].map(({ processes }) => processes);
    for (const host of lab.hosts.values()) host.dropLogins();
    await until(async () => (await workers()).length === NAMES.length, { what: "all workers", timeoutMs: 20_000 });
    expect([...lab.hosts.values()].map(({ processes }) => processes)).toEqual(before);
  });

  test("F9 down of one host ends its worker and no other", async () => {
    await lab.succeed(["down", "warm"]);
    await lab.host("warm").isQuiet();
    expect(await workers()).toEqual(NAMES.filter((name) => name !== "warm").sort());
  });

  test("F90 down when some are out of reach: the others end, each is named, exit 3", async () => {
    lab.network.cutOff("ada");
    const { status, stdout } = await lab.mesh(["down", "ada", "natted"]);
    lab.network.heal("ada");
    expect(stdout).toMatch(/^ada failed: .*(answer|time)/m);
    expect(stdout).toMatch(/^natted +stopped/m);
    expect(status).toBe(3);
    await lab.host("natted").isQuiet();
    expect(lab.host("ada").processes).not.toEqual([]);
  });

  test("F6 down --purge leaves nothing of mesh", async () => {
    await lab.succeed(["down", "--purge"]);
    for (const { name, files } of lab.hosts.values()) expect([name, files]).toEqual([name, []]);
    expect(existsSync(lab.host("cold").path("/root/.cache/mesh"))).toBe(false);
    await lab.nothingRuns();
  });

  test("F5 run --hosts without a mesh.toml: up, run, down", async () => {
    const script = "mkdir /tmp/away; cd /tmp/away; cp ~/job.ts .; mesh run --hosts warm,inner job.ts warm inner";
    const { stdout, stderr, status } = await lab.run("sh", "-c", script);
    expect([stderr, status]).toEqual([expect.any(String), 0]);
    expect(stdout).toContain('[["warm","warm"],["inner","inner"]]');
    await lab.nothingRuns();
  });
});
