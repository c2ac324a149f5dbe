// Logins as they are found on hosts: other shells, noise, little in PATH, folders on disks that are full or run nothing.
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** "-c" shells that are on this machine, of those that people log in with. */
export const LOGIN_SHELLS = [
  "/bin/sh",
  "/bin/dash",
  "/bin/bash",
  "/bin/zsh",
  "/usr/bin/fish",
  "/bin/csh",
  "/bin/tcsh",
].filter((path) => existsSync(path));

/** Runs `before` as root in a mount namespace of its own, then the command, as `sh -c` would. */
export function loginIn(before: string): string[] {
  return ["unshare", "--mount", "sh", "-c", `${before}; exec sh -c "$0"`];
}

/** Why logins of loginIn cannot be had here; undefined when they can. */
export const noMounts: string | undefined =
  process.getuid?.() !== 0
    ? "only root may mount"
    : Bun.spawnSync(["unshare", "--mount", "true"]).exitCode !== 0
      ? "unshare --mount does not work here"
      : undefined;

/** A folder for PATH that has these programs and nothing else. */
export function pathWith(folder: string, programs: readonly string[]): string {
  const path = join(folder, "few-tools");
  mkdirSync(path);
  for (const program of programs) symlinkSync(Bun.which(program)!, join(path, program));
  return path;
}

/** What any system has, without what unpacks, hashes or names it. */
export const PLAIN_TOOLS = [
  "sh",
  "cat",
  "chmod",
  "date",
  "dd",
  "df",
  "find",
  "id",
  "ls",
  "mkdir",
  "mv",
  "rm",
  "rmdir",
  "sleep",
];
