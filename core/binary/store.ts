// Binaries of this build on this machine: its own, and those it makes for other platforms. All of it is in ~/.cache/mesh and can
// be removed at any time.
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGzip, createZstdCompress } from "node:zlib";
import { MeshError } from "../errors.ts";
import type { Binary, PackedBinary, Packing, Platform } from "../provider.ts";
import { baseExecutable } from "./base-package.ts";
import { baseOf } from "./bases.ts";
import { crossBuild } from "./cross-build.ts";
import { digestOf, type KeptFile, keepNewest, keptFile } from "./kept-file.ts";
import { ownPlatform, platformName } from "./platform.ts";

/** Files of older builds that stay: for those who go back and forth. */
const KEPT_COUNT = 8;
/** Higher levels take three times as long for 2 to 4 % less. */
const PACKERS = {
  gzip: () => createGzip({ level: 6 }),
  zstd: () => createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 5 } }),
} satisfies Record<Packing, () => Transform>;

export interface BinaryStoreOptions {
  /** Default: $XDG_CACHE_HOME/mesh, else ~/.cache/mesh. */
  folder?: string;
  /** The binary this process runs from; only tests say another one. */
  own?: string;
}

export interface BinaryRequest {
  /** What is going on, for people. */
  progress?(text: string): void;
  signal?: AbortSignal;
}

export class BinaryStore {
  readonly #folder: string;
  readonly #own: string;
  readonly #asked = new Map<string, Promise<unknown>>();

  constructor({ folder = cacheFolder(), own = ownBinary() }: BinaryStoreOptions = {}) {
    this.#folder = folder;
    this.#own = own;
  }

  /**
   * The binary for a platform; made when it is not this machine's own. Several who ask at once wait for one; `progress` and
   * `signal` are those of the first. Throws UNREACHABLE when its base cannot be had, CANCELLED.
   */
  binary(platform: Platform, request: BinaryRequest = {}): Promise<Binary> {
    return this.#once(platformName(platform), () => this.#make(platform, request));
  }

  async #make(platform: Platform, request: BinaryRequest): Promise<Binary> {
    const own = ownPlatform();
    const isOwn = own !== undefined && platformName(own) === platformName(platform);
    const file = isOwn ? await this.#digestOfOwn() : await this.#crossBuild(platform, request);
    return { ...file, packed: (format) => this.#pack(file, format, request) };
  }

  #digestOfOwn(): Promise<KeptFile> {
    return digestOf(this.#own, join(this.#folder, "digests"));
  }

  async #crossBuild(platform: Platform, { progress = () => {}, signal }: BinaryRequest): Promise<KeptFile> {
    const name = platformName(platform);
    const base = baseOf(platform);
    if (!base) throw new MeshError("UNREACHABLE", `there is no mesh for ${name}: leave this host out`);
    const { sha256 } = await this.#digestOfOwn();
    const folder = join(this.#folder, "made");
    const made = await keptFile(join(folder, `${name}-${sha256.slice(0, 32)}`), async (outfile) => {
      const executable = await baseExecutable(base, { folder: join(this.#folder, "bases"), progress, signal });
      progress(`making the binary for ${name}`);
      await crossBuild({ platform, base: executable, outfile });
    });
    keepNewest(folder, KEPT_COUNT);
    return made;
  }

  #pack(file: KeptFile, format: Packing, request: BinaryRequest): Promise<PackedBinary> {
    return this.#once(`${file.sha256} ${format}`, () => this.#makePacked(file, format, request));
  }

  async #makePacked({ path, sha256 }: KeptFile, format: Packing, { progress }: BinaryRequest): Promise<PackedBinary> {
    const folder = join(this.#folder, "packed");
    const packed = await keptFile(join(folder, `${sha256}.${format}`), async (temporary) => {
      progress?.("packing the binary");
      await pipeline(createReadStream(path), PACKERS[format](), createWriteStream(temporary, { mode: 0o600 }));
    });
    keepNewest(folder, KEPT_COUNT);
    return { path: packed.path, sizeBytes: packed.sizeBytes };
  }

  /** Several who ask for the same thing wait for one; who asks after a failure tries again: there may be a network now. */
  #once<Value>(key: string, make: () => Promise<Value>): Promise<Value> {
    const asked = this.#asked.get(key) as Promise<Value> | undefined;
    if (asked !== undefined) return asked;
    const made = make();
    this.#asked.set(key, made);
    made.catch(() => this.#asked.delete(key));
    return made;
  }
}

function cacheFolder(): string {
  const { XDG_CACHE_HOME: given, HOME: home } = process.env;
  if (given && isAbsolute(given)) return join(given, "mesh");
  return join(home && isAbsolute(home) ? home : homedir(), ".cache", "mesh");
}

/** Stays this build when the file it was started from is replaced while it runs. */
function ownBinary(): string {
  const self = "/proc/self/exe";
  if (process.platform !== "linux") return process.execPath;
  const now = statSync(process.execPath, { throwIfNoEntry: false });
  const own = statSync(self);
  return now && now.ino === own.ino && now.dev === own.dev ? process.execPath : self;
}
