// The other side: finds where a mesh listens, by its id and what is known of its CA. Nothing is listened to unless
// somebody asks for it: `mesh worker --join discover`.
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { encodeProbe } from "./datagram.ts";
import { BeaconGate, type FoundMesh, type IgnoredCounts, type KnownBy } from "./gate.ts";
import { Lan, type LanOptions } from "./lan.ts";

/** Milliseconds from one probe to the next, while nothing was found; the last one again and again. */
const PROBE_AFTER_MS = [250, 500, 1_000, 2_000];

/** After so long without a beacon it is asked for again. */
const QUIET_MS = 10_000;

/** How often a watch looks for new interfaces once it has found its mesh. */
const LOOK_MS = 5_000;

const DEFAULT_TIMEOUT_MS = 10_000;

export interface WatchOptions extends LanOptions {
  /** 16 hex digits. */
  meshId: string;
  knownBy: KnownBy;
  clock: Clock;
  /** The time of day, milliseconds since 1970. Default Date.now. */
  wallClock?(): number;
  /** Told of the mesh when it is found, and again when its coordinator or addresses have changed. */
  found(mesh: FoundMesh): void;
}

export interface FindOptions extends Omit<WatchOptions, "found"> {
  /** Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Listens until it is closed. */
export interface MeshWatch extends Disposable {
  /** What was said last. */
  readonly mesh: FoundMesh | undefined;
  readonly ignored: Readonly<IgnoredCounts>;
  /** Why the last beacon that names this mesh was ignored, for people. */
  readonly refusal: string | undefined;
  /** Port, group and interfaces, for people. */
  readonly place: string;
  close(): void;
}

/** Listens for the beacons of one mesh. Never fails for the state of the network: `warn` is told. */
export async function watchMesh(options: WatchOptions): Promise<MeshWatch> {
  const watch = new Watch(options);
  await watch.start();
  return watch;
}

/**
 * Resolves with the first that is found. Throws UNREACHABLE when nothing was within `timeoutMs`, saying what may be
 * wrong, and CANCELLED when `signal` aborts.
 */
export async function findMesh(options: FindOptions): Promise<FoundMesh> {
  const { clock, timeoutMs = DEFAULT_TIMEOUT_MS, signal, meshId } = options;
  const { promise, resolve, reject } = Promise.withResolvers<FoundMesh>();
  const cancel = () => reject(new MeshError("CANCELLED", `the search for mesh ${meshId} was given up`));
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel);
  const warnings: string[] = [];
  const warn = (text: string) => {
    warnings.push(text);
    options.warn?.(text);
  };
  const watch = new Watch({ ...options, warn, found: resolve });
  const timer = clock.after(timeoutMs, () => reject(notFound(watch, meshId, timeoutMs, warnings)));
  try {
    await Promise.race([watch.start(), promise]);
    return await promise;
  } finally {
    signal?.removeEventListener("abort", cancel);
    timer.cancel();
    watch.close();
  }
}

class Watch implements MeshWatch {
  readonly #options: WatchOptions;
  readonly #gate: BeaconGate;
  readonly #probe: Uint8Array;
  #lan: Lan | undefined;
  #timer: Timer | undefined;
  #probes = 0;
  #isClosed = false;
  mesh: FoundMesh | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#gate = new BeaconGate(options.meshId, options.knownBy);
    this.#probe = encodeProbe(options.meshId);
  }

  get ignored(): Readonly<IgnoredCounts> {
    return this.#gate.ignored;
  }

  get refusal(): string | undefined {
    return this.#gate.refusal;
  }

  get place(): string {
    return this.#lan?.place ?? "not listening yet";
  }

  async start(): Promise<void> {
    this.#lan = await Lan.open(this.#options, (bytes, from) => this.#received(bytes, from));
    if (this.#isClosed) this.#lan.close();
    else this.#look();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#lan?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Asks, unless it has heard lately, and comes again. */
  #look(): void {
    const { clock } = this.#options;
    const { heardAt } = this.#gate;
    const isQuiet = heardAt === undefined || clock.now() - heardAt >= QUIET_MS;
    if (isQuiet) this.#lan?.send(this.#probe);
    const isSearching = heardAt === undefined;
    const waitMs = isSearching ? PROBE_AFTER_MS[Math.min(this.#probes++, PROBE_AFTER_MS.length - 1)]! : LOOK_MS;
    this.#timer = clock.after(waitMs, () => void this.#lookAgain());
  }

  async #lookAgain(): Promise<void> {
    await this.#lan?.refresh();
    if (!this.#isClosed) this.#look();
  }

  #received(bytes: Uint8Array, from: string): void {
    const { clock, wallClock = Date.now, found } = this.#options;
    const heard = this.#gate.take(bytes, from, clock.now(), wallClock());
    if (!heard) return;
    const before = this.mesh;
    this.mesh = heard;
    if (!before || !isSame(before, heard)) found(heard);
  }
}

function isSame(a: FoundMesh, b: FoundMesh): boolean {
  return a.node === b.node && a.addresses.join(" ") === b.addresses.join(" ");
}

function notFound(watch: MeshWatch, meshId: string, timeoutMs: number, warnings: string[]): MeshError {
  const { refusal, place } = watch;
  const heard = refusal === undefined ? "" : `; a beacon with its id was ignored: ${refusal}`;
  const trouble = warnings.map((warning) => `; ${warning}`).join("");
  const what = `no coordinator of mesh ${meshId} was found within ${timeoutMs} ms (${place})${heard}${trouble}`;
  const advice = "start it with --discoverable in this network, or give its address instead";
  return new MeshError("UNREACHABLE", `${what}: ${advice}`);
}
