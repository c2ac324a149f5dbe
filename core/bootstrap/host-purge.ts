// Removes what mesh keeps on a host, when a worker there was ended for good: its node's folder, then what nothing else needs.
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import { filesRoot, homeFolder } from "../files/root.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import { removeEmptyRunParents } from "../worker/run-folder.ts";
import { joinedNames, workersOf } from "./worker-record.ts";

/**
 * Removes the folder of a node of the mesh; files that jobs have sent, when no other node of the mesh is here; the caches of
 * binaries, when no worker of any mesh runs. Returns the folders that went.
 */
export function purgeHost(meshName: string, folder: string): string[] {
  const removed = remove([folder]);
  const state = stateFolderPath(meshName);
  if (joinedNames(meshName).length === 0) {
    const files = filesRoot(meshName);
    removed.push(...remove([files]), ...removeEmpty([dirname(files), dirname(dirname(files))]));
  }
  removed.push(...removeEmpty([dirname(folder), state, dirname(state)]));
  if (isAnyAlive(dirname(state))) return removed;
  return [...removed, ...(isUploaded() ? purgeCaches() : []), ...removeEmptyRunParents()];
}

function isAnyAlive(meshes: string): boolean {
  const names = existsSync(meshes) ? readdirSync(meshes) : [];
  return names.some((mesh) => joinedNames(mesh).some((name) => workersOf(mesh, name).length > 0));
}

/** Whether `mesh up` has put the binary of this process here. One that its user has put somewhere stays. */
function isUploaded(): boolean {
  const folder = dirname(process.execPath);
  return basename(dirname(folder)) === "bin" && /^[0-9a-f]{64}$/.test(basename(folder));
}

function purgeCaches(): string[] {
  const caches = new Set([dirname(dirname(dirname(process.execPath))), ...cacheFolders()]);
  return [...caches].flatMap((cache) => [...remove([join(cache, "bin")]), ...removeEmpty([cache])]);
}

/** Where scripts/probe.sh looks for a place. */
function cacheFolders(): string[] {
  const { XDG_CACHE_HOME: cache, XDG_RUNTIME_DIR: runtime } = process.env;
  const own = cache && isAbsolute(cache) ? cache : join(homeFolder(), ".cache");
  const user = process.getuid?.();
  const shared = user === undefined ? [] : [`/var/tmp/mesh-${user}`, `/tmp/mesh-${user}`];
  return [join(own, "mesh"), ...shared, ...(runtime && isAbsolute(runtime) ? [join(runtime, "mesh")] : [])];
}

function remove(folders: string[]): string[] {
  const there = folders.filter((folder) => existsSync(folder));
  for (const folder of there) rmSync(folder, { recursive: true, force: true });
  return there;
}

function removeEmpty(folders: string[]): string[] {
  return folders.filter((folder) => {
    try {
      rmdirSync(folder);
      return true;
    } catch {
      return false; // something else is in it, or it is not there
    }
  });
}
