// Packs the declarations an editor needs for a job script into one gzipped JSON file, { path: text }:
// mesh's own (from core/mod.ts and all it imports) and those of Node's and Bun's globals and modules.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import { gzipSync } from "node:zlib";
import { root } from "./ground.mjs";

/** Writes the pack to `path`. */
export function packTypes(path) {
  const files = { ...meshTypes(dirname(path)), ...runtimeTypes() };
  writeFileSync(path, gzipSync(JSON.stringify(files), { level: 9 }));
}

/** Emits the declarations of core/mod.ts and its imports, as mesh/core/…; `work` is a folder for the passing files. */
function meshTypes(work) {
  const entry = join(root, "core/mod.ts");
  if (!existsSync(entry)) return { "mesh/core/mod.d.ts": "export {};\n" };
  const folder = mkdtempSync(join(work, "types-"));
  const project = join(folder, "tsconfig.json");
  const out = join(folder, "out");
  const compilerOptions = { noEmit: false, declaration: true, emitDeclarationOnly: true, outDir: out, rootDir: root };
  const config = { extends: join(root, "tsconfig.json"), compilerOptions, files: [entry], include: [] };
  writeFileSync(project, JSON.stringify(config));
  // --noCheck: whether the code is right is for `npm run typecheck` to say.
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const result = spawnSync(process.execPath, [tsc, "-p", project, "--noCheck"], { cwd: root, encoding: "utf8" });
  if (!existsSync(join(out, "core/mod.d.ts"))) {
    throw new Error(`tsc could not emit the declarations of core/mod.ts: ${result.stdout}${result.stderr}`);
  }
  const files = declarations(out, "mesh");
  rmSync(folder, { recursive: true });
  return files;
}

/** The declarations of Node and Bun, from the packages this checkout itself is checked with. */
function runtimeTypes() {
  const bun = packageFolder("bun-types", root);
  const node = packageFolder("@types/node", bun);
  const undici = packageFolder("undici-types", node);
  return { ...declarations(node, "node"), ...declarations(bun, "bun-types"), ...declarations(undici, "undici-types") };
}

function packageFolder(name, from) {
  return dirname(realpathSync(createRequire(join(from, "package.json")).resolve(`${name}/package.json`)));
}

/** All declaration files under `folder`, named from `prefix`, with package.json reduced to what TypeScript reads. */
function declarations(folder, prefix) {
  const files = {};
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = path
      .slice(folder.length + 1)
      .split(sep)
      .join("/");
    if (!entry.isFile() || name.split("/").includes("node_modules")) continue;
    if (name === "package.json") files[`${prefix}/${name}`] = reducePackage(path);
    else if (/\.d\.[mc]?ts$/.test(name) || name === "LICENSE") files[`${prefix}/${name}`] = readFileSync(path, "utf8");
  }
  return files;
}

function reducePackage(path) {
  const { name, version, license, types, typesVersions } = JSON.parse(readFileSync(path, "utf8"));
  return `${JSON.stringify({ name, version, license, types, typesVersions }, null, 2)}\n`;
}
