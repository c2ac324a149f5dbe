import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { sshAliases } from "../../cmd/hosts/init-hosts.ts";
import { execute, mesh, ROOT, temporaryFolder } from "./mesh.ts";

const TSC = join(ROOT, "node_modules/typescript/bin/tsc");

function typecheck(folder: string) {
  return execute([process.execPath, TSC, "--noEmit", "-p", "."], { cwd: folder });
}

it("mesh init: in an empty folder, scripts that use mesh, Node and Bun pass tsc; a wrong type does not", () => {
  using folder = temporaryFolder();
  expect(mesh(["init"], { cwd: folder.path })).toMatchObject({ status: 0, stderr: "" });
  folder.write(
    "good.ts",
    `import { readFileSync } from "node:fs";
     import { Database } from "bun:sqlite";
     import { pool } from "mesh";
     const doubled: number[] = await pool().map((x: number) => x * 2, [1]);
     const text: string = readFileSync("x", "utf8");
     console.log(doubled, text, Buffer.from("a"), process.argv, Bun.version, Database.name, structuredClone(1));
     await fetch("http://x", { signal: AbortSignal.timeout(3) });`,
  );
  expect(typecheck(folder.path)).toMatchObject({ status: 0, stdout: "" });
  folder.write("bad.ts", 'import { pool } from "mesh";\nawait pool().map((x: string) => x, [1]);\n');
  const wrong = typecheck(folder.path);
  expect(wrong.status).not.toBe(0);
  expect(wrong.stdout).toContain("bad.ts(2,");
});

it("mesh init: what it writes is right: mesh.toml checks, hello.ts runs", () => {
  using folder = temporaryFolder();
  mesh(["init"], { cwd: folder.path });
  expect(mesh(["config", "check"], { cwd: folder.path }).status).toBe(0);
  const [directive] = readFileSync(join(folder.path, "mesh.toml"), "utf8").split("\n");
  expect(existsSync(join(folder.path, directive!.replace("#:schema ", "")))).toBe(true);
  expect(mesh(["run", "--slots", "1", "hello.ts"], { cwd: folder.path }).stdout).toContain("1, 4, 9, 16");
});

it("mesh init: again changes nothing and says so", () => {
  using folder = temporaryFolder();
  const first = JSON.parse(mesh(["init", "--json"], { cwd: folder.path }).stdout);
  expect(new Set(first.map((outcome: { status: string }) => outcome.status))).toEqual(new Set(["created"]));
  const before = statSync(join(folder.path, ".mesh/types/mesh/core/mod.d.ts")).mtimeMs;
  const again = JSON.parse(mesh(["init", "--json"], { cwd: folder.path }).stdout);
  expect(new Set(again.map((outcome: { status: string }) => outcome.status))).toEqual(new Set(["unchanged"]));
  expect(statSync(join(folder.path, ".mesh/types/mesh/core/mod.d.ts")).mtimeMs).toBe(before);
});

it("mesh init: the user's files are kept, with advice; --force replaces them; .mesh is brought up to date", () => {
  using folder = temporaryFolder();
  folder.write("tsconfig.json", "{}");
  folder.write("hello.ts", "mine");
  const kept = mesh(["init"], { cwd: folder.path }).stdout;
  expect(kept).toMatch(/^kept +tsconfig\.json: add "extends": "\.\/\.mesh\/tsconfig\.json"/m);
  expect(kept).toMatch(/^kept +hello\.ts$/m);
  expect(readFileSync(join(folder.path, "hello.ts"), "utf8")).toBe("mine");
  folder.write(".mesh/types/mesh/core/mod.d.ts", "stale");
  folder.write(".mesh/tsconfig.json", "stale");
  const again = mesh(["init", "--force"], { cwd: folder.path }).stdout;
  for (const path of ["tsconfig.json", "hello.ts", ".mesh/tsconfig.json", ".mesh/types"]) {
    expect(again).toContain(`updated   ${path}\n`.trimEnd());
  }
  expect(readFileSync(join(folder.path, "hello.ts"), "utf8")).toContain("pool()");
  expect(readFileSync(join(folder.path, ".mesh/types/mesh/core/mod.d.ts"), "utf8")).not.toBe("stale");
});

it("mesh init: a file in the way of .mesh, or of a file, is an error that names it", () => {
  using folder = temporaryFolder();
  folder.write(".mesh", "");
  const answer = mesh(["init"], { cwd: folder.path });
  expect(answer.status).toBe(2);
  expect(answer.stderr).toContain(".mesh");
  rmSync(join(folder.path, ".mesh"));
  mkdirSync(join(folder.path, "hello.ts"));
  expect(mesh(["init"], { cwd: folder.path })).toMatchObject({ status: 2, stdout: "" });
});

it("F1 mesh init HOST… writes hosts into mesh.toml, once each, and leaves the rest of it alone", () => {
  using folder = temporaryFolder();
  const init = (...hosts: string[]) => mesh(["init", ...hosts], { cwd: folder.path });
  const file = join(folder.path, "mesh.toml");
  expect(init("gpu1", "alice@rack[01-02]").stdout).toContain("3 new hosts");
  folder.write("mesh.toml", `# mine\n${readFileSync(file, "utf8")}`);
  expect(init("gpu1", "bob@10.0.0.9").stdout).toContain("1 new host\n");
  const text = readFileSync(file, "utf8");
  expect(text.startsWith("# mine\n")).toBe(true);
  expect(text.match(/^\[hosts.*$/gm)).toEqual(["[hosts.gpu1]", '[hosts."rack[01-02]"]', '[hosts."10.0.0.9"]']);
  expect(mesh(["config", "check"], { cwd: folder.path }).stdout).toContain("4 hosts");
  expect(init("a b")).toMatchObject({ status: 2, stderr: expect.stringContaining("is no host") });
  folder.write("mesh.toml", "[mesh]\nnmae = 1\n");
  expect(init("gpu3")).toMatchObject({ status: 2, stderr: expect.stringContaining("did you mean `name`?") });
  expect(readFileSync(file, "utf8")).toBe("[mesh]\nnmae = 1\n");
});

it("F3 sshAliases are the hosts that ssh_config names, with what it includes, without patterns", () => {
  using folder = temporaryFolder();
  folder.write("config", "Host a b *.lan\n  User x\nInclude more-*\nhost=c\nMatch host d\n");
  folder.write("more-1", 'Host "e" !f\n');
  const include = join(folder.path, "more-*");
  folder.write("config", readFileSync(join(folder.path, "config"), "utf8").replace("more-*", include));
  expect(sshAliases(join(folder.path, "config"))).toEqual(["a", "b", "e", "c"]);
  expect(sshAliases(join(folder.path, "none"))).toEqual([]);
});
