// Whether this machine has anything to do with a mesh. Loads nothing: every `mesh run` asks.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { stateFolderPath } from "../identity/state-folder.ts";

/** Whether a mesh of this name has ever been on this machine: then `mesh run` is meant to use it. */
export function isMeshKnown(meshName: string): boolean {
  const folder = stateFolderPath(meshName);
  return existsSync(join(folder, "ca")) || existsSync(join(folder, "joined"));
}
