// The worker's side of being started by `mesh host`: reads what it is to be, and says how it stands.

import { isMeshError, type MeshError, type MeshErrorCode } from "../errors.ts";
import { processMark } from "./process-mark.ts";
import {
  readRecord,
  readWanted,
  removeRecord,
  type WantedWorker,
  type WorkerRecord,
  writeRecord,
} from "./worker-record.ts";

export class ManagedWorker {
  readonly wanted: WantedWorker;
  readonly #folder: string;
  readonly #mark: string;
  #state: WorkerRecord["state"] | undefined;

  private constructor(folder: string, wanted: WantedWorker) {
    this.#folder = folder;
    this.wanted = wanted;
    this.#mark = processMark(process.pid) ?? "";
  }

  /** Of the node whose joined folder that is; undefined when `mesh host` never started it. */
  static open(folder: string): ManagedWorker | undefined {
    const wanted = readWanted(folder);
    return wanted && new ManagedWorker(folder, wanted);
  }

  /** Says that the process has started, is in the mesh, or has lost the coordinator. One that retires says no more. */
  is(state: "joining" | "ready" | "lost"): void {
    if (state !== this.#state && (state === "joining" || this.#hasName)) this.#say(state);
  }

  /** Says that it has not reached the coordinator so far, and why: it goes on trying. */
  notReached(error: MeshError): void {
    const { code, message } = error;
    if (this.#state === "joining") this.#say("joining", { code, message });
  }

  /** Says why the process is about to end. */
  failed(error: unknown): void {
    const code: MeshErrorCode = isMeshError(error) ? error.code : "LINK_CLOSED";
    this.#say("failed", { code, message: (error as Error).message });
  }

  /** The process ends as it was told. One that was retired has another one in its place: false then, the folder is that one's. */
  ended(): boolean {
    if (readRecord(this.#folder)?.pid !== process.pid) return false;
    removeRecord(this.#folder);
    return true;
  }

  get #hasName(): boolean {
    const record = readRecord(this.#folder);
    return record?.pid === process.pid && !record.retiring;
  }

  #say(state: WorkerRecord["state"], failure?: WorkerRecord["failure"]): void {
    this.#state = state;
    const { pid } = process;
    writeRecord(this.#folder, { ...this.wanted, pid, mark: this.#mark, state, ...(failure && { failure }) });
  }
}
