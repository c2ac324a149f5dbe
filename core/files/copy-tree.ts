// Copies a file, or a folder with all in it, and tells of each file what became of it.
import { isMeshError, MeshError } from "../errors.ts";
import { type Copied, type CopyOptions, copyFile } from "./copy.ts";
import { fileError } from "./file-error.ts";
import type { Entry, FileFacts, Files, Look } from "./files.ts";

/** A path of the user there. */
export interface UserPath {
  files: Files;
  path: string;
  /** Where that is, for messages. */
  host?: string | undefined;
}

export interface TreeOptions extends Omit<CopyOptions, "adjusts"> {
  /** Folders too. */
  recursive: boolean;
}

export type TreeOutcome = { source: string; target: string } & ({ copied: Copied } | { error: MeshError });

export interface TreeEvents {
  /** A file is about to be copied. */
  found(sizeBytes: number): void;
  copied(outcome: TreeOutcome): void;
}

/** Copies under way at once: small files cost ways there and back more than bytes. */
const AT_ONCE = 16;

/** Resolves when all is done that could be; rejects when nothing more can be: CANCELLED, or a node was lost. */
export async function copyTree(from: UserPath, to: UserPath, options: TreeOptions, events: TreeEvents): Promise<void> {
  await new TreeCopy(from.files, to.files, options, events).copy(from, to.path);
}

class TreeCopy {
  readonly #from: Files;
  readonly #to: Files;
  readonly #options: TreeOptions;
  readonly #events: TreeEvents;
  readonly #underWay = new Set<Promise<void>>();
  /** Outer ones before inner ones. */
  readonly #folders: { source: string; target: string; facts: FileFacts }[] = [];
  #fatal: MeshError | undefined;

  constructor(from: Files, to: Files, options: TreeOptions, events: TreeEvents) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#events = events;
  }

  async copy({ path: source, host }: UserPath, target: string): Promise<void> {
    await this.#each(source, target, async () => {
      const look = await this.#from.look({ root: "user", path: source }, this.#options.recursive);
      if (look.kind === "none") throw new MeshError("STORAGE", `there is no ${source} ${host ? `on ${host}` : "here"}`);
      if (look.kind === "folder" && !this.#options.recursive) {
        throw new MeshError("STORAGE", `${source} is a folder: copy it with -r`);
      }
      await this.#entry(source, target, look, look, []);
    });
    await Promise.all(this.#underWay);
    // What comes into a folder changes its time, and may need a right that it does not have in the end.
    for (const { source: inner, target: outer, facts } of this.#folders.reverse()) {
      await this.#each(inner, outer, () => this.#to.adjust({ root: "user", path: outer }, facts));
    }
    if (this.#fatal) throw this.#fatal;
  }

  async #entry(
    source: string,
    target: string,
    entry: Entry | Look,
    look: Look | undefined,
    within: string[],
  ): Promise<void> {
    if (entry.kind === "folder") await this.#folder(source, target, look, within);
    else if (entry.kind === "file") await this.#file(source, target, entry as Entry);
    else throw new MeshError("STORAGE", `${source} is neither a file nor a folder: it is left out`);
  }

  async #folder(source: string, target: string, known: Look | undefined, within: string[]): Promise<void> {
    const look = known ?? (await this.#from.look({ root: "user", path: source }, true));
    if (look.kind !== "folder") throw new MeshError("STORAGE", `${source} is no folder any more`);
    if (within.includes(look.id))
      throw new MeshError("STORAGE", `${source} leads to a folder it is in: it is left out`);
    await this.#to.makeFolder({ root: "user", path: target });
    this.#folders.push({ source, target, facts: look });
    for (const entry of look.entries ?? []) {
      const [inner, outer] = [joined(source, checked(entry.name)), joined(target, entry.name)];
      await this.#each(inner, outer, () => this.#entry(inner, outer, entry, undefined, [...within, look.id]));
      if (this.#fatal) return;
    }
  }

  async #file(source: string, target: string, { sizeBytes }: FileFacts): Promise<void> {
    while (this.#underWay.size >= AT_ONCE) await Promise.race(this.#underWay);
    this.#events.found(sizeBytes);
    const copying = this.#each(source, target, async () => {
      const [from, to] = [this.#at(this.#from, source), this.#at(this.#to, target)];
      const copied = await copyFile(from, to, { ...this.#options, adjusts: this.#options.overwrite });
      this.#events.copied({ source, target, copied });
    });
    this.#underWay.add(copying);
    void copying.finally(() => this.#underWay.delete(copying));
  }

  #at(files: Files, path: string) {
    return { files, place: { root: "user" as const, path } };
  }

  /** What goes wrong with one ends no other, unless nothing can go on. */
  async #each(source: string, target: string, what: () => Promise<void>): Promise<void> {
    if (this.#fatal) return;
    try {
      await what();
    } catch (cause) {
      const error = fileError(`copy ${source}`, cause);
      if (isMeshError(error, "LINK_CLOSED") || isMeshError(error, "CANCELLED")) this.#fatal ??= error;
      else this.#events.copied({ source, target, error });
    }
  }
}

/** Of a folder on another node: what says so is not to lead elsewhere here. */
function checked(name: string): string {
  if (name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name)) return name;
  throw new MeshError("PROTOCOL", `a node told of a file named ${JSON.stringify(name)}`);
}

/** Neither side's rules for paths are this machine's: only a slash is put between. */
export function joined(folder: string, name: string): string {
  return folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`;
}
