// The files of cgroup v2 and /proc as the kernel gives them, behind an interface so that tests can be the kernel.
import { dlopen } from "bun:ffi";
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";

export interface CgroupFiles {
  /** Undefined when it is not there or not to be read. */
  read(path: string): string | undefined;
  /** Throws what the kernel says, with its `code`. */
  write(path: string, text: string): void;
  /** As write, without holding up this process: moving one takes the kernel some 10 ms or more. */
  writeLater(path: string, text: string): Promise<void>;
  isWritable(path: string): boolean;
  /** Names in a folder; none when it is not there. */
  list(path: string): string[];
  /** Makes a group. Throws, also when it is there already. */
  make(path: string): void;
  /** Removes a group, whose files go with it. Throws EBUSY while a process is in it. */
  remove(path: string): void;
  /** Whether the folder has this extended attribute with the value "1". */
  isMarked(path: string, attribute: string): boolean;
  /** Our user id. */
  uid: number;
}

/** Those of this machine. */
export const systemFiles: CgroupFiles = {
  read: (path) => quietly(() => readFileSync(path, "latin1")),
  write: (path, text) => writeFileSync(path, text, { flag: "r+" }),
  writeLater: (path, text) => writeFile(path, text, { flag: "r+" }),
  isWritable: (path) => quietly(() => [accessSync(path, constants.W_OK)]) !== undefined,
  list: (path) => quietly(() => readdirSync(path)) ?? [],
  make: (path) => mkdirSync(path),
  remove: (path) => rmdirSync(path),
  isMarked: (path, attribute) => quietly(() => attributeOf(path, attribute) === "1") ?? false,
  uid: process.getuid?.() ?? -1,
};

function quietly<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

/** getxattr(2), which the runtime does not offer. Throws where there is no such C library. */
function attributeOf(path: string, attribute: string): string {
  const name = [...new Bun.Glob("libc.musl-*.so.1").scanSync("/lib")].at(0) ?? "libc.so.6";
  const { symbols, close } = dlopen(name, { getxattr: { args: ["cstring", "cstring", "ptr", "u64"], returns: "i64" } });
  try {
    const value = new Uint8Array(16);
    const text = (string: string) => Buffer.from(`${string}\0`);
    const length = Number(symbols.getxattr(text(path), text(attribute), value, value.length));
    return Buffer.from(value.subarray(0, Math.max(0, length))).toString("latin1");
  } finally {
    close();
  }
}
