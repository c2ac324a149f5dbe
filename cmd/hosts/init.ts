// mesh init: what a folder needs so that an editor, or plain tsc, knows `import { pool } from "mesh"` and the globals of
// Node and Bun, with nothing else installed. Running it again brings .mesh up to date and leaves the user's files alone.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import { Command } from "@commander-js/extra-typings";
import { MeshError } from "../../core/errors.ts";
import { count } from "../operate/job-words.ts";

const MESH_HEAD = `#:schema ./.mesh/mesh.schema.json
# What mesh knows of your machines. Without any host, \`mesh run\` uses this machine alone.
# \`mesh config check\` tells what is wrong with this file.

[mesh]
name = "mesh"
`;
const MESH_TOML = `${MESH_HEAD}
# [hosts.gpu1]
# ssh = "alice@10.0.0.5"          # or an alias of ssh_config
# slots = 8                       # default: its cores
# tags = ["gpu"]

# [hosts."rack[01-16]"]           # sixteen hosts, rack01 to rack16
# ssh = "rack[01-16].lan"
`;

const TSCONFIG = `{
  "extends": "./.mesh/tsconfig.json",
  "include": ["**/*.ts"]
}
`;

const HELLO = `// Run me: mesh run hello.ts
import { pool } from "mesh";

const squares = await pool().map((x: number) => x ** 2, [1, 2, 3, 4]);
console.log(squares);
`;

/** The compiler settings that go with the declarations; in .mesh, so that a newer mesh can change them. */
const OWN_TSCONFIG = {
  compilerOptions: {
    target: "esnext",
    module: "esnext",
    moduleResolution: "bundler",
    moduleDetection: "force",
    lib: ["esnext"],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    resolveJsonModule: true,
    typeRoots: ["./types"],
    types: ["bun-types"],
    paths: { mesh: ["./types/mesh/core/mod.d.ts"], "undici-types": ["./types/undici-types/index.d.ts"] },
  },
};

/** Files that belong to the user once they are there. */
const USER_FILES = { "mesh.toml": MESH_TOML, "tsconfig.json": TSCONFIG, "hello.ts": HELLO };
const TYPES = ".mesh/types";

/** Files that belong to mesh. */
async function ownFiles(): Promise<Record<string, string>> {
  const { jsonSchema } = await import("../../core/config/schema.ts");
  return {
    ".mesh/.gitignore": "*\n",
    ".mesh/tsconfig.json": jsonText(OWN_TSCONFIG),
    ".mesh/mesh.schema.json": jsonText(jsonSchema()),
  };
}

function jsonText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

type Status = "created" | "updated" | "unchanged" | "kept";
interface Outcome {
  path: string;
  status: Status;
  /** What is left for the user to do. */
  advice?: string;
}

/** `mesh init`. */
export function command() {
  return new Command("init")
    .description("Set this folder up for job scripts: mesh.toml, tsconfig.json, a first script, and types for editors.")
    .argument("[hosts...]", "hosts for mesh.toml: names for ssh, or ranges of them (default: asks on a terminal)")
    .option("--force", "replace mesh.toml, tsconfig.json and hello.ts that are there already")
    .option("--json", "print as JSON: [{ path, status, advice }]")
    .action(async (hosts, options) => {
      const folder = process.cwd();
      const words = hosts.length > 0 || options.json ? hosts : await askForHosts(folder);
      const outcomes = await init(folder, options.force === true, words);
      console.log(options.json ? JSON.stringify(outcomes) : outcomes.map(lineOf).join("\n"));
    });
}

function lineOf({ path, status, advice }: Outcome): string {
  return `${status.padEnd(10)}${path}${advice === undefined ? "" : `: ${advice}`}`;
}

/** On a terminal, for a folder without mesh.toml: which aliases of ssh_config. */
async function askForHosts(folder: string): Promise<string[]> {
  if (!isatty(0) || !isatty(2) || existsSync(join(folder, "mesh.toml"))) return [];
  const { chooseAliases, sshAliases } = await import("./init-hosts.ts");
  const aliases = sshAliases();
  return aliases.length === 0 ? [] : await chooseAliases(aliases);
}

async function init(folder: string, force: boolean, hosts: string[]): Promise<Outcome[]> {
  try {
    const toml = hosts.length > 0 ? await writeHosts(folder, hosts, force) : undefined;
    const own = Object.entries(await ownFiles()).map(([path, text]) => writeOwn(folder, path, text));
    const types = writeTypes(folder, await readPack());
    const files = Object.entries(USER_FILES).filter(([path]) => path !== toml?.path);
    const written = files.map(([path, text]) => writeOnce(folder, path, text, force));
    return [...(toml ? [toml] : []), ...written, ...own, types];
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || error instanceof MeshError) throw error;
    const advice = "mesh init needs a folder it may write to, where .mesh is no file";
    throw new MeshError("USAGE", `cannot set up ${folder}: ${message}: ${advice}`, { cause: error });
  }
}

/** Adds the hosts to mesh.toml that it does not name yet. Throws CONFIG when it is wrong, before or after. */
async function writeHosts(folder: string, words: string[], force: boolean): Promise<Outcome> {
  const { hostSections } = await import("./init-hosts.ts");
  const { checkSource } = await import("../../core/config/mod.ts");
  const path = "mesh.toml";
  const file = join(folder, path);
  const found = force ? undefined : readIfThere(file);
  const text = found ?? MESH_HEAD;
  const configOf = async (source: string) => {
    const check = await checkSource(source, file);
    if ("config" in check) return check.config;
    throw new MeshError("CONFIG", check.text);
  };
  const known = new Set((await configOf(text)).hosts.map(({ name }) => name));
  const missing = hostSections(words).filter(({ names }) => !names.every((name) => known.has(name)));
  if (missing.length === 0) return { path, status: "unchanged" };
  const changed = `${text.trimEnd()}\n${missing.map((section) => section.text).join("")}`;
  await configOf(changed);
  writeFileSync(`${file}.new`, changed);
  renameSync(`${file}.new`, file);
  const advice = `\`mesh up\` starts a worker on ${count(missing.flatMap(({ names }) => names).length, "new host")}`;
  return { path, status: found === undefined ? "created" : "updated", advice };
}

function writeOnce(folder: string, path: string, text: string, force: boolean): Outcome {
  const found = readIfThere(join(folder, path));
  if (found === text) return { path, status: "unchanged" };
  if (found !== undefined && !force) return { path, status: "kept", ...adviceFor(path, found) };
  writeFileSync(join(folder, path), text);
  return { path, status: found === undefined ? "created" : "updated" };
}

function adviceFor(path: string, found: string): { advice?: string } {
  if (path !== "tsconfig.json" || found.includes(".mesh/tsconfig.json")) return {};
  return { advice: 'add "extends": "./.mesh/tsconfig.json" so that editors find the types of mesh' };
}

function writeOwn(folder: string, path: string, text: string): Outcome {
  const found = readIfThere(join(folder, path));
  if (found === text) return { path, status: "unchanged" };
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  return { path, status: found === undefined ? "created" : "updated" };
}

/** Replaces the folder of declarations as a whole, so that no file of an older mesh stays and none is half written. */
function writeTypes(folder: string, pack: Record<string, string>): Outcome {
  const place = join(folder, TYPES);
  const present = existsSync(place);
  if (present && Object.entries(pack).every(([path, text]) => readIfThere(join(place, path)) === text)) {
    return { path: TYPES, status: "unchanged" };
  }
  const fresh = `${place}.${process.pid}`;
  for (const [path, text] of Object.entries(pack)) {
    mkdirSync(dirname(join(fresh, path)), { recursive: true });
    writeFileSync(join(fresh, path), text);
  }
  rmSync(place, { recursive: true, force: true });
  renameSync(fresh, place);
  return { path: TYPES, status: present ? "updated" : "created" };
}

/** The declarations that scripts/build.mjs put into the binary, by path; from dist when the sources run. */
async function readPack(): Promise<Record<string, string>> {
  const packed = Bun.file(join(import.meta.dir, Bun.isStandaloneExecutable ? "" : "../../dist", "types.json.gz"));
  if (!(await packed.exists()))
    throw new MeshError("USAGE", `${packed.name} is not there: run \`npm run build\` first`);
  return JSON.parse(new TextDecoder().decode(Bun.gunzipSync(await packed.bytes())));
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
