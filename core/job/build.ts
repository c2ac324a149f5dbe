// core/job turns a user's script into the two texts that run it: the driver's and the workers'. This file is its entry and
// loads the parser, so import it lazily, and only where a script is built; processes that run a job need registry.ts alone.
// It knows nothing of hosts, slots or the wire.
//
//   module.ts     one file, parsed and its names resolved
//   analysis.ts   which functions travel, what they capture, what is wrong (handles, captures, top-level, declarations)
//   rewrite.ts    the file's text with that made explicit (edits, classes, worker-script)
//   bundle.ts     Bun's bundler and source maps (own-files, native-addons, bundler-messages)

import { realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { type Bundled, bundle } from "./bundle.ts";
import { messageDiagnostics, neighbour } from "./bundler-messages.ts";
import { BuildError, type Diagnostic } from "./diagnostics.ts";
import { addonMessage, NativeAddons } from "./native-addons.ts";
import { OwnFiles } from "./own-files.ts";

export interface JobBundle {
  /** SHA-256 over both texts, hexadecimal. */
  hash: string;
  /** ES module that runs the script. */
  driver: string;
  /** ES module that knows the script's functions and classes and runs nothing of it. */
  worker: string;
  /** Whether anything imports "mesh" for more than its types. */
  usesMesh: boolean;
}

export interface BuildOptions {
  /** Path of the script, absolute or from the current folder. */
  script: string;
  /** The names that "mesh" exports to scripts. */
  apiExports: readonly string[];
}

/**
 * Builds both bundles of a script. Throws a BuildError with all that is wrong: code SCRIPT, or CANNOT_TRAVEL when
 * functions that cannot travel are the only problem.
 */
export async function buildJob(options: BuildOptions): Promise<JobBundle> {
  const script = findScript(options.script);
  const files = new OwnFiles(script, options.apiExports);
  const addons = new NativeAddons();
  const shared = { script, files, apiExports: options.apiExports, addons };
  const [driver, worker] = await Promise.all([
    bundle({ ...shared, role: "driver" }),
    bundle({ ...shared, role: "worker" }),
  ]);
  throwProblems(script, files, addons, driver, worker);
  const texts = { driver: driver.text!, worker: worker.text! };
  const hash = new Bun.CryptoHasher("sha256").update(texts.driver).update("\0").update(texts.worker).digest("hex");
  return { hash, ...texts, usesMesh: files.usesMesh };
}

function throwProblems(script: string, files: OwnFiles, addons: NativeAddons, driver: Bundled, worker: Bundled): void {
  const problems = [
    ...files.problems,
    ...addonDiagnostics(files, addons),
    ...bundlerDiagnostics(files, driver, worker),
    ...assetDiagnostics(script, worker),
  ];
  if (problems.length > 0) throw new BuildError("SCRIPT", [...problems, ...files.refusals]);
  if (files.refusals.length > 0) throw new BuildError("CANNOT_TRAVEL", files.refusals);
}

/** Files that the bundler would put beside the bundle, where other machines have nothing. */
function assetDiagnostics(script: string, { assets }: Bundled): Diagnostic[] {
  return assets.map((name) => ({
    file: script,
    line: 0,
    column: 0,
    message:
      `imports the file ${name} by its path, which other machines do not have: import it with { type: "text" }, ` +
      "or read it in the script and use its contents",
  }));
}

/** What the bundler found; where our own findings explain it already, only unresolved imports. */
function bundlerDiagnostics(files: OwnFiles, driver: Bundled, worker: Bundled): Diagnostic[] {
  const isNew = (message: { name: string }) =>
    files.problems.length + files.refusals.length === 0 || message.name === "ResolveMessage";
  return [
    ...messageDiagnostics(driver.messages.filter(isNew), files, "driver"),
    ...messageDiagnostics(worker.messages.filter(isNew), files, "worker"),
  ];
}

function addonDiagnostics(files: OwnFiles, addons: NativeAddons): Diagnostic[] {
  return addons.imports.map(({ specifier, importer }) => ({
    file: importer,
    line: 0,
    column: 0,
    ...files.findImport(importer, specifier),
    message: addonMessage(specifier),
  }));
}

/** The script's real path; throws when it is no file that can be built. */
function findScript(given: string): string {
  const path = resolve(given);
  const fail = (message: string) => new BuildError("SCRIPT", [{ file: path, line: 0, column: 0, message }]);
  const stat = statOf(path, fail);
  if (!stat) {
    const near = neighbour(path);
    throw fail(`there is no such script${near ? `; did you mean ${near}?` : ""}`);
  }
  if (stat.isDirectory()) throw fail("is a folder, not a script; name the file in it that is to run");
  if (!/\.[cm]?[jt]sx?$/.test(path)) throw fail("is no TypeScript or JavaScript file by its extension");
  return realpathSync(path);
}

function statOf(path: string, fail: (message: string) => BuildError) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw fail(`cannot be read: ${(error as Error).message}`);
  }
}
