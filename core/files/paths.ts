// Which names and folders others may give for a file of a node. Pure.
import { MeshError } from "../errors.ts";

/** Begins the names of files that are not complete yet: nobody may give such a name. */
export const PARTIAL_PREFIX = ".mesh-part-";

const NAME_LIMIT_BYTES = 255;
const FOLDERS_LIMIT = 64;

/**
 * The folders that a relative path leads through, from the outermost; "." and empty ones count for nothing. Throws USAGE
 * for what would leave the root it starts from: an absolute path, "..", a zero byte; and for names that no disk takes.
 */
export function foldersOf(dir: string): string[] {
  const refused = (why: string) => new MeshError("USAGE", `the folder ${quoted(dir)} is not allowed: ${why}`);
  if (dir.startsWith("/")) throw refused("it is relative to the node's folder of files, so it cannot be absolute");
  const folders = dir.split("/").filter((part) => part !== "" && part !== ".");
  if (folders.includes("..")) throw refused('it may not leave the node\'s folder of files by ".."');
  if (folders.length > FOLDERS_LIMIT) throw refused(`it is more than ${FOLDERS_LIMIT} folders deep`);
  for (const folder of folders) {
    const problem = problemOf(folder);
    if (problem) throw refused(problem);
  }
  return folders;
}

/** `name`, when it may be that of a file in a folder. Throws USAGE. */
export function fileName(name: string): string {
  const problem =
    name === "" || name === "." || name === ".." || name.includes("/") ? "it names no file" : problemOf(name);
  if (problem) throw new MeshError("USAGE", `the name ${quoted(name)} is not allowed: ${problem}`);
  return name;
}

function problemOf(name: string): string | undefined {
  if (name.includes("\0")) return "it has a zero byte";
  if (Buffer.byteLength(name) > NAME_LIMIT_BYTES) return `a name has at most ${NAME_LIMIT_BYTES} bytes`;
  if (name.startsWith(PARTIAL_PREFIX)) return `names that begin with ${PARTIAL_PREFIX} are those of incomplete files`;
  return undefined;
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
