// A compiled Bun program obeys these variables before its first line runs (scripts/build.mjs says what they do), so every Bun
// that goes into a binary gets names in their place that no shell can set.
import DEAF_TO from "./deaf-to.json" with { type: "json" };

/** Changes the bytes of a Bun executable so that the environment cannot steer it. Throws when they are none. */
export function deafen(executable: Buffer): void {
  for (const name of DEAF_TO) {
    const from = Buffer.from(`\0${name}\0`);
    const at = executable.indexOf(from);
    if (at < 0 || executable.indexOf(from, at + 1) >= 0) {
      throw new Error(`this Bun does not hold the name ${name} exactly once: see core/binary/deafen.ts`);
    }
    executable.write("=", at + 1, "latin1");
  }
}
