// Configuration: mesh.toml found, read, checked and made ready to use. Knows nothing of the command line, of transports
// or providers beyond their names, and writes nothing. What is wrong with a file is told all at once, with its places.
import { lstatSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { isMeshError, MeshError } from "../errors.ts";
import type { RendezvousSettings } from "../rendezvous/settings.ts";
import { type LocatedProblem, problemsOf, render } from "./problems.ts";
import { expandRanges } from "./ranges.ts";
import type { ConfigFile } from "./schema.ts";
import { BUILTIN_TRANSPORTS } from "./transports.ts";

export type { LocatedProblem } from "./problems.ts";
export { parseDuration, parseSize } from "./units.ts";

/** The name of the configuration file. */
export const CONFIG_NAME = "mesh.toml";

/** A larger file is refused: 10,000 hosts take less. */
export const CONFIG_LIMIT_BYTES = 1024 * 1024;

/** One host, ranges expanded. */
export interface HostConfig {
  name: string;
  provider: string;
  /** What to give to ssh: user@host or an alias; the host's own name unless it says otherwise. */
  ssh: string;
  /** Slots to start; its cores when not given. */
  slots?: number;
  slotMemoryBytes?: number;
  tags: string[];
  /** Where its worker listens, and what others are told instead. */
  listen?: string[];
  advertise?: string[];
}

/** Where the mesh has a rendezvous beside the coordinator. */
export interface RendezvousConfig {
  /** The name of a host, or "local". */
  host?: string;
  /** A machine that is no host, as ssh finds it. */
  ssh?: string;
  /** Where it listens, and what others are told instead. */
  listen?: string[];
  advertise?: string[];
  /** Also of the coordinator. */
  settings: RendezvousSettings;
}

/** A mesh.toml that has been checked, with every default filled in. */
export interface MeshConfig {
  /** The file it comes from; relative paths in it are relative to this file's folder. */
  file: string;
  name: string;
  /** What may be used, in the order of BUILTIN_TRANSPORTS. */
  transports: string[];
  heartbeatMs: number;
  suspectAfterMs: number;
  downAfterMs: number;
  leaseMs: number;
  /** Without `listen` on port 7450 of every transport. */
  coordinator: { host: string; listen?: string[] };
  /** Without host and ssh the coordinator alone is one. */
  rendezvous: RendezvousConfig;
  hosts: HostConfig[];
  /** Settings by transport. */
  transport: Record<string, Record<string, unknown>>;
  /** Absolute paths of the files of plugins. */
  plugins: { providers: string[] };
}

/** What became of a check: the configuration, or everything that is wrong and the same as text. */
export type ConfigCheck = { config: MeshConfig } | { problems: LocatedProblem[]; text: string };

/** Finds the nearest mesh.toml in `folder` or above it. Something of that name that is no readable file counts too. */
export function findConfig(folder: string = process.cwd()): string | undefined {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const path = join(at, CONFIG_NAME);
    if (lstatSync(path, { throwIfNoEntry: false })) return path;
    if (dirname(at) === at) return undefined;
  }
}

/** Loads and checks a mesh.toml. Throws CONFIG with everything that is wrong with it. */
export async function loadConfig(file: string): Promise<MeshConfig> {
  const result = await checkConfig(file);
  if ("config" in result) return result.config;
  throw new MeshError("CONFIG", result.text);
}

/** Reads and checks a mesh.toml without throwing for what is wrong with it. */
export async function checkConfig(file: string): Promise<ConfigCheck> {
  const shown = shownPath(file);
  let source: string;
  try {
    source = readSource(file, shown);
  } catch (error) {
    if (!isMeshError(error, "CONFIG")) throw error;
    return { problems: [{ file: shown, message: error.message }], text: `${shown}: ${error.message}` };
  }
  return await checkSource(source, file);
}

/** Checks the text of a mesh.toml; `file` is where it is said to come from. */
export async function checkSource(source: string, file: string): Promise<ConfigCheck> {
  const shown = shownPath(file);
  const parsed = await parseToml(source);
  if ("problem" in parsed) return failed([{ file: shown, ...parsed.problem }], source);
  const { checkShape, knownKeys } = await import("./schema.ts");
  const { crossCheck } = await import("./cross-check.ts");
  const { unknownKey } = await import("./unknown-key.ts");
  const shape = checkShape(parsed.data);
  const issues = shape.success ? [] : shape.error.issues;
  const advise = unknownKey(knownKeys);
  const problems = [...problemsOf(issues, parsed.data, advise), ...crossCheck(parsed.data)];
  if (shape.success && problems.length === 0) return { config: resolveConfig(shape.data, file) };
  const { locate } = await import("./locate.ts");
  return failed(locate(problems, source, shown), source);
}

/** The file as people would name it: relative to where they stand, unless that leads far away. */
function shownPath(file: string): string {
  const near = relative(process.cwd(), file);
  return near === "" || near.startsWith(join("..", "..", "..")) ? file : near;
}

function failed(problems: LocatedProblem[], source: string): ConfigCheck {
  return { problems, text: problems.map((problem) => render(problem, source)).join("\n") };
}

function readSource(file: string, shown: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new MeshError("CONFIG", reasonOf(error as NodeJS.ErrnoException, shown), { cause: error });
  }
  if (bytes.length > CONFIG_LIMIT_BYTES) {
    throw new MeshError("CONFIG", `is ${(bytes.length / 2 ** 20).toFixed(1)} MiB; a mesh.toml may have 1 MiB`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new MeshError("CONFIG", "is not text in UTF-8: save it in that encoding", { cause: error });
  }
}

function reasonOf(error: NodeJS.ErrnoException, shown: string): string {
  const reasons: Record<string, string> = {
    EISDIR: `is a folder, not a file: mesh looks for a file ${CONFIG_NAME} here; move or rename the folder`,
    EACCES: `may not be read by this user: \`chmod u+r ${shown}\` as its owner`,
    ENOENT: "does not exist: `mesh init` writes one to start from",
    ELOOP: "is a symbolic link that leads back to itself",
  };
  return reasons[error.code ?? ""] ?? `cannot be read: ${error.message}`;
}

type Parsed = { data: unknown } | { problem: Omit<LocatedProblem, "file"> };

async function parseToml(source: string): Promise<Parsed> {
  const { parse } = (await import("toml")).default;
  try {
    return { data: parse(source, { maxDepth: 64 }) };
  } catch (error) {
    const { grammarProblem } = await import("./grammar.ts");
    return { problem: grammarProblem(error, source) };
  }
}

function resolveConfig(file: ConfigFile, path: string): MeshConfig {
  const folder = dirname(resolve(path));
  const { listen } = file.coordinator;
  return {
    file: resolve(path),
    name: file.mesh.name,
    transports: BUILTIN_TRANSPORTS.filter((name) => file.mesh.transports.includes(name)),
    heartbeatMs: file.mesh.heartbeat,
    suspectAfterMs: file.mesh.suspectAfter,
    downAfterMs: file.mesh.downAfter,
    leaseMs: file.mesh.lease,
    coordinator: { host: file.coordinator.host, ...(listen && { listen }) },
    rendezvous: resolveRendezvous(file.rendezvous),
    hosts: Object.entries(file.hosts).flatMap(([pattern, host]) => resolveHosts(pattern, host, file.mesh)),
    transport: file.transport,
    plugins: {
      providers: file.plugins.providers.map((path) => resolve(folder, path)),
    },
  };
}

type Given<Table> = { [Key in keyof Table]?: Exclude<Table[Key], undefined> };

/** Without what is undefined. */
function given<Table extends object>(table: Table): Given<Table> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined)) as Given<Table>;
}

function resolveRendezvous({
  ports,
  relayRate: relayBytesPerSecond,
  relayPairs,
  ...where
}: ConfigFile["rendezvous"]): RendezvousConfig {
  return { ...given(where), settings: given({ ports, relayBytesPerSecond, relayPairs }) };
}

function resolveHosts(pattern: string, host: ConfigFile["hosts"][string], mesh: ConfigFile["mesh"]): HostConfig[] {
  const names = expandRanges(pattern);
  const logins = host.ssh === undefined ? names : expandRanges(host.ssh);
  const slots = host.slots ?? mesh.slots;
  const slotMemoryBytes = host.slotMemory ?? mesh.slotMemory;
  return names.map((name, index) => ({
    name,
    provider: host.provider,
    ssh: logins[index] ?? name,
    ...(slots !== undefined && { slots }),
    ...(slotMemoryBytes !== undefined && { slotMemoryBytes }),
    ...(host.listen && { listen: host.listen }),
    ...(host.advertise && { advertise: host.advertise }),
    tags: host.tags,
  }));
}
