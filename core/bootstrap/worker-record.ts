// What `mesh host` and the worker it starts keep in the node's joined folder, beside its certificate:
//
//   wanted.json   what the worker is to be, for the worker            worker.log, .log.1   what it says
//   worker.json   what it is, by the worker; gone when it has ended   retired-PID.json     of one that only ends its jobs
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MeshError, type MeshErrorCode } from "../errors.ts";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import type { WorkerSettings } from "../provider.ts";
import { WORKER_FILE } from "../worker/worker-file.ts";
import { processMark } from "./process-mark.ts";

export const WORKER_LOG = "worker.log";
const WANTED = "wanted.json";
const RETIRED = /^retired-\d+\.json$/;

/** What a worker that `mesh host` starts is to be. */
export interface WantedWorker {
  meshId: string;
  /** "0.1.0 (1a2b3c4)". */
  build: string;
  worker: WorkerSettings;
}

/** What such a worker says of itself. */
export interface WorkerRecord extends WantedWorker {
  pid: number;
  /** Tells its process from a later one of the same id. */
  mark: string;
  /** "joining" with a failure: it has not reached the coordinator, and goes on trying. "lost": it was in the mesh, and looks for its coordinator. "failed": it ends, and `failure` says why. */
  state: "joining" | "ready" | "lost" | "failed";
  failure?: { code: MeshErrorCode; message: string };
  /** It has given up its name, and ends with its last job (core/worker/worker-file.ts). */
  retiring?: boolean;
}

export function readWanted(folder: string): WantedWorker | undefined {
  return readJsonFile(join(folder, WANTED), checkWanted, "delete it, and run `mesh up` again");
}

export function writeWanted(folder: string, wanted: WantedWorker): void {
  writeJsonFile(join(folder, WANTED), wanted);
}

export function writeRecord(folder: string, record: WorkerRecord): void {
  writeJsonFile(join(folder, WORKER_FILE), record);
}

/** What the last worker of this node said; also of one that was killed. A damaged file says nothing. */
export function readRecord(folder: string): WorkerRecord | undefined {
  return read(join(folder, WORKER_FILE));
}

/** The worker of this node, when it lives. */
export function liveRecord(folder: string): WorkerRecord | undefined {
  const record = readRecord(folder);
  return record && isAlive(record) ? record : undefined;
}

/** Whether the process of a record still is that one. */
export function isAlive({ pid, mark }: Pick<WorkerRecord, "pid" | "mark">): boolean {
  return processMark(pid) === mark;
}

export function removeRecord(folder: string): void {
  rmSync(join(folder, WORKER_FILE), { force: true });
}

/** Moves the record of a worker that gives its name to the next. */
export function retireRecord(folder: string, record: WorkerRecord): void {
  writeJsonFile(join(folder, `retired-${record.pid}.json`), record);
  removeRecord(folder);
}

/** Workers of this node that only end their jobs; forgets those that have. */
function retiredRecords(folder: string): WorkerRecord[] {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => RETIRED.test(name)) : [];
  return names.flatMap((name) => {
    const record = read(join(folder, name));
    if (record && isAlive(record)) return [record];
    rmSync(join(folder, name), { force: true });
    return [];
  });
}

/** Workers of a node that live: the one that has its name first. */
export function workersOf(meshName: string, name: string): WorkerRecord[] {
  const folder = join(stateFolderPath(meshName), "joined", name);
  const live = liveRecord(folder);
  return [...(live ? [live] : []), ...retiredRecords(folder)];
}

/** Names of the nodes that joined this mesh from here. */
export function joinedNames(meshName: string): string[] {
  const folder = join(stateFolderPath(meshName), "joined");
  return existsSync(folder) ? readdirSync(folder) : [];
}

function read(path: string): WorkerRecord | undefined {
  try {
    return readJsonFile(path, checkRecord, "");
  } catch (error) {
    if (error instanceof MeshError && error.code === "AUTHENTICATION") return undefined;
    throw error;
  }
}

function checkWanted(value: unknown): WantedWorker {
  const { meshId, build, worker } = value as WantedWorker;
  if (typeof meshId !== "string" || typeof build !== "string" || !Array.isArray(worker.tags)) {
    throw new Error("it lacks something");
  }
  return value as WantedWorker;
}

function checkRecord(value: unknown): WorkerRecord {
  const record = value as WorkerRecord;
  checkWanted(record);
  if (!Number.isInteger(record.pid) || typeof record.mark !== "string") throw new Error("it names no process");
  return record;
}
