// What a mesh of real processes takes from a hostile folder and environment (nothing), and where its secrets are (in files of
// their user, and nowhere else).
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { processesOf } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { open, prelude, whenNoted } from "./notes.ts";

async function tokenOf(mesh: TestMesh, ...args: string[]): Promise<string> {
  return (await mesh.mesh(["token", "--role", "worker", ...args])).stdout.trim().split("\n").at(-1)!;
}

function machine(mesh: TestMesh, name: string): { XDG_STATE_HOME: string } {
  mkdirSync(mesh.folder.at(name), { mode: 0o700 });
  return { XDG_STATE_HOME: mesh.folder.at(name) };
}

describe("X35 hostile working folder and environment", () => {
  const files = {
    "evil.ts": 'require("node:fs").writeFileSync(__dirname + "/EVIL", process.argv.join(" ")); process.exit(66);',
    "bunfig.toml": 'preload = ["./evil.ts"]\n',
    ".env": "MESH_DEBUG=1\nXDG_STATE_HOME=/nonexistent\nMESH_TOKEN=mesh1.evil\nBUN_OPTIONS=--preload=./evil.ts\n",
    "package.json": '{ "name": "evil", "imports": { "commander": "./evil.ts", "cbor-x": "./evil.ts" } }',
    "tsconfig.json": '{ "compilerOptions": { "paths": { "commander": ["./evil.ts"] } } }',
    "node_modules/commander/index.js": 'require("../../evil.ts");',
  };
  const env = {
    BUN_OPTIONS: "--preload ./evil.ts",
    BUN_BE_BUN: "1",
    BUN_INSPECT_PRELOAD: "./evil.ts",
    BUN_INSPECT: "192.0.2.1:9229", // a runtime that obeys fails
    NODE_OPTIONS: "--require ./evil.ts",
    NODE_PATH: ".",
    NODE_TLS_REJECT_UNAUTHORIZED: "0",
  };

  test("X35 coordinator, worker, commands, heads and slots load nothing from it and obey none of it", async () => {
    await using mesh = await TestMesh.start({ files, env, workers: { w1: 1 } });
    const script = `import { pool } from "mesh";
const names = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT", "NODE_TLS_REJECT_UNAUTHORIZED", "MESH_DEBUG", "MESH_TOKEN"];
const seen = () => names.filter((name) => process.env[name] !== undefined);
console.log(JSON.stringify([seen(), ...(await pool().apply(seen))]));`;
    expect(await mesh.resultOf(script)).toEqual([[], []]);
    expect((await mesh.status()).nodes.map(({ name }) => name).sort()).toEqual(["coordinator", "w1"]);
    expect((await mesh.mesh(["run", "-d", "job.ts"])).stdout).toBe("2\n");
    expect(JSON.parse((await mesh.mesh(["attach", "2"])).stdout)).toEqual([[], []]);
    for (const { stdout, stderr } of [mesh.coordinator, mesh.worker("w1")])
      expect(`${stdout}${stderr}`).not.toMatch(/evil/i);
    expect(existsSync(mesh.folder.at("EVIL"))).toBe(false);
  });

  test("X35 X22 NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing: another mesh's coordinator is not believed, nor another mesh's worker", async () => {
    await using mesh = await TestMesh.start({ env, workers: {} });
    await using other = await TestMesh.start({ env, workers: {} });
    const home = machine(mesh, "beta");
    const worker = await mesh.startWorker("beta", ["--join", mesh.address], {
      ...home,
      MESH_TOKEN: await tokenOf(mesh),
    });
    worker.signal("SIGTERM");
    await worker.ended();
    await using lured = mesh.command(["worker", "--name", "beta", "--join", other.address], { env: home });
    await lured.prints(/no trust in what answers .*its certificate was not signed by a CA this side trusts/, "stderr");
    expect(other.coordinator.stderr).not.toMatch(/node connected/);
    const pinned = await mesh.mesh(["worker", "--name", "late", "--join", other.address], {
      env: { ...machine(mesh, "late"), MESH_TOKEN: await tokenOf(mesh) },
    });
    expect([pinned.status, pinned.stderr]).toEqual([4, expect.stringMatching(/another mesh|not .*token/)]);
  });
});

interface Found {
  path: string;
  mode: number;
  text: string;
}

/** Everything below a folder, itself too. */
function tree(path: string): Found[] {
  const stat = lstatSync(path);
  const mode = stat.mode & 0o777;
  if (stat.isDirectory()) {
    return [{ path, mode, text: "" }, ...readdirSync(path).flatMap((name) => tree(join(path, name)))];
  }
  return [{ path, mode, text: stat.isFile() ? readFileSync(path, "latin1") : "" }];
}

describe("X37 secrets", () => {
  test("X37 tokens and keys are in no command line, environment of slots, log or file of others; state is 0700 and 0600", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    const [first, second, unused] = [await tokenOf(mesh), await tokenOf(mesh), await tokenOf(mesh, "--ttl", "1h")];
    const [beta, gamma] = [machine(mesh, "beta"), machine(mesh, "gamma")];
    await mesh.startWorker("beta", ["--join", mesh.address, "--slots", "1"], { ...beta, MESH_TOKEN: first });
    mesh.folder.write({ given: second });
    await mesh.startWorker("gamma", ["--join", mesh.address, "--slots", "1", "--token-file", "given"], {
      ...gamma,
    });
    const script = `import { pool } from "mesh"; ${prelude}
await pool().apply(async () => { console.log(JSON.stringify(process.env)); note("up", 1); await gate("end"); });
out(process.env.MESH_TOKEN ?? "none");`;
    const env = { MESH_TOKEN: unused };
    await using run = mesh.start(script, { env });
    await whenNoted(mesh.folder, "up", 2);
    expect((await mesh.mesh(["run", "-d", "job.ts"], { env })).stdout).toBe("2\n");
    await whenNoted(mesh.folder, "up", 4);

    const keys = [...tree(mesh.state), ...tree(beta.XDG_STATE_HOME), ...tree(gamma.XDG_STATE_HOME)]
      .filter(({ path }) => /\.key$|key\.pem$/.test(path))
      .map(({ text }) => text.split("\n")[1]!);
    expect(keys).toHaveLength(3);
    const secrets = [first, second, unused, ...keys].map((text) => text.slice(-60));
    const leaks = (text: string) => secrets.filter((secret) => text.includes(secret));

    const processes = processesOf(mesh.folder.marker);
    const roles = processes.map(({ command }) => command[1]).toSorted();
    expect(roles).toEqual([
      "coordinator",
      "head",
      "head",
      "run",
      "slot",
      "slot",
      "slot",
      "slot",
      "slot",
      "slot",
      "worker",
      "worker",
    ]);
    for (const { pid, command } of processes) {
      expect([command, leaks(command.join(" "))]).toEqual([command, []]);
      if (command[1] !== "slot") continue;
      expect([command, leaks(readFileSync(`/proc/${pid}/environ`, "latin1"))]).toEqual([command, []]);
    }
    for (const folder of mesh.folder.runFolders()) {
      const found = tree(join(mesh.folder.run, folder));
      expect(found[0]!.mode).toBe(0o700);
      expect(found.flatMap(({ text }) => leaks(text))).toEqual([]);
    }
    open(mesh.folder, "end");
    const { stdout, stderr } = await run.ended();
    expect(stdout.trim().split("\n").at(-1)).toBe('"none"');
    await until(async () => (await mesh.status()).jobs.length === 0, { what: "both jobs to be over" });
    const logs = [await mesh.mesh(["logs", "1"]), await mesh.mesh(["logs", "2"])].map((log) => log.stdout);
    for (const text of [
      stdout,
      stderr,
      ...logs,
      mesh.coordinator.stderr,
      ...[...mesh.workers.values()].map((worker) => worker.stderr),
    ]) {
      expect(leaks(text)).toEqual([]);
    }
    const all = [mesh.folder.at(".state"), beta.XDG_STATE_HOME, gamma.XDG_STATE_HOME].flatMap((path) =>
      tree(join(path, "mesh")),
    );
    expect(all.length).toBeGreaterThan(20);
    const loose = all.filter(({ mode, path }) => mode !== (lstatSync(path).isDirectory() ? 0o700 : 0o600));
    expect(loose.map(({ path, mode }) => `${path} ${mode.toString(8)}`)).toEqual([]);
    const holders = all.filter(({ text }) => leaks(text).length > 0).map(({ path }) => path.split("/").at(-1));
    expect(holders.toSorted()).toEqual(["ca.key", "key.pem", "key.pem"]);
  });
});
