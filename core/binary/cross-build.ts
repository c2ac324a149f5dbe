// Makes the binary of this build for another platform, from what is inside the running one: its modules, as they were bundled, go
// into the Bun of that platform.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { MeshError } from "../errors.ts";
import type { Platform } from "../provider.ts";
import { dropSignature } from "./mach-o.ts";
import { platformName } from "./platform.ts";

/** Where a compiled program finds its own files. Not written out: it would be replaced below, and the next binary find nothing. */
const OWN_ROOT = `${dirname(Bun.main)}/`;

export interface CrossBuild {
  platform: Platform;
  /** The Bun of that platform. */
  base: string;
  /** Where the binary goes. */
  outfile: string;
}

/** Throws USAGE when this process is not the binary. */
export async function crossBuild({ platform, base, outfile }: CrossBuild): Promise<void> {
  if (!Bun.isStandaloneExecutable) {
    throw new MeshError("USAGE", "binaries for other platforms are made by the binary alone: run dist/mesh");
  }
  const work = mkdtempSync(join(dirname(outfile), ".work-"));
  try {
    const { entry, assets } = unpackSelf(work);
    const target = `bun-${platformName(platform)}` as Bun.Build.CompileTarget;
    const made = join(work, "made", "mesh");
    const result = await Bun.build({
      entrypoints: [entry],
      // As scripts/build.mjs does it.
      target: "bun",
      format: "esm",
      minify: true,
      bytecode: true,
      splitting: true,
      external: ["cpu-features", "*.node"],
      define: KEEP_PLATFORM,
      compile: {
        target,
        executablePath: base,
        outfile: made,
        execArgv: ["--no-warnings"],
        autoloadDotenv: false,
        autoloadBunfig: false,
        assets,
      },
      throw: false,
    });
    if (!result.success) throw new Error(`cannot build for ${target}: ${result.logs.join("; ")}`);
    if (platform.os === "darwin" && platform.arch === "x64") rewrite(made, dropSignature);
    renameSync(made, outfile);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function rewrite(path: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
}

/** The compiler would put the platform it builds for in their place, and the binary could not build for another one. */
const KEEP_PLATFORM = { "process.platform": "process.platform", "process.arch": "process.arch" };

/** Writes this program's own modules and assets to `folder`. */
function unpackSelf(folder: string): { entry: string; assets: string[] } {
  const entry = basename(Bun.main);
  const names = readdirSync(OWN_ROOT).filter((name) => statSync(OWN_ROOT + name).isFile());
  const modules = names.filter((name) => name === entry || /\.m?js$/.test(name));
  mkdirSync(join(folder, "made"));
  for (const name of modules) {
    const text = readFileSync(OWN_ROOT + name, "utf8").replaceAll(OWN_ROOT, "./");
    writeFileSync(join(folder, moduleName(name)), text);
  }
  const assets = names.filter((name) => !modules.includes(name)).map((name) => join(folder, name));
  for (const path of assets) writeFileSync(path, readFileSync(OWN_ROOT + basename(path)));
  return { entry: join(folder, moduleName(entry)), assets };
}

function moduleName(name: string): string {
  return /\.m?js$/.test(name) ? name : `${name}.js`;
}
