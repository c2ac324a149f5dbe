// mesh doctor against real hosts: what sshd, the shell and the disk do is the real thing.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Finding } from "../../core/provider.ts";
import { noMounts } from "../bootstrap/logins.ts";
import { MeshProcess, type MeshResult, nothingLeft, runMesh, testFolder } from "../support/mesh.ts";
import { makeKey, noSshd, publicLine, type Sshd, startSshd, writeSshConfig } from "../support/sshd.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

interface Diagnosis {
  here: Finding[];
  hosts: { name: string; findings: Finding[] }[];
  mesh: { name: string; findings: Finding[] }[];
  pair: Finding[] | null;
}

function diagnosisOf({ stdout, stderr }: MeshResult): Diagnosis {
  if (!stdout.startsWith("{")) throw new Error(`mesh doctor printed no JSON: ${stdout}${stderr}`);
  return JSON.parse(stdout);
}

/** Of one host: its findings by check, and the exit status. */
async function doctor(
  sshd: Sshd,
  ...args: string[]
): Promise<{ status: number | undefined; found: Record<string, Finding>; here: Finding[] }> {
  const env = { MESH_SSH_CONFIG: sshd.configFile, SSH_AUTH_SOCK: undefined };
  const before = sockets();
  const result = await runMesh(["doctor", sshd.name, "--json", ...args], { env, limitMs: 60_000 });
  const made = sockets().filter((name) => !before.includes(name));
  const { hosts, here } = diagnosisOf(result);
  const found = Object.fromEntries(hosts[0]!.findings.map((finding) => [finding.check, finding]));
  await until(() => !made.some((name) => existsSync(join("/tmp", name))), {
    what: "its socket to be gone from the host",
  });
  return { status: result.status, found, here };
}

/** By which sshd is asked for a tunnel. */
function sockets(): string[] {
  return readdirSync("/tmp").filter((name) => name.startsWith(".mesh-doctor-"));
}

function problems(found: Record<string, Finding>): string[] {
  return Object.values(found).flatMap(({ check, state }) => (state === "problem" ? check : []));
}

const skipNote = noSshd ? `: skipped, ${noSshd}` : "";

describe.skipIf(noSshd)(`mesh doctor${skipNote}`, () => {
  test("F98 F7 a host that is well: what it is and how the login came about, and nothing left there", async () => {
    await using sshd = await startSshd();
    const { status, found } = await doctor(sshd, "--thorough");
    expect(Object.values(found).filter(({ state }) => state === "problem" || state === "warning")).toEqual([]);
    expect(status).toBe(0);
    expect(found.destination!.words).toBe(`${sshd.user}@127.0.0.1 port ${sshd.port}`);
    expect(found["host key"]!.words).toContain(`known by ${sshd.knownHosts}:1`);
    expect(found.login!.words).toBe(`by ${sshd.clientKey}`);
    expect(found.room!.words).toContain(join(sshd.home, ".cache/mesh"));
    expect(found["many logins"]).toMatchObject({ state: "ok" });
    expect(Array.from(new Bun.Glob("**/*").scanSync({ cwd: sshd.home, dot: true }))).toEqual([]);
  });

  test("F98 X28 an unknown host key: 4, with what trusts it; nothing is remembered", async () => {
    await using sshd = await startSshd();
    rmSync(sshd.knownHosts);
    const { status, found } = await doctor(sshd);
    expect(status).toBe(4);
    expect(problems(found)).toEqual(["host key"]);
    expect(found["host key"]).toMatchObject({
      words: expect.stringContaining("is not known"),
      fix: expect.stringContaining("--accept-new-keys"),
    });
    expect(found.shell).toMatchObject({ state: "skipped" });
    expect(await Bun.file(sshd.knownHosts).exists()).toBe(false);
  });

  test("F98 X28 a changed host key: 4, with file and line of the old one", async () => {
    await using sshd = await startSshd();
    const other = publicLine(makeKey(join(sshd.folder, "other")));
    writeFileSync(sshd.knownHosts, `# two\n[127.0.0.1]:${sshd.port} ${other}\n`);
    const { status, found } = await doctor(sshd);
    expect(status).toBe(4);
    expect(problems(found)).toEqual(["host key"]);
    expect(found["host key"]!.words).toContain(`${sshd.knownHosts}:2 knows`);
    expect(found["host key"]!.fix).toContain("ssh-keygen -R");
  });

  test("F98 a key the host does not take: 4, and the host key is well", async () => {
    await using sshd = await startSshd();
    writeFileSync(sshd.authorizedKeys, "");
    const { status, found } = await doctor(sshd);
    expect(status).toBe(4);
    expect(problems(found)).toEqual(["login"]);
    expect(found["host key"]).toMatchObject({ state: "ok" });
    expect(found.login).toMatchObject({
      words: expect.stringContaining(`${sshd.clientKey}: refused`),
      fix: expect.stringContaining("ssh-copy-id"),
    });
  });

  test("F98 refused, and a name that nobody knows: 5, and no login is tried", async () => {
    const sshd = await startSshd();
    const config = readFileSync(sshd.configFile, "utf8");
    await sshd[Symbol.asyncDispose]();
    const files = { config: `${config}\nHost lost\n  HostName nosuch.invalid\n` };
    const result = await runMesh(["doctor", sshd.name, "lost", "--json"], {
      files,
      env: { MESH_SSH_CONFIG: "config" },
    });
    expect(result.status).toBe(5);
    const [refused, lost] = diagnosisOf(result).hosts.map(({ findings }) => findings);
    const of = (findings: Finding[], check: string) => findings.find((finding) => finding.check === check);
    expect(of(refused!, "connection")).toMatchObject({ words: `127.0.0.1 refuses connections on port ${sshd.port}` });
    expect(of(refused!, "login")).toMatchObject({ state: "skipped" });
    expect(of(lost!, "connection")).toMatchObject({ words: 'no address is known for "nosuch.invalid"' });
  });

  test("F98 an account without a shell: 5, and says so", async () => {
    await using sshd = await startSshd({ shell: "/bin/false" });
    const { status, found } = await doctor(sshd);
    expect(status).toBe(5);
    expect(problems(found)).toEqual(["shell"]);
    expect(found.shell!.words).toContain("no command can be run");
    expect(found["the host itself"]).toMatchObject({
      state: "skipped",
      words: expect.stringContaining("want of a shell"),
    });
  });

  test("F98 sshd that forbids tunnels, and drops logins that come at once: warnings", async () => {
    await using sshd = await startSshd({ config: ["AllowStreamLocalForwarding no", "MaxStartups 1:100:1"] });
    const { status, found } = await doctor(sshd, "--thorough");
    expect(status).toBe(0);
    expect(found.tunnel).toMatchObject({
      state: "warning",
      fix: expect.stringContaining("AllowStreamLocalForwarding yes"),
    });
    expect(found["many logins"]).toMatchObject({
      state: expect.stringMatching("warning|problem"),
      fix: expect.stringContaining("MaxStartups"),
    });
  });

  test("F98 no room anywhere, as a shell in a small world of its own sees it", async ({ skip }) => {
    if (noMounts) skip(noMounts);
    await using sshd = await startSshd({ shell: "./../small" });
    const mounts = ["$HOME", "/var/tmp", "/tmp/mesh-0"]
      .map((folder) => `mkdir -p ${folder}; mount -t tmpfs -o size=1m,mode=700 tmpfs ${folder}`)
      .join("; ");
    const small = `${mounts}; unset XDG_RUNTIME_DIR`;
    const script = `#!/bin/sh\nexec unshare -m sh -c '${small}; exec sh "$@"' sh "$@"\n`;
    writeFileSync(join(sshd.folder, "small"), script, { mode: 0o755 });
    const { found } = await doctor(sshd);
    expect(problems(found)).toEqual(["room"]);
    expect(found.room).toMatchObject({ code: "STORAGE", fix: expect.stringContaining("XDG_CACHE_HOME") });
  });

  test("F98 one broken host hides no other: each has its findings, 3; for people a paragraph each", async () => {
    await using well = await startSshd({ name: "well" });
    const gone = await startSshd({ name: "gone" });
    const config = writeSshConfig(join(well.folder, "both"), [well, gone]);
    await gone[Symbol.asyncDispose]();
    const { stdout, status } = await runMesh(["doctor", "gone", "well"], { env: { MESH_SSH_CONFIG: config } });
    expect(status).toBe(3);
    expect(stdout).toMatch(
      /^gone\n {2}ok {7}destination .*\n {2}PROBLEM {2}connection {3}127\.0\.0\.1 refuses.*\n +fix: sshd may not run there/m,
    );
    expect(stdout).toMatch(/^ {2}- {8}host key, login, shell, the host itself {2}not looked at, for want of a login$/m);
    expect(stdout).toMatch(/^well\n(.*\n)+ {2}ok {7}login /m);
    expect(stdout.trimEnd()).toMatch(/\n1 problem(, \d+ warnings?)?$/);
  });

  test("F98 F7 a wrong mesh.toml: 2, with all that is wrong with it", async () => {
    const files = { "mesh.toml": "[mesh]\nnmae = 1\n" };
    const result = await runMesh(["doctor", "--json"], { files });
    expect(result.status).toBe(2);
    const { here, hosts } = diagnosisOf(result);
    expect(hosts).toEqual([]);
    expect(here.find(({ check }) => check === "mesh.toml")).toMatchObject({
      state: "problem",
      words: expect.stringContaining("nmae"),
    });
  });

  test("F98 the coordinator's port is taken: a problem of this machine, with all hosts well 3", async () => {
    await using sshd = await startSshd();
    const toml = `[coordinator]\nlisten = ["tcp://127.0.0.1:${sshd.port}"]\n[hosts.${sshd.name}]\n`;
    const result = await runMesh(["doctor", "--json"], {
      files: { "mesh.toml": toml },
      env: { MESH_SSH_CONFIG: sshd.configFile },
    });
    const { here, hosts } = diagnosisOf(result);
    expect(hosts.flatMap(({ findings }) => findings).filter(({ state }) => state === "problem")).toEqual([]);
    expect(here.filter(({ state }) => state === "problem")).toEqual([
      expect.objectContaining({
        check: "port",
        words: expect.stringContaining("the port is taken"),
        fix: expect.stringContaining("ss -lntup"),
      }),
    ]);
    expect(result.status).toBe(3);
  });

  test("F98 a coordinator that is to be on another host is not looked for here", async () => {
    const toml = '[coordinator]\nhost = "gone"\n[hosts.gone]\nssh = "nosuch.invalid"\n';
    const { here } = diagnosisOf(await runMesh(["doctor", "--json"], { files: { "mesh.toml": toml } }));
    const states = here.map(({ check, state }) => `${check}: ${state}`);
    expect(states).toEqual(expect.arrayContaining(["coordinator: skipped", "port: skipped"]));
    expect(here.find(({ check }) => check === "coordinator")!.words).toContain("starts it on gone");
  });

  test("F98 F90 Ctrl-C ends it at once, also while a host says nothing: 130, and nothing is left", async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    using folder = testFolder({ config: `Host quiet\n  HostName 127.0.0.1\n  Port ${port}\n` });
    try {
      await using mesh = new MeshProcess(folder, ["doctor", "quiet"], { env: { MESH_SSH_CONFIG: "config" } });
      const connected = Promise.withResolvers<void>();
      let connections = 0;
      silent.on("connection", () => ++connections === 2 && connected.resolve()); // the first one only looks
      await connected.promise;
      mesh.signal("SIGINT");
      expect(await mesh.ended()).toMatchObject({ status: 130, stdout: "" });
      await nothingLeft(folder);
    } finally {
      silent.close();
    }
  });

  test("F98 F93 two hosts of a mesh: their workers, what they reach, and how they reach each other", async () => {
    await using a = await startSshd({ name: "a" });
    await using b = await startSshd({ name: "b" });
    const config = writeSshConfig(join(a.folder, "both"), [a, b]);
    // By one transport, as of two that lead straight there either may answer first.
    const toml = '[mesh]\ntransports = ["tcp"]\n';
    await using mesh = await TestMesh.start({ config: toml, workers: {}, env: { MESH_SSH_CONFIG: config } });
    const up = await mesh.mesh(["up", "a", "b"], { limitMs: 90_000 });
    expect(up.status, up.stderr).toBe(0);
    try {
      expect(await mesh.resultOf(TALK)).toEqual([0, 0]);
      await mesh.nodeIs("a", (node) => node?.peers.some(({ name, state }) => name === "b" && state === "up") ?? false);
      const result = await mesh.mesh(["doctor", "a", "b", "--json"], { limitMs: 60_000 });
      expect(result.status, result.stdout).toBe(0);
      const { hosts, pair, here } = diagnosisOf(result);
      for (const { findings } of hosts) {
        expect(findings).toContainEqual(expect.objectContaining({ check: "worker", state: "ok" }));
        expect(findings).toContainEqual(expect.objectContaining({ check: "to the coordinator", state: "ok" }));
        expect(findings).toContainEqual(expect.objectContaining({ check: "mesh", state: "ok" }));
      }
      expect(here).toContainEqual(expect.objectContaining({ check: "coordinator", state: "ok" }));
      expect(pair!.map(({ check, state }) => [check, state])).toEqual([
        ["path", "ok"],
        ["a to b", "ok"],
        ["b to a", "ok"],
      ]);
      expect(pair![0]!.words).toMatch(/^directly, over TCP.*each can dial the other$/);
    } finally {
      await mesh.mesh(["down", "a", "b"], { limitMs: 60_000 });
    }
  });
});

/** A process on a sends to one on b. */
const TALK = `
import { type Funnel, pipe, Process } from "mesh";
const [tellFunnel, funnels] = pipe<Funnel<number>>();
const receiver = new Process(async (tell: typeof tellFunnel) => {
  const [funnel, spout] = pipe<number>();
  await tell.send(funnel);
  await spout.receive({ timeoutMs: 10_000 });
}, { host: "b", args: [tellFunnel] });
await receiver.start();
const funnel = await funnels.receive({ timeoutMs: 10_000 });
const sender = new Process((to: Funnel<number>) => to.send(1), { host: "a", args: [funnel] });
await sender.start();
console.log(JSON.stringify([(await receiver.join()).exitCode, (await sender.join()).exitCode]));
`;
