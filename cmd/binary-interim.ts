// Until core/binary is there: this machine's own binary.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Binary, Platform } from "../core/provider.ts";

let own: Promise<Binary> | undefined;

export function binaryFor(_platform: Platform, _options: { signal: AbortSignal }): Promise<Binary> {
  own ??= make();
  return own;
}

async function make(): Promise<Binary> {
  const path = process.execPath;
  const bytes = readFileSync(path);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const folder = join(process.env.HOME ?? homedir(), ".cache", "mesh", "compressed");
  mkdirSync(folder, { recursive: true });
  const compressedPath = join(folder, `${sha256}.gz`);
  if (!existsSync(compressedPath)) {
    writeFileSync(`${compressedPath}.tmp`, Bun.gzipSync(bytes, { level: 6 }));
    renameSync(`${compressedPath}.tmp`, compressedPath);
  }
  return { path, sha256, sizeBytes: bytes.length, compressedPath, compressedBytes: statSync(compressedPath).size };
}
