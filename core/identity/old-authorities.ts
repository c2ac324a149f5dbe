// ca-old.pem: the CAs that were replaced and are trusted for a while yet, each below a line that says until when.
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { certificatesIn } from "./pem.ts";
import { readPrivateFile, writePrivateFile } from "./private-files.ts";

const FILE = "ca-old.pem";
const HEAD = "trusted until ";

export interface OldAuthority {
  certificatePem: string;
  /** Milliseconds since 1970. */
  until: number;
}

/** Those in the folder of a CA, also those whose time is over. Throws AUTHENTICATION when the file is damaged. */
export function readOldAuthorities(folder: string): OldAuthority[] {
  const path = join(folder, FILE);
  const [, ...parts] = `\n${readPrivateFile(path) ?? ""}`.split(`\n${HEAD}`);
  return parts.map((part) => {
    const until = Date.parse(part.slice(0, part.indexOf("\n")));
    const [certificatePem] = certificatesIn(part);
    if (certificatePem && !Number.isNaN(until)) return { certificatePem, until };
    const message = `${path} is damaged: put it back from a backup, or delete it; then nodes the old CA knew must join again`;
    throw new MeshError("AUTHENTICATION", message);
  });
}

export function writeOldAuthorities(folder: string, old: readonly OldAuthority[]): void {
  const parts = old.map(({ certificatePem, until }) => `${HEAD}${new Date(until).toISOString()}\n${certificatePem}`);
  writePrivateFile(join(folder, FILE), parts.join(""));
}
