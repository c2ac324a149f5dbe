// What jobs printed, each in a folder of its own below the state folder.
import { mkdirSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LogRecord } from "./bodies.ts";
import { LogWriter, logFilesIn, logPath } from "./log-file.ts";
import { type LogFilter, LogReader } from "./log-reader.ts";

const MIB = 1024 * 1024;

export interface JobLogsOptions {
  folder: string;
  /** Of one job; beyond it the oldest half goes. Default 64 MiB. */
  jobBytes?: number;
  /** Of all jobs; beyond it the logs of the oldest jobs go. Default 4 GiB. */
  totalBytes?: number;
}

export class JobLogs {
  readonly #folder: string;
  readonly #jobBytes: number;
  readonly #totalBytes: number;
  readonly #writers = new Map<number, LogWriter>();
  readonly #watchers = new Map<number, Set<() => void>>();

  constructor({ folder, jobBytes = 64 * MIB, totalBytes = 4096 * MIB }: JobLogsOptions) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    this.#jobBytes = jobBytes;
    this.#totalBytes = totalBytes;
  }

  /** In the file when it resolves. Throws STORAGE, on a full disk for one. */
  async append(job: number, records: readonly LogRecord[]): Promise<void> {
    let writer = this.#writers.get(job);
    if (!writer) {
      writer = new LogWriter(this.#folderOf(job), this.#jobBytes);
      this.#writers.set(job, writer);
    }
    await writer.append(records);
    for (const watcher of this.#watchers.get(job) ?? []) watcher();
  }

  reader(job: number, filter?: LogFilter): LogReader {
    return new LogReader(this.#folderOf(job), filter);
  }

  /** Calls `grown` after each append to the job's log, until the function it returns is called. */
  watch(job: number, grown: () => void): () => void {
    const watchers = this.#watchers.get(job) ?? new Set();
    this.#watchers.set(job, watchers.add(grown));
    return () => {
      watchers.delete(grown);
      if (watchers.size === 0 && this.#watchers.get(job) === watchers) this.#watchers.delete(job);
    };
  }

  /** The job is over: its file is closed. Appending opens it again. */
  async finish(job: number): Promise<void> {
    const writer = this.#writers.get(job);
    await writer?.close();
    if (writer?.isIdle) this.#writers.delete(job);
  }

  async remove(job: number): Promise<void> {
    await this.finish(job);
    await rm(this.#folderOf(job), { recursive: true, force: true });
  }

  /** Removes the logs of the oldest jobs that do not run, while all take more than they may; returns their numbers. */
  async trim(): Promise<number[]> {
    const names = await readdir(this.#folder);
    const jobs = names.filter((name) => /^\d+$/.test(name)).map(Number);
    const removed: number[] = [];
    let total = 0;
    for (const job of jobs.sort((a, b) => b - a)) {
      total += await this.#sizeOf(job);
      if (total <= this.#totalBytes || this.#writers.has(job)) continue;
      await this.remove(job);
      removed.push(job);
    }
    return removed;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#writers.keys()].map((job) => this.finish(job)));
  }

  async #sizeOf(job: number): Promise<number> {
    const folder = this.#folderOf(job);
    const files = await logFilesIn(folder);
    const sizes = await Promise.all(
      files.map((file) =>
        stat(logPath(folder, file)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  #folderOf(job: number): string {
    return join(this.#folder, String(job));
  }
}
