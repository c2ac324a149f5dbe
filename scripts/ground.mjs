// What every script here stands on: the checkout's own folder, its dependencies, and the Bun they bring.
// Plain Node (or Bun) with no dependency, because it runs before anything is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command in the checkout, its output to ours; ends this process with its status when it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) {
    console.error(`could not run ${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
  return result;
}

// Its words to standard error: the last line of standard output belongs to the script that called.
const npmOptions = { shell: process.platform === "win32", stdio: ["ignore", 2, 2] };

/** Installs the pinned dependencies unless the ones of this very lock file are there already. */
export function install() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const mark = join(root, "node_modules", ".installed");
  if (existsSync(mark) && readFileSync(mark, "utf8") === lock && findBun()) return;
  // Not `npm ci`: it refuses a lock file that lacks optional packages of other platforms, and a registry mirror that
  // does not carry them writes just such a lock file. `npm install` takes the same versions and hashes from it.
  if (process.versions.bun) run(process.execPath, ["install", "--no-save"], { stdio: ["ignore", 2, 2] });
  else run("npm", ["install", "--no-save", "--no-audit", "--no-fund"], npmOptions);
  writeFileSync(mark, lock);
}

/** The Bun of node_modules: after its postinstall in bun/bin, with install scripts disabled still in @oven. */
export function findBun() {
  const arch = process.arch === "arm64" ? "aarch64" : process.arch;
  const names = [`bun-${process.platform}-${arch}`, `bun-${process.platform}-${arch}-baseline`];
  const places = [
    join(root, "node_modules/bun/bin/bun.exe"),
    ...names.map((name) => join(root, "node_modules/@oven", name, "bin/bun")),
  ];
  // Without the postinstall, bun.exe is a stub of a few hundred bytes.
  return places.find((place) => existsSync(place) && statSync(place).size > 1_000_000);
}

/** As findBun, but ends this process with advice when there is none. */
export function requireBun() {
  const bun = findBun();
  if (bun) return bun;
  console.error("no Bun in node_modules: run `npm ci` here, or `npm run demo`, which does it for you");
  process.exit(1);
}
