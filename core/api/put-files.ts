// The bytes of put values on one host: the first process that wants one fetches it and lays it into a file of the job's run
// folder, the others read that.
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Clock } from "../clock.ts";

/** Hands on the bytes of a value in parts: `part` may be called again before it has resolved for the parts before. */
export type FetchParts = (part: (offset: number, bytes: Uint8Array) => Promise<void>) => Promise<void>;

/** Files smaller than this are read; larger ones are mapped, so that they are not in memory twice while they are decoded. */
const MAP_BYTES = 1024 * 1024;
const LOOK_AGAIN_MS = 10;
/** Whoever fetches for all and gets nothing for so long is not waited for any longer. */
const STALLED_MS = 5_000;

const NO_ROOM = new Error("what came could not be written");

export class PutFile {
  readonly #path: string;
  readonly #clock: Clock;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /**
   * The bytes, fetched by one process of this host for all. Undefined when a file does not do: no room, no right, or somebody
   * who does not get on. Rejects with what `fetch` rejects with.
   */
  async bytes(fetch: FetchParts): Promise<Uint8Array | undefined> {
    for (;;) {
      const there = this.#read();
      if (there) return there;
      const lock = this.#lock();
      if (lock === "failed") return undefined;
      if (lock === "taken") {
        if (!(await this.#othersDone())) return undefined;
        continue;
      }
      try {
        if (!(await this.#write(fetch))) return undefined;
      } finally {
        rmSync(this.#lockPath, { force: true });
      }
    }
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }

  get #lockPath(): string {
    return `${this.#path}.lock`;
  }

  #partPath(pid: number): string {
    return `${this.#path}.${pid}.part`;
  }

  #read(): Uint8Array | undefined {
    try {
      return statSync(this.#path).size < MAP_BYTES ? readFileSync(this.#path) : Bun.mmap(this.#path);
    } catch {
      return undefined; // not there, or released this moment
    }
  }

  /** Becomes the one that fetches, if nobody is: creating a file that must not exist yet succeeds once. */
  #lock(): "mine" | "taken" | "failed" {
    try {
      const file = openSync(this.#lockPath, "wx", 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return "mine";
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EEXIST" ? "taken" : "failed";
    }
  }

  /** False when the file cannot be written. */
  async #write(fetch: FetchParts): Promise<boolean> {
    const part = this.#partPath(process.pid);
    const file = await open(part, "wx", 0o600).catch(() => undefined);
    if (!file) return false;
    try {
      await fetch(async (offset, bytes) => {
        const { bytesWritten } = await file.write(bytes, 0, bytes.length, offset).catch(() => ({ bytesWritten: 0 }));
        if (bytesWritten !== bytes.length) throw NO_ROOM;
      });
      await file.close();
      renameSync(part, this.#path);
      return true;
    } catch (error) {
      await file.close().catch(() => {});
      rmSync(part, { force: true });
      if (error === NO_ROOM || isOfFiles(error)) return false;
      throw error;
    }
  }

  /** Waits while somebody fetches; false when that does not get on. */
  async #othersDone(): Promise<boolean> {
    let size = -1;
    let movedAt = this.#clock.now();
    while (existsSync(this.#lockPath)) {
      const pid = this.#fetcher();
      if (pid !== undefined && !isAlive(pid)) {
        rmSync(this.#partPath(pid), { force: true });
        rmSync(this.#lockPath, { force: true });
        return true;
      }
      const now = sizeOf(this.#partPath(pid ?? 0));
      if (now !== size) {
        size = now;
        movedAt = this.#clock.now();
      }
      if (this.#clock.now() - movedAt > STALLED_MS) return false;
      await new Promise<void>((resolve) => void this.#clock.after(LOOK_AGAIN_MS, resolve));
    }
    return true;
  }

  /** Undefined while it has not written who it is. */
  #fetcher(): number | undefined {
    try {
      return Number(readFileSync(this.#lockPath, "utf8")) || undefined;
    } catch {
      return undefined;
    }
  }
}

/** Whether the system refused something with a file. */
function isOfFiles(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException | undefined)?.syscall === "string";
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
