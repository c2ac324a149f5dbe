import { expect, it } from "vitest";
import { mesh, temporaryFolder } from "./mesh.ts";

function hostileFolder() {
  const folder = temporaryFolder();
  folder.write("evil.ts", 'console.log("EVIL"); process.exit(66);');
  folder.write("bunfig.toml", 'preload = ["./evil.ts"]\n');
  folder.write(".env", "MESH_DEBUG=1\nFORCE_COLOR=1\nBUN_OPTIONS=--preload=./evil.ts\n");
  folder.write("package.json", '{ "name": "evil", "imports": { "commander": "./evil.ts" } }');
  folder.write("tsconfig.json", '{ "compilerOptions": { "paths": { "*": ["./evil.ts"] } } }');
  return folder;
}

it.each([["version"], ["config schema"], ["rnu"]])(
  "hostile working folder (X35): mesh %s loads nothing from it",
  (line) => {
    using folder = hostileFolder();
    const args = line.split(" ");
    expect(mesh(args, { cwd: folder.path })).toEqual(mesh(args));
  },
);

it.each([
  { BUN_OPTIONS: "--preload ./evil.ts" },
  { BUN_OPTIONS: "--config=bunfig.toml" },
  { BUN_OPTIONS: "--env-file=.env" },
  { BUN_BE_BUN: "1" },
  { BUN_INSPECT_PRELOAD: "./evil.ts" },
  { BUN_INSPECT: "192.0.2.1:9229" }, // not ours: a runtime that tries to listen there fails
  { BUN_INSPECT_CONNECT_TO: "ws://127.0.0.1:1/" },
  { NODE_OPTIONS: "--require ./evil.ts" },
  { NODE_PATH: "." },
])("hostile environment (X35): not obeyed: %o", (env) => {
  using folder = hostileFolder();
  expect(mesh(["version"], { cwd: folder.path, env })).toEqual(mesh(["version"]));
  expect(mesh(["rnu"], { cwd: folder.path, env })).toEqual(mesh(["rnu"]));
});

it("hostile environment (X35): a job's own processes see none of it, and TLS stays strict", () => {
  using folder = temporaryFolder();
  folder.write(
    "job.ts",
    `import { pool } from "mesh";
     const names = ["BUN_OPTIONS", "BUN_BE_BUN", "NODE_TLS_REJECT_UNAUTHORIZED"];
     const seen = await pool().map((name: string) => process.env[name] ?? "unset", names);
     console.log(JSON.stringify([...seen, ...names.map((name) => process.env[name] ?? "unset")]));`,
  );
  const env = { BUN_OPTIONS: "--preload ./evil.ts", BUN_BE_BUN: "1", NODE_TLS_REJECT_UNAUTHORIZED: "0" };
  const answer = mesh(["run", "--slots", "1", "job.ts"], { cwd: folder.path, env });
  expect(answer.stdout).toBe(`${JSON.stringify(Array(6).fill("unset"))}\n`);
});
