// Builds a fixture with buildJob and runs its two bundles for real, each in a Bun process of its own.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildJob, type JobBundle } from "../../../core/job/build.ts";
import { BuildError } from "../../../core/job/diagnostics.ts";
import { API_EXPORTS } from "./api.ts";

// Only so that a broken fixture leaves no process behind.
const HUNG_MS = 25_000;

/** File texts by path relative to the fixture's folder; a string alone is `job.ts`. */
export type Files = string | Record<string, string>;

export interface Fixture extends Disposable {
  folder: string;
  path(name: string): string;
}

export function fixture(files: Files): Fixture {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "mesh-job-")));
  for (const [name, text] of Object.entries(typeof files === "string" ? { "job.ts": files } : files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return {
    folder,
    path: (name) => join(folder, name),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export function build(made: Fixture, script = "job.ts"): Promise<JobBundle> {
  return buildJob({ script: made.path(script), apiExports: API_EXPORTS });
}

/** Builds and runs a script, and returns what it gave to `out(...)`. */
export async function run(files: Files, script = "job.ts"): Promise<unknown[]> {
  using made = fixture(files);
  return await runBundle(made, await build(made, script));
}

export async function runBundle(made: Fixture, bundle: JobBundle): Promise<unknown[]> {
  // Outside of the fixture, so that nothing can be found beside the bundles.
  using place = fixture({ "driver.mjs": bundle.driver, "worker.mjs": bundle.worker });
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dirname}/driver.ts`, place.path("driver.mjs"), place.path("worker.mjs")],
    {
      cwd: place.folder,
      stdout: "pipe",
      stderr: "pipe",
      timeout: HUNG_MS,
      env: { ...process.env, FIXTURE: made.folder },
    },
  );
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`the driver ended with ${code}:\n${stderr}\n${stdout}`);
  return JSON.parse(stdout);
}

/** The diagnostics of a script that must not build, as "file:line:column message", paths relative to its folder. */
export async function problems(files: Files, script = "job.ts"): Promise<{ error: BuildError; lines: string[] }> {
  using made = fixture(files);
  try {
    await build(made, script);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    const lines = error.diagnostics.map(
      ({ file, line, column, message }) => `${file.slice(made.folder.length + 1)}:${line}:${column} ${message}`,
    );
    return { error, lines };
  }
  throw new Error("the script built, but should not have");
}
