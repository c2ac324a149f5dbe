// The directions between folders are rules of biome.json; here each is broken once, to see that it fails.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { execute, ROOT, temporaryFolder } from "./mesh.ts";

const BIOME = join(ROOT, "node_modules/@biomejs/biome/bin/biome");

/** Lints one file, at its place in a copy of the checkout that holds nothing else but what `others` adds. */
function lint(path: string, source: string, others: Record<string, string> = {}) {
  using folder = temporaryFolder();
  for (const file of ["biome.json", "scripts/pure.grit", ".gitignore"]) {
    mkdirSync(dirname(join(folder.path, file)), { recursive: true });
    copyFileSync(join(ROOT, file), join(folder.path, file));
  }
  for (const [name, text] of Object.entries({ ...others, [path]: source })) {
    mkdirSync(dirname(join(folder.path, name)), { recursive: true });
    writeFileSync(join(folder.path, name), text);
  }
  const answer = execute([process.execPath, BIOME, "lint", "--vcs-enabled=false", "."], { cwd: folder.path });
  return { ok: answer.status === 0, told: answer.stdout + answer.stderr };
}

const use = (from: string) => `import { x } from "${from}";\nexport const y = x;\n`;

it.each([
  ["core/api/a.ts", "../../cmd/exit.ts", "core imports no other folder"],
  ["core/api/a.ts", "../../transports/tcp/tcp.ts", "core imports no other folder"],
  ["core/api/a.ts", "../../plugins/ssh/ssh.ts", "core imports no other folder"],
  ["core/a.ts", "../plugins/ssh/ssh.ts", "core imports no other folder"],
  ["core/api/a.ts", "../../test/support/until.ts", "Nothing outside test/ imports from test/"],
  ["core/wire/a.ts", "../../transports/tcp/tcp.ts", "core imports no other folder"],
  ["core/wire/a.ts", "../../test/support/until.ts", "Nothing outside test/ imports from test/"],
  ["core/wire/a.ts", "node:fs", "This folder is pure"],
  ["core/wire/a.ts", "node:fs/promises", "This folder is pure"],
  ["core/wire/a.ts", "bun", "This folder is pure"],
  ["core/wire/a.ts", "bun:ffi", "This folder is pure"],
  ["core/wire/a.ts", "../clock.ts", "This folder is pure"],
  ["transports/tcp/a.ts", "../udp/udp.ts", "never another transport"],
  ["transports/tcp/a.ts", "../../cmd/exit.ts", "A transport imports"],
  ["transports/tcp/a.ts", "../../plugins/ssh/ssh.ts", "A transport imports"],
  ["transports/tcp/a.ts", "../../test/support/until.ts", "Nothing outside test/ imports from test/"],
  ["transports/builtin.ts", "../plugins/ssh/ssh.ts", "transports import only core"],
  ["plugins/ssh/a.ts", "../local/local.ts", "never another plugin"],
  ["plugins/ssh/a.ts", "../../transports/tcp/tcp.ts", "A plugin imports"],
  ["plugins/builtin.ts", "../cmd/exit.ts", "plugins import only core"],
  ["cmd/a.ts", "../test/support/until.ts", "Nothing outside test/ imports from test/"],
  ["bench/a.ts", "../test/support/until.ts", "Nothing outside test/ imports from test/"],
])("biome.json: %s may not import %s", (path, from, told) => {
  const answer = lint(path, use(from));
  expect(answer.ok).toBe(false);
  expect(answer.told).toContain("noRestrictedImports");
  expect(answer.told.replaceAll(/\s+/g, " ")).toContain(told);
});

it.each([
  ["core/api/a.ts", "../errors.ts"],
  ["core/api/a.ts", "../transport.ts"],
  ["core/api/a.ts", "node:fs"],
  ["core/wire/a.ts", "./b.ts"],
  ["core/wire/a.ts", "../errors.ts"],
  ["transports/tcp/a.ts", "../../core/transport.ts"],
  ["transports/tcp/a.ts", "./b.ts"],
  ["transports/builtin.ts", "./tcp/tcp.ts"],
  ["plugins/ssh/a.ts", "../../core/provider.ts"],
  ["cmd/a.ts", "../transports/builtin.ts"],
  ["test/api/a.test.ts", "../support/until.ts"],
])("biome.json: %s may import %s", (path, from) => {
  expect(lint(path, use(from))).toMatchObject({ ok: true });
});

it.each([
  ["core/wire/a.ts", "export const a = Bun.version;", "noRestrictedGlobals"],
  ["core/wire/a.ts", "export const a = process.pid;", "noRestrictedGlobals"],
  ["core/wire/a.ts", "export const a = () => setTimeout(() => {}, 1);", "noRestrictedGlobals"],
  ["core/wire/a.ts", "export const a = performance.now();", "noRestrictedGlobals"],
  ["core/wire/a.ts", "export const a = crypto.randomUUID();", "noRestrictedGlobals"],
  ["core/wire/a.ts", "export const a = Math.random();", "This folder is pure"],
  ["core/wire/a.ts", "export const a = Date.now();", "This folder is pure"],
  ["core/wire/a.ts", "export const a = new Date();", "This folder is pure"],
  ["core/api/a.ts", 'console.log("a");', "noConsole"],
  ["transports/tcp/a.ts", 'console.log("a");', "noConsole"],
  ["core/api/a.ts", "async function f() {}\nf();\nexport { f };", "noFloatingPromises"],
])("biome.json: in %s, %s fails", (path, source, told) => {
  const answer = lint(path, `${source}\n`);
  expect(answer.ok).toBe(false);
  expect(answer.told).toContain(told);
});

it("biome.json: import cycles fail", () => {
  const answer = lint("core/api/a.ts", 'import { b } from "./b.ts";\nexport const a = () => b;\n', {
    "core/api/b.ts": 'import { a } from "./a.ts";\nexport const b = () => a;\n',
  });
  expect(answer.ok).toBe(false);
  expect(answer.told).toContain("noImportCycles");
});

it.each(["cmd/a.ts", "bench/a.ts", "scripts/a.mjs", "examples/a.ts", "test/a.test.ts"])(
  "biome.json: %s may print",
  (path) => {
    expect(lint(path, 'console.log("a");\n')).toMatchObject({ ok: true });
  },
);
