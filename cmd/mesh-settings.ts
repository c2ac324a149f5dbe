// What a process of a mesh takes from the nearest mesh.toml, with the defaults where there is none.
import { findConfig, loadConfig, type MeshConfig } from "../core/config/mod.ts";
import { BUILTIN_TRANSPORTS } from "../core/config/transports.ts";
import { knownMeshes } from "../core/member/known.ts";
import { defaultListening, type Listening } from "../core/member/listening.ts";
import type { RendezvousSettings } from "../core/rendezvous/settings.ts";

/** What every node of a mesh takes from mesh.toml. */
export interface NodeSettings {
  /** What it may use, of the transports that ship. */
  transports: readonly string[];
  timing: { heartbeatMs: number; suspectAfterMs: number; downAfterMs: number };
}

export interface MeshSettings extends NodeSettings {
  /** The name of the mesh. */
  name: string;
  /** Where it comes from; undefined without a mesh.toml. */
  file: string | undefined;
  /** Where the coordinator listens; undefined when mesh.toml does not say. */
  listen: readonly string[] | undefined;
  /** Of each rendezvous of the mesh. */
  rendezvous: RendezvousSettings;
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

const COORDINATOR_PORT = 7450;

/** Where the coordinator listens, as mesh.toml says or by default: then at its usual port, unless `port` says otherwise. */
export function coordinatorListening(
  { listen, transports }: Pick<MeshSettings, "listen" | "transports">,
  port = COORDINATOR_PORT,
): Listening {
  return listen ? { listen } : defaultListening(transports, port);
}

const DEFAULTS: Omit<MeshSettings, "name"> = {
  file: undefined,
  listen: undefined,
  transports: BUILTIN_TRANSPORTS,
  timing: { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 },
  rendezvous: {},
  leaseMs: 10_000,
  hasHosts: false,
};

/** Throws CONFIG when there is a mesh.toml and it is wrong. `name` goes before what it says. */
export async function meshSettings(name?: string): Promise<MeshSettings> {
  const file = findConfig();
  if (!file) return { ...DEFAULTS, name: name ?? defaultMesh() };
  const config = await loadConfig(file);
  const { heartbeatMs, suspectAfterMs, downAfterMs, transports } = config;
  return {
    name: name ?? config.name,
    file,
    listen: config.coordinator.listen,
    transports,
    timing: { heartbeatMs, suspectAfterMs, downAfterMs },
    rendezvous: config.rendezvous.settings,
    leaseMs: config.leaseMs,
    hasHosts: config.hosts.some(({ provider }) => provider !== "local"),
    config,
  };
}
