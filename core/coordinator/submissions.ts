// Jobs that run without the one who submitted them: their code is kept in the state folder, and a head is started for each.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import type { JobRecord } from "./answers.ts";
import type { SubmitJob } from "./bodies.ts";
import type { Jobs } from "./jobs.ts";

/** What the folder of a detached job holds besides this: the bundles. */
export const JOB_FILE = "job.json";
export const DRIVER_FILE = "driver.js";
export const WORKER_FILE = "worker.js";

/** A job as its head is to run it; also in JOB_FILE. */
export interface DetachedJob extends Omit<SubmitJob, "driver" | "worker"> {
  /** Its number; the head begins it with that one. */
  job: number;
  /** The name its head must have: the job is given to no other. */
  head: string;
}

/** Starts a head for the job in `folder`. Resolves when its process runs, with its node's id if that is known. */
export type StartDetached = (folder: string, job: DetachedJob) => Promise<{ node?: number }>;

export interface SubmissionsOptions {
  /** A folder of mode 0700 below this one is made for each job. */
  folder: string;
  jobs: Jobs;
  wallMs(): number;
  start: StartDetached;
}

export class Submissions {
  readonly #options: SubmissionsOptions;

  constructor(options: SubmissionsOptions) {
    this.#options = options;
  }

  /** Answers when the head was started. Throws STORAGE, or what `start` throws; the job has failed then. */
  async submit(body: SubmitJob): Promise<{ job: number }> {
    const { jobs, wallMs, start } = this.#options;
    const { name, script, user, host } = body;
    const begun = { name, script, user, host, startedAt: wallMs(), detached: true };
    const record = jobs.prepare(begun, (job) => `job-${job}`);
    try {
      const job = detachedJobOf(record, body);
      const { node } = await start(await this.#layDown(job, body), job);
      jobs.started(record.job, node);
      return { job: record.job };
    } catch (error) {
      jobs.fail(record.job, `it could not be started: ${(error as Error).message}`);
      throw error;
    }
  }

  /** The code of a job that is over is not needed any more. */
  async remove(job: number): Promise<void> {
    await rm(join(this.#options.folder, String(job)), { recursive: true, force: true });
  }

  async #layDown(job: DetachedJob, { driver, worker }: SubmitJob): Promise<string> {
    const folder = join(this.#options.folder, String(job.job));
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, DRIVER_FILE), driver, { mode: 0o600 });
      await writeFile(join(folder, WORKER_FILE), worker, { mode: 0o600 });
      await writeFile(join(folder, JOB_FILE), JSON.stringify(job), { mode: 0o600 });
      return folder;
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const reason = code === "ENOSPC" ? "no space is left on that disk; make room there" : message;
      throw new MeshError("STORAGE", `cannot keep the code of job ${job.job} in ${folder}: ${reason}`, { cause });
    }
  }
}

function detachedJobOf(record: JobRecord, { driver: _driver, worker: _worker, ...rest }: SubmitJob): DetachedJob {
  return { ...rest, job: record.job, head: record.head.name };
}
