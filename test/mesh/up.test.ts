// mesh up, down and run --hosts from a desk to hosts that are real sshds of this machine, each with a home of its own.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  binary,
  type MeshOptions,
  MeshProcess,
  type MeshResult,
  type TestFolder,
  testFolder,
} from "../support/mesh.ts";
import { makeKey, noSshd, type Sshd, startSshd, writeSshConfig } from "../support/sshd.ts";
import { until } from "../support/until.ts";

let keys: TestFolder;
let hosts: [Sshd, Sshd];

beforeAll(async () => {
  if (noSshd) return;
  keys = testFolder();
  const clientKey = makeKey(keys.at("key"));
  hosts = await Promise.all([startSshd({ name: "h1", clientKey }), startSshd({ name: "h2", clientKey })]);
});

afterAll(async () => {
  for (const host of hosts ?? []) await host[Symbol.asyncDispose]();
  keys?.[Symbol.dispose]();
});

/** Somebody's machine: a folder with a mesh.toml, and all that mesh keeps there. */
class Desk implements AsyncDisposable {
  readonly folder: TestFolder;

  constructor(config?: string) {
    this.folder = testFolder(config === undefined ? {} : { "mesh.toml": config });
    writeSshConfig(this.folder.at("ssh_config"), hosts);
  }

  command(args: string[], options: MeshOptions = {}): MeshProcess {
    const env = {
      MESH_SSH_CONFIG: this.folder.at("ssh_config"),
      SSH_AUTH_SOCK: undefined,
      // Shared by all tests: compressing the binary takes seconds.
      XDG_CACHE_HOME: join(binary, "..", ".test-cache"),
      ...options.env,
    };
    return new MeshProcess(this.folder, args, { limitMs: 60_000, isOneOfMany: true, ...options, env });
  }

  async mesh(...args: string[]): Promise<MeshResult> {
    await using command = this.command(args);
    return await command.ended();
  }

  async json(...args: string[]): Promise<unknown> {
    const { stdout, stderr } = await this.mesh(...args, "--json");
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh("down", "--grace", "0");
    this.folder[Symbol.dispose]();
  }
}

const config = `[mesh]
name = "lab"
[coordinator]
listen = ["tcp://127.0.0.1:0"]
[hosts."h[1-2]"]
slots = 1
`;

const homes = `import { pool } from "mesh";
console.log(JSON.stringify((await pool().apply(() => process.env.HOME)).sort()));`;

/** What mesh keeps in a host's home, by folder. */
function left(host: Sshd): string[] {
  const state = join(host.home, ".local/state/mesh");
  const cache = join(host.home, ".cache/mesh");
  return [state, cache].flatMap((path) => (existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []));
}

const temporaryLeft = (host: Sshd) => left(host).filter((path) => path.includes("/state/mesh/run-"));
const processesLeft = () => hosts.flatMap((host) => host.processes());

describe.skipIf(noSshd)(`mesh up${noSshd ? ` (skipped: ${noSshd})` : ""}`, () => {
  test("F1 F6 F9 F91 starts a worker on each host, changes nothing the second time, and down --purge leaves nothing", async () => {
    await using desk = new Desk(config);
    expect(await desk.json("up")).toEqual({
      hosts: ["h1", "h2"].map((name) => ({
        name,
        outcome: "started",
        sentBytes: expect.any(Number),
        removed: [],
        error: null,
      })),
    });
    const again = (await desk.json("up")) as { hosts: { outcome: string; sentBytes: number }[] };
    expect(again.hosts.map(({ outcome, sentBytes }) => [outcome, sentBytes])).toEqual([
      ["unchanged", 0],
      ["unchanged", 0],
    ]);
    desk.folder.write({ "homes.ts": homes });
    const { stdout } = await desk.mesh("run", "homes.ts");
    expect(JSON.parse(stdout)).toEqual(hosts.map(({ home }) => home).sort());
    const down = await desk.mesh("down", "--purge");
    expect([down.status, down.stderr]).toEqual([0, expect.stringContaining("coordinator of the mesh lab is ended")]);
    expect([hosts.flatMap(left), processesLeft()]).toEqual([[], []]);
  }, 120_000);

  test("F2 F6 F9 F77 F96 [rendezvous] host: started beside that host's worker, changed nothing, healed, replaced, purged", async () => {
    const listen = 'listen = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\n';
    const rendezvous = `[rendezvous]\nhost = "h1"\n${listen}`;
    await using desk = new Desk(`${config}${rendezvous}`);
    const up = async () => {
      const { hosts: rows } = (await desk.json("up")) as {
        hosts: { name: string; outcome: string; sentBytes: number }[];
      };
      return rows.map(({ name, outcome, sentBytes }) => [name, outcome, sentBytes > 0]);
    };
    const all = (outcome: string) => ["rendezvous", "h1", "h2"].map((name) => [name, outcome, expect.any(Boolean)]);
    const pid = () => hosts[0].processes().find(({ command }) => command[1] === "rendezvous")?.pid;
    const inMesh = async () => {
      const { nodes } = (await desk.json("status")) as { nodes: { name: string; role: string; state: string }[] };
      return nodes.filter(({ name }) => name === "rendezvous").map(({ role, state }) => `${role} ${state}`);
    };
    expect((await desk.mesh("up", "--dry-run")).stdout).toMatch(/^rendezvous: .*start a rendezvous$/m);
    const first = await up();
    expect(first).toEqual(all("started"));
    // One login of one machine: what the first of the two was sent is there for the other.
    expect(first.find(([name]) => name === "h1")?.[2]).toBe(false);
    expect(await inMesh()).toEqual(["rendezvous up"]);
    for (const name of ["rendezvous", "coordinator"]) {
      const { status, stdout, stderr } = await desk.mesh("logs", name);
      expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\S+ .* ready .*\n$/ms), ""]);
    }
    const before = pid();
    expect(await up()).toEqual(all("unchanged"));
    const doctor = await desk.mesh("doctor");
    expect([doctor.status, doctor.stdout]).toEqual([
      0,
      expect.stringMatching(/rendezvous +process \d+ runs, of this build/),
    ]);

    process.kill(before!, "SIGKILL");
    await until(async () => (await inMesh())[0] === "rendezvous down", {
      what: "its loss to be seen",
      timeoutMs: 30_000,
    });
    expect((await up()).map(([, outcome]) => outcome)).toEqual(["started", "unchanged", "unchanged"]);

    desk.folder.write({ "mesh.toml": `${config}${rendezvous}ports = "22000-22099"\n` });
    expect((await up()).map(([, outcome]) => outcome)).toEqual(["replaced", "unchanged", "unchanged"]);
    expect(await inMesh()).toEqual(["rendezvous up"]);
    expect((await desk.mesh("logs", "rendezvous")).stdout).toMatch(/ ready .*echo=220\d\d,220\d\d/);
    expect(hosts[0].processes().filter(({ command }) => command[1] === "rendezvous")).toHaveLength(1);

    desk.folder.write({ "homes.ts": homes });
    expect(JSON.parse((await desk.mesh("run", "homes.ts")).stdout)).toEqual(hosts.map(({ home }) => home).sort());
    expect((await desk.mesh("down", "rendezvous")).status).toBe(0);
    expect(await inMesh()).toEqual([]);
    await until(() => pid() === undefined, { what: "the end of its process" });
    expect((await desk.mesh("up", "h2")).stdout).toMatch(/^h2 +unchanged.*\nrendezvous +started/m);
    expect((await desk.mesh("up", "h2")).stdout).toMatch(/^h2 +unchanged.*\nrendezvous +unchanged/m);
    expect(await inMesh()).toEqual(["rendezvous up"]);
    expect((await desk.mesh("down", "--purge")).status).toBe(0);
    expect([hosts.flatMap(left), processesLeft()]).toEqual([[], []]);
  }, 120_000);

  test("F90 a host that cannot be reached is named, and stops no other", async () => {
    await using desk = new Desk(`${config}[hosts.nobody]\nssh = "ssh://127.0.0.1:1"\n`);
    const up = await desk.mesh("up");
    expect(up.status).toBe(3);
    expect(up.stdout).toMatch(/^nobody failed: .*refuses connections on port 1/m);
    expect(up.stdout).toMatch(/^h1 +started/m);
    expect((await desk.mesh("up", "nobody")).status).toBe(5);
  }, 120_000);

  test("F5 run --hosts needs no mesh.toml, and leaves the binary alone on the hosts", async () => {
    await using desk = new Desk();
    desk.folder.write({ "homes.ts": homes });
    const run = await desk.mesh("run", "--hosts", "h1,h2", "homes.ts");
    expect(JSON.parse(run.stdout)).toHaveLength(2 * navigator.hardwareConcurrency);
    expect(new Set(JSON.parse(run.stdout))).toEqual(new Set(hosts.map(({ home }) => home)));
    expect([hosts.flatMap(temporaryLeft), processesLeft()]).toEqual([[], []]);
  }, 120_000);

  test("F95 X26 kill -9 of run --hosts leaves nothing, there or here", async () => {
    await using desk = new Desk();
    desk.folder.write({
      "job.ts": `import { pool } from "mesh";
        await pool().submit(() => { console.log("it runs"); return new Promise(() => setInterval(() => {}, 1_000)); });`,
    });
    await using run = desk.command(["run", "--hosts", "h1", "job.ts"]);
    await run.prints("it runs");
    run.signal("SIGKILL");
    await run.ended();
    await until(() => processesLeft().length === 0, {
      what: "the end of all processes on the hosts",
      timeoutMs: 30_000,
    });
    await until(() => temporaryLeft(hosts[0]).length === 0, { what: "the removal of the worker's state" });
    await until(() => run.processes.length === 0, { what: "the end of all processes of the desk", timeoutMs: 30_000 });
  }, 120_000);

  test("F5 pool.addHost brings a host up while the job runs", async () => {
    await using desk = new Desk(config);
    desk.folder.write({
      "add.ts": `import { pool } from "mesh";
        const workers = pool({ hosts: "h1" });
        const before = await workers.apply(() => process.env.HOME);
        const { name } = await workers.addHost("h2");
        const after = await workers.apply(() => process.env.HOME);
        const error = await workers.addHost("no-such-host.invalid").catch((e) => e.code);
        console.log(JSON.stringify({ before, name, after, error }));`,
    });
    await desk.mesh("up", "h1");
    const [one, two] = hosts.map(({ home }) => home);
    expect(JSON.parse((await desk.mesh("run", "add.ts")).stdout)).toEqual({
      before: [one],
      name: "h2",
      after: [one, two],
      error: "UNREACHABLE",
    });
  }, 120_000);

  test("F5 pool.addHost in a run without a mesh makes one, and nothing of it stays", async () => {
    await using desk = new Desk();
    desk.folder.write({
      "add.ts": `import { nodes, pipe, pool, Process } from "mesh";
        const one = pool({ slots: 1 });
        const two = pool();
        const sum = (values: number[]) => values.reduce((a, b) => a + b);
        const alone = sum(await one.map((x: number) => x, [1, 2, 3]));
        const { name } = await two.addHost("h1");
        const [funnel, spout] = pipe<string>();
        const echo = new Process(async (end: typeof funnel) => { await end.send(process.env.HOME!); end.close(); }, { host: "h1", args: [funnel] });
        await echo.start();
        const home = await spout.receive();
        await echo.join();
        const both = new Set(await two.apply(() => process.env.HOME)).size;
        const after = sum(await two.map((x: number) => x, Array.from({ length: 100 }, (_, i) => i)));
        console.log(JSON.stringify({ alone, name, home, both, after, nodes: (await nodes()).map(({ name }) => name).sort() }));`,
    });
    const run = await desk.mesh("run", "add.ts");
    expect([run.status, run.stderr]).toEqual([0, ""]);
    expect(JSON.parse(run.stdout)).toEqual({
      alone: 6,
      name: "h1",
      home: hosts[0].home,
      both: 2,
      after: 4_950,
      nodes: ["coordinator", "h1", "here"],
    });
    await until(() => processesLeft().length === 0, { what: "the end of all processes on the hosts" });
    expect(hosts.flatMap(temporaryLeft)).toEqual([]);
    expect(readdirSync(desk.folder.at(".state/mesh"))).toEqual([]);
  }, 120_000);

  test("F82 [coordinator] host: jobs that are detached run there, and the desk is a head of the mesh", async () => {
    await using desk = new Desk(config.replace("[coordinator]", '[coordinator]\nhost = "h1"'));
    expect((await desk.mesh("up")).status).toBe(0);
    desk.folder.write({ "job.ts": `console.log(process.env.HOME);` });
    const { stdout: job } = await desk.mesh("run", "-d", "job.ts");
    const attached = await desk.mesh("attach", job.trim());
    expect([attached.status, attached.stdout]).toEqual([0, `${hosts[0].home}\n`]);
    expect((await desk.json("up")) as object).toMatchObject({
      hosts: [{ outcome: "unchanged" }, { outcome: "unchanged" }],
    });
    expect((await desk.mesh("down")).status).toBe(0);
    await until(() => processesLeft().length === 0, { what: "the end of all processes on the hosts" });
  }, 120_000);

  test("F2 [rendezvous] ssh: a machine that is no host; one that cannot be reached stops no worker", async () => {
    const listen = 'listen = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\n';
    const one = config.replace("h[1-2]", "h1");
    await using desk = new Desk(`${one}[rendezvous]\nssh = "h2"\n${listen}`);
    expect(await desk.json("up")).toMatchObject({
      hosts: [{ name: "rendezvous", outcome: "started" }, { name: "h1" }],
    });
    desk.folder.write({ "homes.ts": homes });
    expect(JSON.parse((await desk.mesh("run", "homes.ts")).stdout)).toEqual([hosts[0].home]);
    expect((await desk.mesh("down")).status).toBe(0);
    expect(processesLeft()).toEqual([]);
    desk.folder.write({ "mesh.toml": `${one}[rendezvous]\nssh = "ssh://127.0.0.1:1"\n` });
    const up = await desk.mesh("up");
    expect([up.status, up.stdout]).toEqual([
      3,
      expect.stringMatching(/^rendezvous failed: .*refuses connections on port 1/m),
    ]);
    expect(up.stdout).toMatch(/^h1 +started/m);
  }, 120_000);

  test("F20 a provider of the user's own, by its file, starts and stops workers", async () => {
    await using desk = new Desk(
      `${config.replace("slots = 1", 'provider = "shed"')}[plugins]\nproviders = ["./shed.ts"]\n`,
    );
    desk.folder.write({
      "shed.ts": `import { appendFileSync } from "node:fs";
        const note = (text: string) => appendFileSync(import.meta.dirname + "/notes", text + "\\n");
        export default () => ({
          name: "shed",
          plan: async ({ name }) => ({ action: "start", steps: ["open " + name] }),
          start: async ({ name }, { token }) => {
            const { token: text, coordinators } = await token(name);
            note("start " + name + " " + text.slice(0, 6) + " " + coordinators.length);
            return { outcome: "started", sentBytes: 0 };
          },
          list: async () => [],
          stop: async ({ name }) => { note("stop " + name); return { outcome: "stopped", removed: [] }; },
          close: async () => note("close"),
        });`,
    });
    expect((await desk.mesh("up", "--dry-run")).stdout).toBe("h1: open h1\nh2: open h2\n");
    expect(await desk.json("up", "h1")).toMatchObject({ hosts: [{ name: "h1", outcome: "started" }] });
    expect(await desk.json("down")).toMatchObject({ hosts: [{ outcome: "stopped" }, { outcome: "stopped" }] });
    const notes = readFileSync(desk.folder.at("notes"), "utf8").trim().split("\n");
    expect(notes).toEqual([
      "close",
      expect.stringMatching(/^start h1 mesh1\. 1$/),
      "close",
      "stop h1",
      "stop h2",
      "close",
    ]);
  }, 60_000);
});
