// What goes wrong with files, in words.
import { MeshError } from "../errors.ts";

const WORDS: Record<string, string> = {
  ENOENT: "there is no such file or folder",
  EACCES: "permission denied",
  EPERM: "it is not permitted",
  ENOTDIR: "a part of the path is no folder, or a link where none may be",
  EISDIR: "it is a folder",
  ELOOP: "it is a link, or links lead in a circle",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EROFS: "the disk is read-only",
  ENAMETOOLONG: "the name is too long",
  EEXIST: "something of that name is there already",
  EFBIG: "the disk takes no file of that size",
  EIO: "the disk does not work",
};

/** "cannot write /a/b: the disk is full", of code STORAGE; what is a MeshError already stays as it is. */
export function fileError(what: string, cause: unknown): MeshError {
  if (cause instanceof MeshError) return cause;
  const { code = "", message } = cause as NodeJS.ErrnoException;
  return new MeshError("STORAGE", `cannot ${what}: ${WORDS[code] ?? message}`, { cause });
}

export function hasCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}
