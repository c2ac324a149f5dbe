// Builds dist/mesh, the one binary, and dist/types.json.gz, the declarations in it that `mesh init` writes for editors.
// Runs under plain Node or Bun. Does nothing when the binary is already made of these very inputs.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { install, requireBun, root, run } from "./ground.mjs";
import { packTypes } from "./types.mjs";

const dist = join(root, "dist");
export const binary = join(dist, process.platform === "win32" ? "mesh.exe" : "mesh");
const stamp = join(dist, ".built-from");

/** What the binary is made of: these folders and files, the installed packages (by lock file), Bun and the commit. */
const INPUT_FOLDERS = ["cmd", "core", "transports", "plugins", "scripts"];
const INPUT_FILES = ["package.json", "package-lock.json", "tsconfig.json"];

// A compiled Bun program obeys these before its first line runs: BUN_OPTIONS and BUN_INSPECT_PRELOAD load a file of the
// environment's choosing into it, BUN_BE_BUN turns it into the bun command, and BUN_INSPECT opens a debugger's port or
// dials one (BUN_INSPECT_CONNECT_TO, which editors set in their terminals). No flag of `bun build` switches them off
// (seen in 1.4.5), so the copy of Bun that goes into the binary asks for names no shell can set. core/binary/deafen.ts does the
// same for other platforms.
const DEAF_TO = JSON.parse(readFileSync(join(root, "core/binary/deaf-to.json"), "utf8"));

/** Makes dist/mesh unless it is current; returns whether it had to. */
export function build() {
  install();
  const commit = describeCommit();
  const inputs = hashInputs(commit);
  if (isCurrent(inputs)) return false;
  mkdirSync(dist, { recursive: true });
  const work = join(dist, `.work-${process.pid}`);
  mkdirSync(work);
  try {
    packTypes(join(work, "types.json.gz"));
    compile(work, commit);
    const made = join(work, "mesh");
    const { size } = statSync(made);
    rmSync(stamp, { force: true });
    renameSync(join(work, "types.json.gz"), join(dist, "types.json.gz"));
    renameSync(made, binary);
    writeFileSync(stamp, `${inputs} ${size}\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return true;
}

function compile(work, commit) {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const bun = requireBun();
  const flags = [
    "--compile",
    "--minify",
    "--sourcemap",
    "--bytecode",
    "--splitting", // each role loads its own part only: half the start-up time
    "--format=esm",
    // Without these two, a .env and the preload of a bunfig.toml in the user's folder would be loaded.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--compile-exec-argv=--no-warnings",
    "--external=cpu-features",
    "--external=*.node",
    "--define",
    'process.env.CBOR_NATIVE_ACCELERATION_DISABLED="true"',
    "--define",
    `MESH_BUILD=${JSON.stringify({ version, commit })}`,
    // Else the compiler puts this machine's in their place, and core/binary/cross-build.ts makes binaries for others of it.
    "--define=process.platform=process.platform",
    "--define=process.arch=process.arch",
    `--asset=${join(work, "types.json.gz")}`,
    ...deafBun(bun, work),
    `--outfile=${join(work, "mesh")}`,
  ];
  run(bun, ["build", ...flags, join(root, "cmd/main.ts")], { stdio: ["ignore", "pipe", "inherit"], cwd: work });
}

/** The flag that makes the binary from a copy of Bun that ignores DEAF_TO; nothing where that copy cannot be made. */
function deafBun(bun, work) {
  // Elsewhere a changed executable loses its signature.
  if (process.platform !== "linux") return [];
  const bytes = readFileSync(bun);
  for (const name of DEAF_TO) {
    const from = Buffer.from(`\0${name}\0`);
    const at = bytes.indexOf(from);
    if (at < 0 || bytes.indexOf(from, at + 1) >= 0) {
      throw new Error(`this Bun does not hold the name ${name} exactly once: see DEAF_TO in scripts/build.mjs`);
    }
    bytes.write("=", at + 1, "latin1");
  }
  const copy = join(work, "bun");
  writeFileSync(copy, bytes);
  chmodSync(copy, 0o755);
  return [`--compile-executable-path=${copy}`];
}

/** The short commit of this checkout, with "-dirty" when files differ from it; "unknown" without git. */
function describeCommit() {
  const args = ["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"];
  const git = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  return git.status === 0 ? git.stdout.trim() : "unknown";
}

function hashInputs(commit) {
  const hash = createHash("sha256").update(`${commit} ${process.platform} ${process.arch}\n`);
  const files = [...INPUT_FILES, ...INPUT_FOLDERS.flatMap(filesUnder)];
  for (const file of files) {
    const path = join(root, file);
    if (existsSync(path)) hash.update(`${file}\0`).update(readFileSync(path)).update("\0");
  }
  return hash.digest("hex");
}

function filesUnder(folder) {
  const path = join(root, folder);
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1))
    .sort();
}

function isCurrent(inputs) {
  if (!existsSync(stamp) || !existsSync(binary)) return false;
  return readFileSync(stamp, "utf8") === `${inputs} ${statSync(binary).size}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const made = build();
  const { size } = statSync(binary);
  console.log(`dist/mesh ${made ? "built" : "is current"}: ${(size / 1e6).toFixed(1)} MB`);
}
