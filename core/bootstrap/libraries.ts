// What the binary needs of a host's system besides a kernel.
import type { HostFacts } from "./host-facts.ts";

const OLDEST_GLIBC = [2, 17] as const;

/** What is missing, and what to do about it; undefined when nothing is. */
export function lackingLibrary({
  lacksLibstdcxx,
  libcVersion,
}: Pick<HostFacts, "lacksLibstdcxx" | "libcVersion">): { words: string; fix: string } | undefined {
  if (lacksLibstdcxx)
    return { words: "no libstdc++, which mesh needs there", fix: "as root there, `apk add libstdc++`" };
  const [major = 0, minor = 0] = libcVersion?.split(".").map(Number) ?? [];
  if (!libcVersion || major > OLDEST_GLIBC[0] || minor >= OLDEST_GLIBC[1]) return undefined;
  return { words: `an older glibc than ${OLDEST_GLIBC.join(".")}, which mesh needs`, fix: "leave this host out" };
}
