// The tunnel to one host: an SSH connection that has sshd listen there, made anew whenever it breaks.
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { TetheredHost } from "./hosts-file.ts";
import { type Reach, serveStream } from "./serve-stream.ts";

/** What is needed of an SSH connection. */
export interface HostChannel extends AsyncDisposable {
  /** Resolves when the connection is over: with the reason, or undefined when it was ended from here. */
  readonly closed: Promise<Error | undefined>;
  run(command: string, options: { input: Uint8Array; timeoutMs: number }): Promise<{ status: number | undefined }>;
  /** The host listens at `path` and hands over each connection. */
  forwardInUnix(path: string, onConnection: (stream: Duplex) => void): Promise<AsyncDisposable>;
  /** A connection from the host to what it sees at that address. */
  forwardOut(address: { host: string; port: number }): Promise<Duplex>;
}

export interface HostTetherOptions {
  host: TetheredHost;
  connect(target: string, signal: AbortSignal): Promise<HostChannel>;
  reach: Reach;
  clock: Clock;
  /** From 0 up to 1. */
  random(): number;
  log: Log;
}

export type TetherPhase = "connecting" | "up" | "away";

/** Streams of one host at a time: a worker needs two for each peer. One that stands still holds some 5 MiB. */
const STREAM_LIMIT = 128;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
/** A host that refused the login is not asked often: some lock out who tries. */
const REFUSED_WAIT_MS = 60_000;
const CLEAN_LIMIT_MS = 10_000;
/** At the end the host may not answer any more. */
const LAST_CLEAN_LIMIT_MS = 3_000;

export class HostTether {
  readonly host: TetheredHost;
  readonly #options: HostTetherOptions;
  readonly #abort = new AbortController();
  readonly #streams = new Set<Duplex>();
  readonly #run: Promise<void>;
  #phase: TetherPhase = "connecting";
  #error: MeshError | undefined;
  #channel: HostChannel | undefined;
  readonly #waiting = new Set<() => void>();
  #endPause: (() => void) | undefined;

  constructor(options: HostTetherOptions) {
    this.host = options.host;
    this.#options = options;
    this.#run = this.#keep();
  }

  get phase(): TetherPhase {
    return this.#phase;
  }

  /** Why it is away. */
  get error(): MeshError | undefined {
    return this.#error;
  }

  /** The connection, while it is up. */
  get channel(): HostChannel | undefined {
    return this.#phase === "up" ? this.#channel : undefined;
  }

  /** Resolves when it is up, or the next try has failed. */
  told(): Promise<void> {
    if (this.#phase === "up") return Promise.resolve();
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  /** Tries again at once if it is away. */
  hurry(): void {
    if (this.#phase !== "away") return;
    this.#phase = "connecting";
    this.#endPause?.();
  }

  /** Resolves when nothing is left of it, here and on the host, as far as that can be reached. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#endPause?.();
    await this.#run;
    this.#tell();
  }

  async #keep(): Promise<void> {
    const { log, random } = this.#options;
    const { name } = this.host;
    for (let failures = 0; !this.#isClosing; failures++) {
      try {
        const why = await this.#hold();
        if (this.#isClosing) return;
        failures = -1;
        this.#away(
          new MeshError("LINK_CLOSED", `the SSH connection to ${name} is over: ${why?.message ?? "no reason"}`),
        );
      } catch (error) {
        if (this.#isClosing) return;
        this.#away(asMeshError(error, name));
      }
      log.warn("host away", { host: name, error: this.#error!.message });
      await this.#wait(waitMs(failures, this.#error!, random()));
      if (this.#phase === "away") this.#phase = "connecting";
    }
  }

  /** Resolves when a connection that was up is over. */
  async #hold(): Promise<Error | undefined> {
    const { connect, log } = this.#options;
    const { name, target, socketPath } = this.host;
    await using channel = await connect(target, this.#abort.signal);
    await this.#clean(channel, CLEAN_LIMIT_MS);
    await using _listening = await channel.forwardInUnix(socketPath, (stream) => this.#serve(stream));
    this.#channel = channel;
    this.#phase = "up";
    this.#error = undefined;
    this.#tell();
    log.info("host up", { host: name });
    const why = await Promise.race([channel.closed, this.#aborted()]);
    for (const stream of this.#streams) stream.destroy();
    if (this.#isClosing) await this.#clean(channel, LAST_CLEAN_LIMIT_MS).catch(() => {});
    return why;
  }

  /** sshd listens only where nothing is, and leaves its socket behind. Any shell there understands this. */
  async #clean(channel: HostChannel, timeoutMs: number): Promise<void> {
    const quoted = this.host.socketPath.replaceAll("'", `'\\''`);
    const input = new TextEncoder().encode(`rm -f -- '${quoted}'\n`);
    await channel.run("exec sh -s", { input, timeoutMs });
  }

  #serve(stream: Duplex): void {
    if (this.#streams.size >= STREAM_LIMIT || this.#isClosing) {
      stream.on("error", () => {});
      stream.destroy();
      return;
    }
    this.#streams.add(stream);
    void serveStream(stream, this.#options.reach, this.#options.clock).then(() => this.#streams.delete(stream));
  }

  #away(error: MeshError): void {
    this.#phase = "away";
    this.#error = error;
    this.#channel = undefined;
    this.#tell();
  }

  #tell(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(ms, resolve);
    this.#endPause = () => {
      timer.cancel();
      resolve();
    };
    return promise;
  }

  get #isClosing(): boolean {
    return this.#abort.signal.aborted;
  }

  #aborted(): Promise<undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    if (this.#isClosing) resolve(undefined);
    this.#abort.signal.addEventListener("abort", () => resolve(undefined), { once: true });
    return promise;
  }
}

/** 250 ms doubling to 30 s, spread over half of that to both sides; what broke and was well comes back after the first. */
export function waitMs(failures: number, error: MeshError, random: number): number {
  const grown = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, Math.min(failures, 20)));
  return (isMeshError(error, "AUTHENTICATION") ? REFUSED_WAIT_MS : grown) * (0.5 + random);
}

function asMeshError(error: unknown, name: string): MeshError {
  if (isMeshError(error)) return error;
  return new MeshError("UNREACHABLE", `no tunnel to ${name}: ${(error as Error).message}`, { cause: error });
}
