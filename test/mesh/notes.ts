// What jobs of a test note in files, which test and jobs see alike: they run on one machine.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestFolder } from "../support/mesh.ts";
import { until } from "../support/until.ts";

/**
 * For the beginning of a script: `out` prints JSON, `note` appends a line to a file, `noted` reads it, and `gate` waits
 * until somebody has written a file of that name.
 */
export const prelude = `import { appendFileSync, existsSync, readFileSync } from "node:fs";
const out = (value: unknown) => console.log(JSON.stringify(value));
const file = (name: string) => process.env.XDG_RUNTIME_DIR + "/" + name;
const note = (name: string, text: unknown) => appendFileSync(file(name), text + "\\n");
const noted = (name: string) => (existsSync(file(name)) ? readFileSync(file(name), "utf8").split("\\n").slice(0, -1) : []);
const gate = async (name: string) => { while (!existsSync(file(name))) await Bun.sleep(2); };`;

const at = (folder: TestFolder, name: string) => join(dirname(folder.run), name);

/** The lines that jobs noted under that name. */
export function noted(folder: TestFolder, name: string): string[] {
  const path = at(folder, name);
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
}

/** Waits until jobs have noted so many lines, and returns them. */
export async function whenNoted(folder: TestFolder, name: string, count = 1, timeoutMs = 10_000): Promise<string[]> {
  const what = `${count} lines noted as ${name}`;
  await until(() => noted(folder, name).length >= count, { what, timeoutMs });
  return noted(folder, name);
}

/** Lets go who waits at that gate. */
export function open(folder: TestFolder, gate: string): void {
  writeFileSync(at(folder, gate), "");
}
