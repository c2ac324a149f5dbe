// Where a mesh keeps on disk what outlives its processes.
import { rmdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { checkName } from "./names.ts";
import { makePrivateFolder } from "./private-files.ts";

/**
 * The folder of a mesh on this machine, made when it is missing: $XDG_STATE_HOME/mesh/NAME, by default
 * ~/.local/state/mesh/NAME, mode 0700. Throws AUTHENTICATION when it is not this user's alone, UNREACHABLE when it cannot
 * be made, USAGE for a name that is none.
 */
export function stateFolder(meshName: string): string {
  const folder = stateFolderPath(meshName);
  return privateFolders(dirname(folder), folder);
}

/** Where that folder is, or would be. Throws USAGE for a name that is none. */
export function stateFolderPath(meshName: string): string {
  checkName(meshName, "the name of a mesh");
  return join(stateHome(), "mesh", meshName);
}

/** The folder of a node that joined a mesh by token, below the mesh's own; made when it is missing. */
export function joinedFolder(meshName: string, nodeName: string): string {
  checkName(nodeName, "the name of a node");
  const joined = join(stateFolder(meshName), "joined");
  return privateFolders(joined, join(joined, nodeName));
}

/** Removes what a node that joined has there, and the folders above it that hold nothing else. */
export function removeJoined(meshName: string, nodeName: string): void {
  const mesh = stateFolderPath(meshName);
  const joined = join(mesh, "joined");
  rmSync(join(joined, nodeName), { recursive: true, force: true });
  for (const folder of [joined, mesh]) {
    try {
      rmdirSync(folder);
    } catch {
      return; // there is more in it
    }
  }
}

/** By the XDG base directory specification, a path that is not absolute is to be ignored. */
function stateHome(): string {
  // Bun's homedir() does not see a HOME that was changed within the process.
  const { XDG_STATE_HOME: given, HOME: home } = process.env;
  if (given && isAbsolute(given)) return given;
  return join(home && isAbsolute(home) ? home : homedir(), ".local", "state");
}

function privateFolders(outer: string, inner: string): string {
  makePrivateFolder(outer);
  makePrivateFolder(inner);
  return inner;
}
