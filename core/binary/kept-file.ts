// Large files that are made once and kept, each with a record of what was in it, so that one that was cut or altered is made
// anew. Several processes may make the same file at once: the last whole one stays.
import { createHash, randomBytes } from "node:crypto";
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

export interface KeptFile {
  path: string;
  /** In hex. */
  sha256: string;
  sizeBytes: number;
}

interface FileRecord {
  sha256: string;
  /** What changes with the content: size, inode and times. */
  stamp: string;
}

/** Makes `path` by `make`, which is given where to write, unless it is there as it was made. */
export async function keptFile(path: string, make: (temporary: string) => Promise<void>): Promise<KeptFile> {
  const record = recordPath(path);
  const known = readRecord(record);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (known && stat) {
    if (known.stamp === stampOf(stat)) return { path, sha256: known.sha256, sizeBytes: stat.size };
    if ((await sha256Of(path)) === known.sha256) return keep(path, record, known.sha256);
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}`);
  try {
    await make(temporary);
    const sha256 = await sha256Of(temporary);
    renameSync(temporary, path);
    return keep(path, record, sha256);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The digest of a file that somebody else makes; its record goes to `folder`. */
export async function digestOf(path: string, folder: string): Promise<KeptFile> {
  const stat = statSync(path);
  const record = join(folder, `${createHash("sha256").update(stampOf(stat)).digest("hex").slice(0, 32)}.json`);
  const known = readRecord(record);
  if (known?.stamp === stampOf(stat)) return { path, sha256: known.sha256, sizeBytes: stat.size };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return keep(path, record, await sha256Of(path));
}

/** Removes all but the newest files of a folder. */
export function keepNewest(folder: string, count: number): void {
  const files = readdirSync(folder)
    .filter((name) => !name.startsWith(".") && !name.endsWith(".json"))
    .map((name) => ({ path: join(folder, name), stat: statSync(join(folder, name), { throwIfNoEntry: false }) }))
    .sort((a, b) => (b.stat?.mtimeMs ?? 0) - (a.stat?.mtimeMs ?? 0));
  for (const { path } of files.slice(count)) {
    rmSync(recordPath(path), { force: true });
    rmSync(path, { force: true });
  }
}

function recordPath(path: string): string {
  return `${path}.json`;
}

function keep(path: string, record: string, sha256: string): KeptFile {
  const stat = statSync(path);
  const temporary = `${record}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify({ sha256, stamp: stampOf(stat) } satisfies FileRecord));
  renameSync(temporary, record);
  return { path, sha256, sizeBytes: stat.size };
}

function readRecord(path: string): FileRecord | undefined {
  try {
    const { sha256, stamp } = JSON.parse(readFileSync(path, "utf8"));
    return typeof sha256 === "string" && typeof stamp === "string" ? { sha256, stamp } : undefined;
  } catch {
    return undefined; // none, or damaged: then it is made anew
  }
}

function stampOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(" ");
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) hash.update(chunk);
  return hash.digest("hex");
}
