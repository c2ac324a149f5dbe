// The files of this machine.
import { chmod, mkdir, open, readdir, readlink, realpath, stat, unlink, utimes } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { MeshError } from "../errors.ts";
import { fileError, hasCode } from "./file-error.ts";
import type { BeginOptions, Begun, Entry, FileFacts, Files, Look, Place, Source } from "./files.ts";
import { Folder } from "./folder.ts";
import { LocalSource } from "./local-source.ts";
import { LocalTarget, standingAt } from "./local-target.ts";
import { fileName, foldersOf, PARTIAL_PREFIX } from "./paths.ts";
import { homeFolder } from "./root.ts";

export interface LocalFilesOptions {
  /** The folder of files that is kept for jobs; made when it is needed. */
  root: string;
  /** What relative paths of the user start from. */
  userFolder: string;
  /** Whether "~" at the beginning of a path of the user is the home: where no shell has seen to that. */
  expandsHome?: boolean;
  /** The largest file that is taken there, in bytes. */
  limitBytes?: number | undefined;
}

const STDERR = 2;

export class LocalFiles implements Files {
  readonly #options: LocalFilesOptions;

  constructor(options: LocalFilesOptions) {
    this.#options = options;
  }

  async look(place: Place, withEntries: boolean): Promise<Look> {
    const path = this.#userPath(place);
    try {
      const found = await stat(path);
      const look = { ...factsOf(found), kind: kindOf(found), id: `${found.dev}:${found.ino}` };
      if (!withEntries || look.kind !== "folder") return look;
      return { ...look, entries: await entriesOf(path) };
    } catch (error) {
      if (hasCode(error, "ENOENT")) return { kind: "none" };
      throw fileError(`look at ${path}`, error);
    }
  }

  async open(place: Place): Promise<Source> {
    if (place.root === "log") return await openLog();
    return await LocalSource.open(this.#userPath(place));
  }

  async begin(place: Place, facts: FileFacts, { overwrite, compares }: BeginOptions): Promise<Begun> {
    const { limitBytes } = this.#options;
    if (place.root === "files" && limitBytes !== undefined && facts.sizeBytes > limitBytes) {
      const message = `${join(place.dir, place.name)} has ${facts.sizeBytes} bytes; this node takes files of at most ${limitBytes}: see \`mesh worker --files-limit\` there`;
      throw new MeshError("STORAGE", message);
    }
    const { folder, name } = await this.#locate(place, true);
    const path = join(folder.path, name);
    let isTaken = false;
    try {
      const there = await folder.look(name);
      if (there && !there.isFile()) {
        throw new MeshError(
          "STORAGE",
          `${path} is ${there.isDirectory() ? "a folder" : "no file"}: it is not replaced`,
        );
      }
      const isSameSize = there?.size === facts.sizeBytes;
      if (there && ((compares && isSameSize) || !overwrite)) {
        const standing = await standingAt(folder, name);
        if (standing) return { state: compares && isSameSize ? "compare" : "exists", path, standing };
      }
      isTaken = true;
      return { state: "write", target: await LocalTarget.begin(folder, name, facts, overwrite) };
    } catch (error) {
      isTaken = false;
      throw fileError(`write ${path}`, error);
    } finally {
      if (!isTaken) await folder[Symbol.asyncDispose]();
    }
  }

  async adjust(place: Place, { mode, mtimeMs }: Pick<FileFacts, "mtimeMs" | "mode">): Promise<void> {
    const path = this.#userPath(place);
    try {
      await chmod(path, mode);
      await utimes(path, new Date(), new Date(mtimeMs));
    } catch (error) {
      throw fileError(`change ${path}`, error);
    }
  }

  async makeFolder(place: Place): Promise<void> {
    const path = this.#userPath(place);
    try {
      await mkdir(path, 0o700);
    } catch (error) {
      const isThere = hasCode(error, "EEXIST") && (await stat(path).catch(() => undefined))?.isDirectory();
      if (!isThere) throw fileError(`make the folder ${path}`, error);
    }
  }

  async delete(place: Place): Promise<boolean> {
    await using located = await this.#locate(place, false).catch((error) => {
      if (hasCode((error as Error).cause, "ENOENT")) return undefined;
      throw error;
    });
    if (!located) return false;
    const { folder, name } = located;
    try {
      await unlink(folder.at(name));
      return true;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw fileError(`delete ${join(folder.path, name)}`, error);
    }
  }

  #userPath(place: Place): string {
    if (place.root !== "user") throw new MeshError("PROTOCOL", "that is done with paths of the user alone");
    const { path } = place;
    if (path.includes("\0")) throw new MeshError("USAGE", `${JSON.stringify(path)} is no path: it has a zero byte`);
    const { userFolder, expandsHome } = this.#options;
    const isInHome = expandsHome && (path === "~" || path.startsWith("~/"));
    return isInHome ? join(homeFolder(), path.slice(1)) : resolve(userFolder, path);
  }

  /** The folder a file is in, opened, and its name there. */
  async #locate(place: Place, makes: boolean): Promise<{ folder: Folder; name: string } & AsyncDisposable> {
    if (place.root === "log") throw new MeshError("PROTOCOL", "the log of a node is read alone");
    const found = place.root === "files" ? await this.#inRoot(place, makes) : await this.#inUserFolder(place);
    return { ...found, [Symbol.asyncDispose]: () => found.folder[Symbol.asyncDispose]() };
  }

  /** Goes down from the root by one folder at a time, and never through a link. */
  async #inRoot({ dir, name }: Place & { root: "files" }, makes: boolean): Promise<{ folder: Folder; name: string }> {
    const { root } = this.#options;
    const folders = foldersOf(dir);
    fileName(name);
    let folder: Folder | undefined;
    try {
      if (makes) await mkdir(root, { recursive: true, mode: 0o700 });
      folder = await Folder.open(root);
      for (const each of folders) {
        const outer: Folder = folder;
        folder = await outer.enter(each, makes);
        await outer[Symbol.asyncDispose]();
      }
      return { folder, name };
    } catch (error) {
      await folder?.[Symbol.asyncDispose]();
      throw fileError(`open the folder ${join(root, ...folders)}`, error);
    }
  }

  /** As cp does, what a link leads to is written, not the link. */
  async #inUserFolder(place: Place & { root: "user" }): Promise<{ folder: Folder; name: string }> {
    const path = this.#userPath(place);
    try {
      const real = await realpath(path).catch(async (error) => {
        if (!hasCode(error, "ENOENT")) throw error;
        if (await readlink(path).catch(() => undefined)) throw new MeshError("STORAGE", `${path} is a link to nothing`);
        return path;
      });
      const name = basename(real);
      if (name === "") throw new MeshError("STORAGE", `${path} is a folder`);
      return { folder: await Folder.open(dirname(real)), name };
    } catch (error) {
      throw fileError(`open the folder of ${path}`, error);
    }
  }
}

function factsOf({ size, mtimeMs, mode }: { size: number; mtimeMs: number; mode: number }): FileFacts {
  return { sizeBytes: size, mtimeMs, mode: mode & 0o777 };
}

function kindOf(found: { isFile(): boolean; isDirectory(): boolean }): Entry["kind"] {
  if (found.isFile()) return "file";
  return found.isDirectory() ? "folder" : "other";
}

async function entriesOf(path: string): Promise<Entry[]> {
  const names = (await readdir(path)).filter((name) => !name.startsWith(PARTIAL_PREFIX)).sort();
  const found = await Promise.all(
    names.map(async (name) => ({ name, found: await stat(join(path, name)).catch(() => undefined) })),
  );
  return found.map(({ name, found: each }) =>
    each ? { name, kind: kindOf(each), ...factsOf(each) } : { name, kind: "other", sizeBytes: 0, mtimeMs: 0, mode: 0 },
  );
}

/** The log of this process is the file that its standard error goes to. Throws STORAGE when it goes elsewhere. */
async function openLog(): Promise<Source> {
  try {
    const handle = await open(`/proc/self/fd/${STDERR}`, "r");
    const isFile = (await handle.stat()).isFile();
    await handle.close();
    if (isFile) return await LocalSource.open(`/proc/self/fd/${STDERR}`, "the log");
  } catch {
    // a terminal that is gone, a socket of the journal
  }
  const message = process.env.JOURNAL_STREAM
    ? "its log goes to the journal of its machine: see journalctl there"
    : "it keeps no log: it was started by hand and writes to the terminal or pipe it was started from";
  throw new MeshError("STORAGE", message);
}
