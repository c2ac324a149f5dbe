// Workers that join by token, on real processes: what lets them in, what does not, and what they are told then.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { MeshResult } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

const where = `import { pool, self } from "mesh"; console.log(JSON.stringify(await pool().apply(() => self.node)));`;

async function tokenOf(mesh: TestMesh, ...args: string[]): Promise<string> {
  const { stdout, stderr, status } = await mesh.mesh(["token", ...args]);
  expect(status, stderr).toBe(0);
  return stdout.trim().split("\n").at(-1)!;
}

/** The environment of another machine. */
function machine(mesh: TestMesh, name: string): { XDG_STATE_HOME: string } {
  const path = mesh.folder.at(name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return { XDG_STATE_HOME: path };
}

/** A worker that is not let in: how it ends. */
function tries(mesh: TestMesh, token: string, args: string[] = [], state = "stranger", env = {}): Promise<MeshResult> {
  const all = ["worker", "--join", mesh.address, "--name", "late", "--slots", "1", ...args];
  return mesh.mesh(all, { env: { ...machine(mesh, state), MESH_TOKEN: token, ...env } });
}

const audits = (mesh: TestMesh) => mesh.coordinator.stderr.match(/join-refused.*/g) ?? [];

describe("X24 F17 tokens", () => {
  test("X24 F17 one lets in one worker of its role and name before it expires; each refusal says why and leaves one audit line", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    await using other = await TestMesh.start({ workers: {} });
    const token = await tokenOf(mesh, "--role", "worker");
    const env = machine(mesh, "beta");
    await mesh.startWorker("beta", ["--join", mesh.address, "--slots", "1"], { ...env, MESH_TOKEN: token });
    expect(await mesh.resultOf(where)).toEqual(["beta"]);

    const { stdout } = await mesh.mesh(["token", "--role", "worker", "--ttl", "1s", "--json"]);
    const expiring = JSON.parse(stdout) as { token: string; expiresAt: number };
    const refusals: [token: string, words: RegExp, reason: string][] = [
      [token, /late may not join: its token was used before.*mesh token --role worker/, "used"],
      [await tokenOf(mesh, "--role", "head"), /its token is for a head, not for a worker/, "other role"],
      [await tokenOf(mesh, "--role", "worker", "--name", "early"), /its token is for the node early/, "other name"],
      [expiring.token, /its token expired at .* by the coordinator's clock/, "expired"],
    ];
    await until(() => Date.now() > expiring.expiresAt, { what: "the token to expire" });
    for (const [i, [refused, words, reason]] of refusals.entries()) {
      const { status, stderr } = await tries(mesh, refused);
      expect([status, stderr]).toEqual([4, expect.stringMatching(words)]);
      expect(stderr).not.toContain(refused);
      await until(() => audits(mesh).length === i + 1, { what: "an audit line" });
      expect(audits(mesh).at(-1)).toContain(reason);
    }
    const foreign = await tries(mesh, await tokenOf(other, "--role", "worker"));
    expect([foreign.status, foreign.stderr]).toEqual([4, expect.stringMatching(/another mesh|not .*this mesh/)]);
    const garbled = await tries(mesh, `${token.slice(0, -4)}AAAA`);
    expect(garbled.status).toBe(2);
    expect(garbled.stderr).not.toContain(token.slice(0, 20));
    expect((await mesh.status()).nodes.map(({ name }) => name).sort()).toEqual(["beta", "coordinator"]);
    expect(existsSync(join(mesh.folder.at("stranger"), "mesh"))).toBe(false);
  });

  test("F17 F30 a worker that joined comes back without a token, or with the used one, also before its coordinator", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const token = await tokenOf(mesh, "--role", "worker");
    const env = machine(mesh, "beta");
    const args = ["--join", mesh.address, "--slots", "1"];
    const deleted = ["--token-file", mesh.folder.at("deleted")];
    for (const [given, more] of [
      [{ MESH_TOKEN: token }, []],
      [{}, []],
      [{ MESH_TOKEN: token }, []],
      [{}, deleted],
    ] as const) {
      const worker = await mesh.startWorker("beta", [...args, ...more], { ...env, ...given });
      expect(await mesh.resultOf(where)).toEqual(["beta"]);
      worker.signal("SIGTERM");
      expect((await worker.ended()).status).toBe(0);
    }
    mesh.coordinator.signal("SIGTERM");
    await mesh.coordinator.ended();
    const early = mesh.command(["worker", "--name", "beta", "--slots", "1", "--listen", "tcp://127.0.0.1:0"], {
      env,
      limitMs: 20_000,
    });
    mesh.workers.set("beta", early);
    await early.prints("coordinator not reached yet", "stderr");
    await mesh.startCoordinator();
    await early.prints(/ ready .*name=beta/, "stderr");
    expect(await mesh.resultOf(where)).toEqual(["beta"]);
    expect(audits(mesh)).toEqual([]);
  });

  test("F17 without a token, without a coordinator and with a file that is not there: what to do is said", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const env = machine(mesh, "beta");
    const noToken = await mesh.mesh(["worker", "--join", mesh.address, "--name", "beta"], { env });
    expect([noToken.status, noToken.stderr]).toEqual([
      4,
      expect.stringMatching(/token.*`mesh token --role worker`.*MESH_TOKEN/),
    ]);
    const nobody = await mesh.mesh(["worker", "--name", "beta"], { env });
    expect([nobody.status, nobody.stderr]).toEqual([
      5,
      expect.stringContaining("no coordinator of the mesh mesh runs on this machine"),
    ]);
    const file = await mesh.mesh(["worker", "--join", mesh.address, "--token-file", "none"], { env });
    expect([file.status, file.stderr]).toEqual([2, expect.stringContaining("the token's file none cannot be read")]);
    const token = await tokenOf(mesh, "--role", "worker");
    const elsewhere = { ...env, MESH_TOKEN: token };
    const nowhere = await mesh.mesh(["worker", "--join", "tcp://127.0.0.1:1", "--name", "beta"], { env: elsewhere });
    expect([nowhere.status, nowhere.stderr]).toEqual([5, expect.stringContaining("127.0.0.1:1")]);
    writeFileSync(mesh.folder.at("token"), `${token}\n`, { mode: 0o600 });
    await mesh.startWorker("beta", ["--join", mesh.address, "--token-file", mesh.folder.at("token")], env);
  });
});

describe("F14 names are unique", () => {
  test("F14 a second worker of a name hears who has it, and its token is good for another name", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const beside = await mesh.mesh(["worker", "--name", "w1"]);
    expect([beside.status, beside.stderr]).toEqual([
      4,
      expect.stringContaining("a node named w1 is in the mesh already: choose another name"),
    ]);
    const token = await tokenOf(mesh, "--role", "worker");
    const taken = await tries(mesh, token, ["--name", "w1"]);
    expect([taken.status, taken.stderr]).toEqual([
      4,
      expect.stringContaining("a node named w1 is in the mesh already"),
    ]);
    const reserved = await tries(mesh, token, ["--name", "coordinator"]);
    expect([reserved.status, reserved.stderr]).toEqual([
      4,
      expect.stringContaining("coordinator is in the mesh already"),
    ]);
    const env = { ...machine(mesh, "beta"), MESH_TOKEN: token };
    await mesh.startWorker("w2", ["--join", mesh.address, "--slots", "1"], env);
    const twice = await mesh.mesh(["worker", "--name", "w2"], { env: machine(mesh, "beta") });
    expect([twice.status, twice.stderr]).toEqual([
      2,
      expect.stringMatching(/the name w2 is taken: a worker of that name runs on .*mesh kill w2/),
    ]);
    expect(await mesh.resultOf(where)).toEqual(["w1", "w2"]);
  });
});

describe("X37 state that others can get at is refused, with how to put it right", () => {
  test("X37 folders and keys of a coordinator, a command and a worker that joined", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const env = machine(mesh, "beta");
    const worker = await mesh.startWorker("beta", ["--join", mesh.address, "--slots", "1"], {
      ...env,
      MESH_TOKEN: await tokenOf(mesh, "--role", "worker"),
    });
    worker.signal("SIGTERM");
    await worker.ended();
    const folder = join(env.XDG_STATE_HOME, "mesh", "mesh", "joined", "beta");
    expect(readdirSync(folder).sort()).toEqual(["ca.pem", "cert.pem", "key.pem", "node.json", "token-id"]);
    for (const [path, wrong, right] of [
      [join(folder, "key.pem"), 0o644, "600"],
      [folder, 0o755, "700"],
    ] as const) {
      chmodSync(path, wrong);
      const { status, stderr } = await mesh.mesh(["worker", "--name", "beta"], { env });
      expect([status, stderr]).toEqual([4, expect.stringContaining(`chmod ${right} ${path}`)]);
      chmodSync(path, Number.parseInt(right, 8));
    }
    mesh.coordinator.signal("SIGTERM");
    await mesh.coordinator.ended();
    for (const [path, wrong, right] of [
      [mesh.state, 0o750, "700"],
      [join(mesh.state, "ca", "ca.key"), 0o640, "600"],
    ] as const) {
      chmodSync(path, wrong);
      const { status, stderr } = await mesh.mesh(["coordinator", "--listen", "tcp://127.0.0.1:0"]);
      expect([status, stderr]).toEqual([4, expect.stringContaining(`chmod ${right} ${path}`)]);
      chmodSync(path, Number.parseInt(right, 8));
    }
    await mesh.startCoordinator();
    await mesh.startWorker("beta", ["--slots", "1"], env);
  });
});

const libraries = ["x86_64", "aarch64"].map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`);
const libfaketime = libraries.find((path) => existsSync(path));
if (libfaketime === undefined)
  console.warn("the tests of X12 on real processes are skipped: there is no libfaketime (Debian package faketime)");

/** A clock that shows another time, as the file says; it goes on as the others. */
const clockOf = (file: string) => ({
  LD_PRELOAD: libfaketime,
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
});

describe.skipIf(libfaketime === undefined)("X12 clocks that are off", () => {
  test("X12 a worker an hour ahead or behind joins and serves; set by a year while it works, it is not taken for dead", async () => {
    await using mesh = await TestMesh.start({
      workers: {},
      config: '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\n',
    });
    for (const [name, offset] of [
      ["ahead", "+1h"],
      ["behind", "-1h"],
    ] as const) {
      writeFileSync(mesh.folder.at(name), offset);
      const env = {
        ...machine(mesh, `${name}-state`),
        ...clockOf(mesh.folder.at(name)),
        MESH_TOKEN: await tokenOf(mesh, "--role", "worker"),
      };
      await mesh.startWorker(name, ["--join", mesh.address, "--slots", "1"], env);
    }
    const script = `import { pool, self } from "mesh"; import { writeFileSync } from "node:fs";
const clock = () => [self.node, Math.round((Date.now() - Number(self.isDriver ? Date.now() : now)) / 3_600_000)];
const now = Date.now();
const before = await pool().apply(clock);
writeFileSync("ahead", "+365d"); writeFileSync("behind", "-365d");
const after = await pool().map((i: number) => { const end = performance.now() + 1_500; while (performance.now() < end); return [self.node, new Date().getFullYear()]; }, [1, 2]);
console.log(JSON.stringify([before, after.toSorted()]));`;
    await using run = mesh.start(script);
    const { stdout, stderr, status } = await run.ended();
    const year = new Date().getFullYear();
    expect([status, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toEqual([
      [
        ["ahead", 1],
        ["behind", -1],
      ],
      [
        ["ahead", year + 1],
        ["behind", year - 1],
      ],
    ]);
    expect((await mesh.status()).nodes.filter(({ state }) => state !== "up")).toEqual([]);
    expect(`${mesh.worker("ahead").stderr}${mesh.worker("behind").stderr}`).not.toMatch(/lost/);
  });

  test.each(["+365d", "-365d"])("X12 who joins with a clock that shows %s is told to set it", async (offset) => {
    await using mesh = await TestMesh.start({ workers: {} });
    writeFileSync(mesh.folder.at("clock"), offset);
    const { status, stderr } = await tries(
      mesh,
      await tokenOf(mesh, "--role", "worker"),
      [],
      "stranger",
      clockOf(mesh.folder.at("clock")),
    );
    expect([status, stderr]).toEqual([4, expect.stringMatching(/clock/)]);
    expect(readFileSync(mesh.folder.at("clock"), "utf8")).toBe(offset);
  });
});
