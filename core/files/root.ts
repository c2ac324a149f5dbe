// Where files of a node are.
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/**
 * Where a node keeps the files that jobs send it: $XDG_DATA_HOME/mesh/MESH/files, by default
 * ~/.local/share/mesh/MESH/files.
 */
export function filesRoot(meshName: string): string {
  const { XDG_DATA_HOME: given } = process.env;
  const base = given && isAbsolute(given) ? given : join(homeFolder(), ".local", "share");
  return join(base, "mesh", meshName, "files");
}

/** The home of this process's user, as a login has it. */
export function homeFolder(): string {
  const { HOME: home } = process.env;
  return home && isAbsolute(home) ? home : homedir();
}
