// A node's side of what others ask about its files. Loaded when somebody does so first.
//
// Users' commands and heads may go wherever this process may, as they may run any command; tasks, on this node and others, reach
// nothing but the folder that is kept for them.
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import { checkBody } from "../wire/body-checks.ts";
import type { Address } from "../wire/message.ts";
import type { BegunThere, Opened } from "./bodies.ts";
import * as bodies from "./bodies.ts";
import type { Files, Look, Place, Source, Target } from "./files.ts";

export interface FileServiceOptions {
  files: Files;
  /** Whether nothing but the node's log can be asked for. */
  hasLogAlone: boolean;
  clock: Clock;
  /** The role of another node; undefined for processes of the own one. */
  roleOf(node: number): Role | undefined;
}

/** Files that one process may have open here. */
const OPEN_LIMIT = 256;
/** A file that nobody asks about is let go of. */
const IDLE_MS = 600_000;

interface OpenFile {
  owner: Address;
  /** Lets go of it; what was written is kept for another attempt. */
  close(): Promise<void>;
  idle: Timer;
  source?: Source;
  target?: Target;
}

export class FileService {
  readonly #options: FileServiceOptions;
  readonly #open = new Map<number, OpenFile>();
  #next = 1;

  constructor(options: FileServiceOptions) {
    this.#options = options;
  }

  async list(body: unknown, from: Address): Promise<Look> {
    const { place, withEntries } = checkBody(bodies.fileList, "fileList", body);
    return await this.#files(place, from).look(place, withEntries);
  }

  async open(body: unknown, from: Address): Promise<Opened> {
    const { place } = checkBody(bodies.fileOpen, "fileOpen", body);
    this.#checkCount(from);
    const source = await this.#files(place, from).open(place);
    return { file: this.#add(from, { source, close: () => source.close() }), facts: source.facts };
  }

  async read(body: unknown, from: Address): Promise<Uint8Array> {
    const { file, offset, sizeBytes } = checkBody(bodies.fileRead, "fileRead", body);
    return await this.#source(file, from).read(offset, sizeBytes);
  }

  async hash(body: unknown, from: Address): Promise<string> {
    const { file, sizeBytes } = checkBody(bodies.fileHash, "fileHash", body);
    return await this.#source(file, from).hash(sizeBytes);
  }

  async close(body: unknown, from: Address): Promise<void> {
    const { file } = checkBody(bodies.fileClose, "fileClose", body);
    const { close } = this.#take(file, from);
    await close();
  }

  async begin(body: unknown, from: Address): Promise<BegunThere> {
    const { place, facts, overwrite, compares } = checkBody(bodies.fileBegin, "fileBegin", body);
    this.#checkCount(from);
    const begun = await this.#files(place, from).begin(place, facts, { overwrite, compares });
    if (begun.state !== "write") return begun;
    const { target } = begun;
    const { path, offset, hash } = target;
    return { state: "write", file: this.#add(from, { target, close: () => target.abandon(true) }), path, offset, hash };
  }

  async write(body: unknown, from: Address): Promise<void> {
    const { file, offset, bytes } = checkBody(bodies.fileWrite, "fileWrite", body);
    await this.#target(file, from).write(offset, bytes);
  }

  async finish(body: unknown, from: Address): ReturnType<Target["finish"]> {
    const { file, hash } = checkBody(bodies.fileFinish, "fileFinish", body);
    const target = this.#target(file, from);
    this.#take(file, from);
    return await target.finish(hash);
  }

  async abandon(body: unknown, from: Address): Promise<void> {
    const { file, keeps } = checkBody(bodies.fileAbandon, "fileAbandon", body);
    const target = this.#target(file, from);
    this.#take(file, from);
    await target.abandon(keeps);
  }

  async delete(body: unknown, from: Address): Promise<boolean> {
    const { place } = checkBody(bodies.fileDelete, "fileDelete", body);
    return await this.#files(place, from).delete(place);
  }

  async folder(body: unknown, from: Address): Promise<void> {
    const { place, facts } = checkBody(bodies.fileFolder, "fileFolder", body);
    const files = this.#files(place, from);
    await (facts ? files.adjust(place, facts) : files.makeFolder(place));
  }

  /** A process, or with slot 0 all of a node, is gone: its files are let go of. */
  async gone({ node, slot }: Address): Promise<void> {
    const lost = [...this.#open].filter(([, { owner }]) => owner.node === node && (slot === 0 || owner.slot === slot));
    await Promise.all(lost.map(([file, { owner }]) => this.#take(file, owner).close()));
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#open].map(([file, { owner }]) => this.#take(file, owner).close()));
  }

  /** Throws AUTHENTICATION for a place that the asker may not go to. */
  #files(place: Place, { node }: Address): Files {
    const { files, hasLogAlone, roleOf } = this.#options;
    const role = roleOf(node);
    if (hasLogAlone && place.root !== "log") {
      throw new MeshError("AUTHENTICATION", "the files of this node are not for others: its log alone can be read");
    }
    if (place.root === "files" || role === "client" || role === "head") return files;
    throw new MeshError("AUTHENTICATION", "tasks reach the node's folder of files alone, not other files of its user");
  }

  #checkCount(from: Address): void {
    const count = [...this.#open.values()].filter(({ owner }) => isSame(owner, from)).length;
    if (count < OPEN_LIMIT) return;
    throw new MeshError("FULL", `one process may have ${OPEN_LIMIT} files open on a node: copy fewer at once`);
  }

  #add(owner: Address, file: Omit<OpenFile, "owner" | "idle">): number {
    const id = this.#next++;
    this.#open.set(id, { ...file, owner, idle: this.#watch(id, owner) });
    return id;
  }

  #watch(id: number, owner: Address): Timer {
    return this.#options.clock.after(
      IDLE_MS,
      () =>
        void this.#take(id, owner)
          .close()
          .catch(() => {}),
    );
  }

  #source(id: number, from: Address): Source {
    const { source } = this.#get(id, from);
    if (source) return source;
    throw new MeshError("PROTOCOL", `file ${id} is written, not read`);
  }

  #target(id: number, from: Address): Target {
    const { target } = this.#get(id, from);
    if (target) return target;
    throw new MeshError("PROTOCOL", `file ${id} is read, not written`);
  }

  #get(id: number, from: Address): OpenFile {
    const file = this.#open.get(id);
    if (!file || !isSame(file.owner, from))
      throw new MeshError("CLOSED", `there is no open file ${id} of this process`);
    file.idle.cancel();
    file.idle = this.#watch(id, from);
    return file;
  }

  #take(id: number, from: Address): OpenFile {
    const file = this.#get(id, from);
    file.idle.cancel();
    this.#open.delete(id);
    return file;
  }
}

function isSame(a: Address, b: Address): boolean {
  return a.node === b.node && a.slot === b.slot;
}
