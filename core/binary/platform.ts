// Names of systems that binaries are for, and which one this is.
import { closeSync, openSync, readSync } from "node:fs";
import type { Platform } from "../provider.ts";

/** "linux-arm64", "linux-x64-musl-baseline": also the name of Bun's target, behind "bun-". */
export function platformName({ os, arch, libc, isBaseline }: Platform): string {
  return [os, arch, ...(libc === "musl" ? ["musl"] : []), ...(isBaseline ? ["baseline"] : [])].join("-");
}

/** The platforms there are binaries for. */
export const PLATFORMS: readonly Platform[] = [
  { os: "linux", arch: "x64", libc: "glibc" },
  { os: "linux", arch: "x64", libc: "glibc", isBaseline: true },
  { os: "linux", arch: "x64", libc: "musl" },
  { os: "linux", arch: "x64", libc: "musl", isBaseline: true },
  { os: "linux", arch: "arm64", libc: "glibc" },
  { os: "linux", arch: "arm64", libc: "musl" },
  { os: "darwin", arch: "x64" },
  { os: "darwin", arch: "x64", isBaseline: true },
  { os: "darwin", arch: "arm64" },
];

/** That of the binary this process runs from; undefined where there is none of mesh. */
export function ownPlatform(): Platform | undefined {
  const { platform: os, arch } = process;
  if ((os !== "linux" && os !== "darwin") || (arch !== "x64" && arch !== "arm64")) return undefined;
  return os === "linux" ? { os, arch, libc: isMusl() ? "musl" : "glibc" } : { os, arch };
}

/** The head of an ELF file names its loader. */
function isMusl(): boolean {
  const head = Buffer.alloc(4_096);
  const file = openSync("/proc/self/exe", "r");
  try {
    readSync(file, head);
  } finally {
    closeSync(file);
  }
  return head.includes("/ld-musl-");
}
