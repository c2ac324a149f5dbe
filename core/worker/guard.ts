// What cleans up after a node that was killed (kill -9) and has nobody above it: a shell that waits for the end of the
// node's process. It is the system's own shell because that costs a megabyte where another of this binary would cost forty.

/** In the environment of slots, and so of what they start: the run folder of their node. */
export const RUN_FOLDER = "MESH_RUN_FOLDER";

/** The guard's standard input ends with its node. The word "done" before says that nothing is left to do. */
const SCRIPT = `while read -r word; do [ "$word" = done ] && exit; done
for pass in 1 2 3 4 5 6 7 8 9 10; do
  found=$(grep -lF "${RUN_FOLDER}=$1" /proc/[0-9]*/environ 2>/dev/null)
  [ -n "$found" ] || break
  for file in $found; do pid=\${file#/proc/}; kill -9 "\${pid%/environ}" 2>/dev/null; done
done
rm -rf "$1"`;

export class Guard {
  readonly #shell: Bun.Subprocess<"pipe", "ignore", "ignore">;

  private constructor(shell: Bun.Subprocess<"pipe", "ignore", "ignore">) {
    this.#shell = shell;
  }

  /**
   * Has a run folder removed, and what its slots started killed, when this process is killed. Undefined where that is not
   * possible: on systems without /proc or /bin/sh. Processes that were started with an environment of their own are not found.
   */
  static start(folder: string): Guard | undefined {
    if (process.platform !== "linux") return undefined;
    try {
      const shell = Bun.spawn(["/bin/sh", "-c", SCRIPT, "mesh-guard", folder], {
        cwd: "/",
        env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
        detached: true, // the terminal's signals come to its node alone
        stdio: ["pipe", "ignore", "ignore"],
      });
      shell.unref();
      return new Guard(shell);
    } catch {
      return undefined;
    }
  }

  /** Its process id: it is no stray. */
  get pid(): number {
    return this.#shell.pid;
  }

  /** The node has cleaned up itself. Resolves when the guard is gone. */
  async dismiss(): Promise<void> {
    this.#shell.stdin.write("done\n");
    await this.#shell.stdin.end();
    await this.#shell.exited;
  }
}
