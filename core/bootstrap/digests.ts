// Digests of the binary as the tools of hosts make them.
import type { Binary } from "../provider.ts";
import { posixCksum } from "./cksum.ts";

const known = new Map<string, Promise<string>>();

const SHA256_TOOLS = ["sha256sum", "shasum", "openssl"];

/** What the scripts that check a binary are told of it, on a host with these tools. */
export async function digestVariables(
  binary: Binary,
  tools: ReadonlySet<string>,
): Promise<Record<"SHA256" | "CKSUM" | "SIZE", string>> {
  const needsCksum = !SHA256_TOOLS.some((tool) => tools.has(tool));
  return { SHA256: binary.sha256, CKSUM: needsCksum ? await cksumOf(binary) : "", SIZE: String(binary.sizeBytes) };
}

/** Takes over a second: once for each binary. */
function cksumOf({ path, sha256 }: Binary): Promise<string> {
  const found = known.get(sha256) ?? posixCksum(Bun.file(path).stream());
  known.set(sha256, found);
  return found;
}
