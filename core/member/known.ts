// Whether this machine has anything to do with a mesh. Loads nothing: every `mesh run` asks.
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { isName } from "../identity/names.ts";
import { stateFolderPath } from "../identity/state-folder.ts";

/** Whether a mesh of this name has ever been on this machine: then `mesh run` is meant to use it. */
export function isMeshKnown(meshName: string): boolean {
  const folder = stateFolderPath(meshName);
  return existsSync(join(folder, "ca")) || existsSync(join(folder, "joined"));
}

const TEMPORARY = /^run-[0-9a-f]{10}$/;

/** A name for a mesh that lasts for one run: it is nobody's default, should anything of it stay. */
export function temporaryMeshName(): string {
  return `run-${randomBytes(5).toString("hex")}`;
}

export function isTemporaryMesh(meshName: string): boolean {
  return TEMPORARY.test(meshName);
}

/** The meshes this machine has anything to do with, by name. */
export function knownMeshes(): string[] {
  const all = dirname(stateFolderPath("any"));
  return existsSync(all)
    ? readdirSync(all).filter((name) => isName(name) && !isTemporaryMesh(name) && isMeshKnown(name))
    : [];
}
