// Builds dist/mesh before the first test, when it is missing or not made of these sources.
import { spawnSync } from "node:child_process";

export default function buildOnce(): void {
  // Under Bun, process.execPath is the Bun of node_modules; the script runs under it as it does under Node.
  const result = spawnSync(process.execPath, ["scripts/build.mjs"], { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`scripts/build.mjs failed:\n${result.stdout}${result.stderr}`);
}
