// Whether this machine has anything to do with a mesh. Loads nothing: every `mesh run` asks.
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { isName } from "../identity/names.ts";
import { stateFolderPath } from "../identity/state-folder.ts";

/** Whether a mesh of this name has ever been on this machine: then `mesh run` is meant to use it. */
export function isMeshKnown(meshName: string): boolean {
  const folder = stateFolderPath(meshName);
  return existsSync(join(folder, "ca")) || existsSync(join(folder, "joined"));
}

/** The meshes this machine has anything to do with, by name. */
export function knownMeshes(): string[] {
  const all = dirname(stateFolderPath("any"));
  return existsSync(all) ? readdirSync(all).filter((name) => isName(name) && isMeshKnown(name)) : [];
}
