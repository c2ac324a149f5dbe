// Every gate of `npm run ok`, in its order, each to its end. The last line is "N passed, N failed", with
// ", N skipped" when tests were skipped; a gate that is no test run counts as one.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install, requireBun, root } from "./ground.mjs";

const tools = {
  lint: ["@biomejs/biome/bin/biome", "check", "."],
  typecheck: ["typescript/bin/tsc", "--noEmit"],
  unused: ["knip/bin/knip.js", "--no-progress"],
};

const counts = { passed: 0, failed: 0, skipped: 0 };
const runtime = process.execPath;

install();
for (const [gate, [script, ...args]] of Object.entries(tools)) {
  countGate(gate, execute(gate, runtime, [join(root, "node_modules", script), ...args]));
}
const built = execute("build", runtime, [join(root, "scripts/build.mjs")]);
countGate("build", built);
if (built) runTests();
else countGate("tests, for want of a binary", false);

const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** Runs a command with its output to ours; tells whether it succeeded. */
function execute(gate, command, args) {
  console.log(`\n== ${gate}`);
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.error) console.error(`could not run ${command}: ${result.error.message}`);
  return result.status === 0;
}

function countGate(gate, ok) {
  counts[ok ? "passed" : "failed"]++;
  if (!ok) console.error(`== ${gate} failed`);
}

function runTests() {
  const folder = mkdtempSync(join(tmpdir(), "mesh-test-"));
  const report = join(folder, "report.json");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const ok = execute("tests", requireBun(), ["--bun", vitest, "run", ...reporters, ...process.argv.slice(2)]);
  const before = counts.failed;
  if (existsSync(report)) countTests(JSON.parse(readFileSync(report, "utf8")));
  // A file that does not load, an error outside any test, no report at all: no test counts them.
  if (!ok && counts.failed === before) countGate("tests", false);
  rmSync(folder, { recursive: true });
}

function countTests(report) {
  counts.passed += report.numPassedTests;
  counts.failed += report.numFailedTests;
  counts.skipped += report.numPendingTests + report.numTodoTests;
  for (const file of report.testResults) {
    if (file.status === "failed" && file.assertionResults.length === 0) countGate(file.name, false);
  }
}
