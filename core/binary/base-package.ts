// Gets the Bun executable for another platform: from a package that lies in the folder of bases already, else from the user's
// npm registry.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { limited } from "../bootstrap/limited.ts";
import { MeshError } from "../errors.ts";
import type { Base } from "./bases.ts";
import { deafen } from "./deafen.ts";
import { keptFile } from "./kept-file.ts";
import { registryOf } from "./npm-registry.ts";

const SCOPE = "@oven";
const EXECUTABLE = "package/bin/bun";
/** A registry that says nothing for so long is given up. */
const STALL_LIMIT_MS = 30_000;
/** Between two words to people. */
const PROGRESS_MS = 250;
/** The largest package has 55 MB. */
const PACKAGE_LIMIT_BYTES = 256 * 1024 * 1024;

export interface BaseOptions {
  /** Where bases are kept. */
  folder: string;
  progress(text: string): void;
  signal?: AbortSignal | undefined;
}

/** The path of a base, deaf to its environment. Throws UNREACHABLE, with the way to get it by hand; CANCELLED. */
export async function baseExecutable(base: Base, options: BaseOptions): Promise<string> {
  const path = join(options.folder, `${base.name}-${base.version}`);
  const { path: kept } = await keptFile(path, async (temporary) => {
    const packed = packageByHand(base, options.folder) ?? (await download(base, options));
    const executable = await executableIn(packed);
    deafen(executable);
    writeFileSync(temporary, executable, { mode: 0o755 });
  });
  return kept;
}

/** As `npm pack` names it. */
function packageName({ name, version }: Base): string {
  return `oven-${name}-${version}.tgz`;
}

function packageByHand(base: Base, folder: string): Uint8Array | undefined {
  const path = join(folder, packageName(base));
  if (!existsSync(path)) return undefined;
  const packed = readFileSync(path);
  if (isWhole(packed, base)) return packed;
  const message = `${path} is not ${SCOPE}/${base.name} ${base.version}: it is damaged or another version; remove it`;
  throw new MeshError("UNREACHABLE", message);
}

async function download(base: Base, { folder, progress, signal }: BaseOptions): Promise<Uint8Array> {
  const { url, authorization, ca } = registryOf(SCOPE);
  const address = `${url}/${SCOPE}/${base.name}/-/${base.name}-${base.version}.tgz`;
  try {
    const limit = { ms: STALL_LIMIT_MS, signal, what: `downloading ${address}` };
    const stop = new AbortController();
    const request = fetch(address, {
      headers: authorization ? { authorization } : {},
      signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
      ...(ca && { tls: { ca: [ca] } }),
    });
    try {
      const response = await limited(request, limit);
      if (!response.ok) throw new Error(`it answered ${response.status} ${response.statusText}`);
      const packed = await bodyOf(response, base, progress, limit);
      if (!isWhole(packed, base)) throw new Error("what it sent is not that package, or damaged");
      return packed;
    } finally {
      stop.abort();
    }
  } catch (cause) {
    if (signal?.aborted) throw new MeshError("CANCELLED", `downloading ${address} was cancelled`, { cause });
    throw unreachable(base, address, folder, cause as Error);
  }
}

async function bodyOf(
  response: Response,
  { name }: Base,
  progress: (text: string) => void,
  limit: Parameters<typeof limited>[1],
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let told = Number.NEGATIVE_INFINITY;
  const total = Number(response.headers.get("content-length") ?? 0);
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await limited(reader.read(), limit);
    if (done) return Buffer.concat(chunks);
    chunks.push(value);
    bytes += value.length;
    if (bytes > PACKAGE_LIMIT_BYTES) throw new Error(`it sends more than ${PACKAGE_LIMIT_BYTES} bytes`);
    const now = performance.now();
    if (now - told < PROGRESS_MS) continue;
    told = now;
    const of = total > 0 ? ` of ${Math.round(total / 1e6)}` : "";
    progress(`downloading ${name}: ${Math.round(bytes / 1e6)}${of} MB`);
  }
}

function isWhole(packed: Uint8Array, { integrity }: Base): boolean {
  return createHash("sha512").update(packed).digest("base64") === integrity;
}

async function executableIn(packed: Uint8Array): Promise<Buffer> {
  const files = await new Bun.Archive(packed).files(EXECUTABLE);
  const file = files.get(EXECUTABLE);
  if (!file) throw new Error(`the package holds no ${EXECUTABLE}`);
  return Buffer.from(await file.arrayBuffer());
}

function unreachable(base: Base, address: string, folder: string, cause: Error): MeshError {
  const pack = `npm pack ${SCOPE}/${base.name}@${base.version}`;
  const advice = `where there is a network run \`${pack}\`, and put ${packageName(base)} into ${folder} here`;
  const message = `the binary for that platform is made from ${SCOPE}/${base.name} ${base.version}, which cannot be had`;
  return new MeshError("UNREACHABLE", `${message} from ${address}: ${cause.message}; ${advice}`, { cause });
}
