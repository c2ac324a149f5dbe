// What a process of a mesh takes from the nearest mesh.toml, with the defaults where there is none.
import { findConfig, loadConfig, type MeshConfig } from "../core/config/mod.ts";
import { BUILTIN_TRANSPORTS } from "../core/config/transports.ts";
import { knownMeshes } from "../core/member/known.ts";

export interface MeshSettings {
  /** The name of the mesh. */
  name: string;
  /** Where it comes from; undefined without a mesh.toml. */
  file: string | undefined;
  /** Where the coordinator listens: addresses of transports this version has. */
  listen: string[];
  timing: { heartbeatMs: number; suspectAfterMs: number; downAfterMs: number };
  /** How long the coordinator waits for the lost head of a job. */
  leaseMs: number;
  /** Whether mesh.toml names hosts beside this machine. */
  hasHosts: boolean;
  /** All that mesh.toml says; undefined without one. */
  config?: MeshConfig;
}

/** The mesh that is meant when nothing names one: the only one this machine knows, or the one it would make. */
export function defaultMesh(): string {
  const known = knownMeshes();
  return known.length === 1 ? known[0]! : "mesh";
}

export const DEFAULT_LISTEN = ["tcp://[::]:7450"];

const DEFAULTS: Omit<MeshSettings, "name"> = {
  file: undefined,
  listen: DEFAULT_LISTEN,
  timing: { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 },
  leaseMs: 10_000,
  hasHosts: false,
};

/** Throws CONFIG when there is a mesh.toml and it is wrong. `name` goes before what it says. */
export async function meshSettings(name?: string): Promise<MeshSettings> {
  const file = findConfig();
  if (!file) return { ...DEFAULTS, name: name ?? defaultMesh() };
  const config = await loadConfig(file);
  const { heartbeatMs, suspectAfterMs, downAfterMs } = config;
  return {
    name: name ?? config.name,
    file,
    listen: config.coordinator.listen.filter(isOfBuiltin),
    timing: { heartbeatMs, suspectAfterMs, downAfterMs },
    leaseMs: config.leaseMs,
    hasHosts: config.hosts.some(({ provider }) => provider !== "local"),
    config,
  };
}

function isOfBuiltin(address: string): boolean {
  return BUILTIN_TRANSPORTS.some((name) => address.startsWith(`${name}://`));
}
