// The history of jobs when its disk may be full: what cannot be written is kept here and written when there is room.
import type { Clock, Timer } from "../clock.ts";
import { isMeshError } from "../errors.ts";
import type { JobRecord } from "./answers.ts";
import type { JobStore } from "./job-store.ts";

const RETRY_MS = 5_000;

export interface HistoryOptions {
  store: JobStore;
  clock: Clock;
  /** The history keeps so many jobs. */
  keep: number;
}

export class History {
  readonly #options: HistoryOptions;
  /** Not written yet, oldest first. */
  readonly #unsaved = new Map<number, JobRecord>();
  #timer: Timer | undefined;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** Writes it, now or later; returns what its user should know when it is later. */
  save(record: JobRecord): string | undefined {
    this.#unsaved.set(record.job, record);
    try {
      this.#flush();
      return undefined;
    } catch (error) {
      if (!isMeshError(error, "STORAGE")) throw error;
      this.#dropOldest();
      this.#timer ??= this.#options.clock.after(RETRY_MS, () => this.#retry());
      return `${error.message}; the job goes on, and is written down when that is possible`;
    }
  }

  get(job: number): JobRecord | undefined {
    return this.#unsaved.get(job) ?? this.#options.store.get(job);
  }

  byName(name: string): JobRecord | undefined {
    const unsaved = [...this.#unsaved.values()].filter((record) => record.name === name);
    return unsaved.sort((a, b) => b.job - a.job)[0] ?? this.#options.store.byName(name);
  }

  names(): string[] {
    return [...[...this.#unsaved.values()].map(({ name }) => name), ...this.#options.store.names()];
  }

  /** Newest first. */
  list(limit: number): JobRecord[] {
    const known = new Map(this.#options.store.list(limit).map((record) => [record.job, record]));
    for (const [job, record] of this.#unsaved) known.set(job, record);
    return [...known.values()].sort((a, b) => b.job - a.job).slice(0, limit);
  }

  /** Forgets the oldest jobs, if that is possible now; returns their numbers. */
  prune(): number[] {
    try {
      return this.#options.store.prune(this.#options.keep);
    } catch (error) {
      if (isMeshError(error, "STORAGE")) return [];
      throw error;
    }
  }

  close(): void {
    this.#timer?.cancel();
    try {
      this.#flush();
    } catch {
      // there is still no room: what was told to those who asked is all that can be done
    }
  }

  #retry(): void {
    this.#timer = undefined;
    for (const record of this.#unsaved.values()) {
      this.save(record);
      return;
    }
  }

  #flush(): void {
    for (const [job, record] of this.#unsaved) {
      this.#options.store.save(record);
      this.#unsaved.delete(job);
    }
  }

  #dropOldest(): void {
    for (const job of this.#unsaved.keys()) {
      if (this.#unsaved.size <= this.#options.keep) return;
      this.#unsaved.delete(job);
    }
  }
}
