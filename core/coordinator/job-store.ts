// Jobs and their history on disk: one SQLite database, mode 0600. What `save` took is there after kill -9.
import { Database } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { MeshError } from "../errors.ts";
import type { JobRecord } from "./answers.ts";

/** Schema 1: as below. A newer one is refused; an older one would be brought up to date here. */
const SCHEMA = 1;
const CREATE = `
  CREATE TABLE jobs (
    job INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL, script TEXT NOT NULL, user TEXT NOT NULL, host TEXT NOT NULL,
    head_node INTEGER NOT NULL, head_name TEXT NOT NULL, detached INTEGER NOT NULL,
    state TEXT NOT NULL, exit_code INTEGER, cause TEXT,
    started_at REAL NOT NULL, ended_at REAL,
    progress TEXT NOT NULL, nodes TEXT NOT NULL
  ) STRICT;
  CREATE INDEX jobs_running ON jobs (job) WHERE state = 'running';
  CREATE INDEX jobs_by_name ON jobs (name, job);
  PRAGMA user_version = ${SCHEMA};
`;
const COLUMNS =
  "job, name, script, user, host, head_node, head_name, detached, state, exit_code, cause, started_at, ended_at, progress, nodes";
const SAVE = `INSERT OR REPLACE INTO jobs (${COLUMNS}) VALUES
  ($job, $name, $script, $user, $host, $headNode, $headName, $detached, $state, $exitCode, $cause, $startedAt, $endedAt, $progress, $nodes)`;

interface Row {
  job: number;
  name: string;
  script: string;
  user: string;
  host: string;
  head_node: number;
  head_name: string;
  detached: number;
  state: JobRecord["state"];
  exit_code: number | null;
  cause: string | null;
  started_at: number;
  ended_at: number | null;
  progress: string;
  nodes: string;
}

export class JobStore {
  readonly #path: string;
  readonly #db: Database;

  /** Throws STORAGE, and leaves the file as it is, when it is damaged or of a newer mesh. */
  constructor(path: string) {
    this.#path = path;
    this.#db = this.#try("open", () => {
      closeSync(openSync(path, "a", 0o600)); // SQLite would make it readable for others
      return new Database(path, { create: true, strict: true });
    });
    try {
      this.#try("open", () => this.#prepare());
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** The highest number any job was given. */
  lastNumber(): number {
    const row = this.#try("read", () =>
      this.#db.query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").get(),
    );
    return row?.seq ?? 0;
  }

  /** On disk when this returns. Throws STORAGE, on a full disk for one; then it is as before. */
  save(record: JobRecord): void {
    const { head, exitCode, progress, nodes, detached, ...rest } = record;
    const values = { ...rest, exitCode, headNode: head.node, headName: head.name, detached: detached ? 1 : 0 };
    const texts = { progress: JSON.stringify(progress), nodes: JSON.stringify(nodes) };
    this.#try("write", () => this.#db.query(SAVE).run({ ...values, ...texts }));
  }

  get(job: number): JobRecord | undefined {
    return this.#select("WHERE job = ?", job)[0];
  }

  /** The last job of that name. */
  byName(name: string): JobRecord | undefined {
    return this.#select("WHERE name = ? ORDER BY job DESC LIMIT 1", name)[0];
  }

  /** The names of the last jobs. */
  names(): string[] {
    return this.list(100).map(({ name }) => name);
  }

  running(): JobRecord[] {
    return this.#select("WHERE state = 'running' ORDER BY job");
  }

  /** The last `limit` jobs, newest first. */
  list(limit: number): JobRecord[] {
    return this.#select("ORDER BY job DESC LIMIT ?", limit);
  }

  /** Forgets all but the last `keep` jobs, and those that run; returns the numbers that went. */
  prune(keep: number): number[] {
    const floor = "(SELECT job FROM jobs ORDER BY job DESC LIMIT 1 OFFSET ?)";
    const forget = `DELETE FROM jobs WHERE state != 'running' AND job <= ${floor} RETURNING job`;
    return this.#try("write", () => this.#db.query<{ job: number }, [number]>(forget).all(keep)).map(({ job }) => job);
  }

  close(): void {
    this.#db.close();
  }

  #prepare(): void {
    const db = this.#db;
    const { user_version: version } = db.query<{ user_version: number }, []>("PRAGMA user_version").get()!;
    if (version > SCHEMA) {
      const message = `${this.#path} was written by a newer mesh (schema ${version}, this build knows ${SCHEMA}): start that build, or move the file away to begin a new history`;
      throw new MeshError("STORAGE", message);
    }
    const [check] = db.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").all();
    if (check?.quick_check !== "ok") throw new Error(check?.quick_check.split("\n").at(-1));
    db.run("PRAGMA journal_mode = WAL");
    db.run("PRAGMA synchronous = FULL");
    if (version === 0) db.transaction(() => db.run(CREATE))();
  }

  #select(where: string, ...values: (string | number)[]): JobRecord[] {
    const select = `SELECT ${COLUMNS} FROM jobs ${where}`;
    return this.#try("read", () =>
      this.#db
        .query<Row, (string | number)[]>(select)
        .all(...values)
        .map(recordOf),
    );
  }

  #try<T>(what: "open" | "read" | "write", action: () => T): T {
    try {
      return action();
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      throw new MeshError("STORAGE", `cannot ${what} the history of jobs, ${this.#path}: ${reasonOf(cause)}`, {
        cause,
      });
    }
  }
}

function recordOf(row: Row): JobRecord {
  const { head_node, head_name, detached, exit_code, started_at, ended_at, progress, nodes, ...rest } = row;
  return {
    ...rest,
    head: { node: head_node, name: head_name },
    detached: detached !== 0,
    exitCode: exit_code,
    startedAt: started_at,
    endedAt: ended_at,
    progress: JSON.parse(progress),
    nodes: JSON.parse(nodes),
  };
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as { code?: string; message: string };
  if (code === "SQLITE_FULL") return "no space is left on that disk; make room there";
  if (code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT" || code === undefined) {
    return `it is damaged (${message}); nothing in it was changed: repair it, or move it away to begin a new history`;
  }
  return message;
}
