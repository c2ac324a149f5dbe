// What the binary needs of a host's system besides a kernel.
import type { HostFacts } from "./host-facts.ts";

const OLDEST_GLIBC = [2, 17] as const;

/** By C library and architecture: the path that stands in every binary for them. */
const LOADERS = {
  glibc: { x64: "/lib64/ld-linux-x86-64.so.2", arm64: "/lib/ld-linux-aarch64.so.1" },
  musl: { x64: "/lib/ld-musl-x86_64.so.1", arm64: "/lib/ld-musl-aarch64.so.1" },
};

export interface Lack {
  words: string;
  fix: string;
  /** The binary may start all the same: an emulator brings a loader of its own. */
  mayDo?: boolean;
}

/** What is missing, and what to do about it; undefined when nothing is. */
export function lackingLibrary(
  facts: Pick<HostFacts, "platform" | "lacksLibstdcxx" | "libcVersion" | "loaders">,
): Lack | undefined {
  if (facts.lacksLibstdcxx)
    return { words: "no libstdc++, which mesh needs there", fix: "as root there, `apk add libstdc++`" };
  return oldLibc(facts.libcVersion) ?? missingLoader(facts);
}

function oldLibc(version: string | undefined): Lack | undefined {
  const [major = 0, minor = 0] = version?.split(".").map(Number) ?? [];
  if (!version || major > OLDEST_GLIBC[0] || minor >= OLDEST_GLIBC[1]) return undefined;
  return { words: `an older glibc than ${OLDEST_GLIBC.join(".")}, which mesh needs`, fix: "leave this host out" };
}

/** Of systems that keep everything elsewhere, such as NixOS and Guix. */
function missingLoader({ platform, loaders }: Pick<HostFacts, "platform" | "loaders">): Lack | undefined {
  const loader = platform.libc && LOADERS[platform.libc][platform.arch];
  if (!loader || loaders.has(loader)) return undefined;
  return {
    words: `no ${loader}, by which programs from elsewhere start`,
    fix: "provide it (on NixOS: programs.nix-ld.enable)",
    mayDo: true,
  };
}
