// A folder that is held open, so that what is done in it happens in that very folder, whatever is renamed or replaced by links
// meanwhile. On Linux by /proc/self/fd, which leads to the open folder itself; elsewhere by its real path.
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, realpath } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "./file-error.ts";

// bits/fcntl-linux.h; the same on x64 and arm64. A folder opened so needs no right to be listed.
const O_PATH = 0x200000;
const IS_LINUX = process.platform === "linux";
const FLAGS = constants.O_DIRECTORY | (IS_LINUX ? O_PATH : constants.O_RDONLY);

export class Folder implements AsyncDisposable {
  /** Where it was when it was opened, for people. */
  readonly path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** Opens a folder, through whatever links lead there. Throws the system's error. */
  static async open(path: string): Promise<Folder> {
    return new Folder(IS_LINUX ? path : await realpath(path), await open(path, FLAGS));
  }

  /** The folder of that name in this one, made when it is missing and `makes`. Throws ENOTDIR for a link. */
  async enter(name: string, makes: boolean): Promise<Folder> {
    for (let tries = 1; ; tries++) {
      try {
        return new Folder(join(this.path, name), await open(this.at(name), FLAGS | constants.O_NOFOLLOW));
      } catch (error) {
        if (!makes || !hasCode(error, "ENOENT") || tries > 3) throw error;
        await mkdir(this.at(name), 0o700).catch((cause) => {
          if (!hasCode(cause, "EEXIST")) throw cause;
        });
      }
    }
  }

  /** A path to what has that name in this folder, as long as that is open. */
  at(name: string): string {
    return join(this.self, name);
  }

  /** A path to this folder, as long as it is open. */
  get self(): string {
    return IS_LINUX ? `/proc/self/fd/${this.#handle.fd}` : this.path;
  }

  /** What has that name, without following it if it is a link; undefined when there is nothing. */
  async look(name: string) {
    try {
      return await lstat(this.at(name));
    } catch (error) {
      if (hasCode(error, "ENOENT")) return undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
