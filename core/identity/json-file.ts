// Small state as JSON in a private file.
import { MeshError } from "../errors.ts";
import { readPrivateFile, writePrivateFile } from "./private-files.ts";

/**
 * Reads `path` and hands its value to `check`, which throws when it is not what it should be; undefined without a file.
 * Throws AUTHENTICATION when it is damaged; `advice` says what to do then.
 */
export function readJsonFile<T>(path: string, check: (value: unknown) => T, advice: string): T | undefined {
  const text = readPrivateFile(path);
  if (text === undefined) return undefined;
  try {
    return check(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("AUTHENTICATION", `${path} is damaged: ${advice}`, { cause });
  }
}

export function writeJsonFile(path: string, value: unknown): void {
  writePrivateFile(path, `${JSON.stringify(value, null, 1)}\n`);
}
