// How this binary starts itself in another role.

/**
 * The command line of a subcommand of this very build. On Linux by /proc/self/exe, which stays this build even when
 * the file it was started from is replaced while it runs.
 */
export function ownCommand(name: string): string[] {
  return [process.platform === "linux" ? "/proc/self/exe" : process.execPath, name];
}
