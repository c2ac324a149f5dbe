// ca-old.pem: the CAs that were replaced and are trusted for a while yet, the latest first, each with its key below a line
// that says from when to when. The keys are kept as long as the trust: the coordinator shows nodes that were away a
// certificate of a CA they know, and whoever steals the key of a CA that is trusted can do harm with or without this file.
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { belongTogether, type KeyFiles } from "./key-files.ts";
import { certificatesIn } from "./pem.ts";
import { readPrivateFile, writePrivateFile } from "./private-files.ts";

const FILE = "ca-old.pem";
const HEAD = /^trusted from (\S{1,40}) until (\S{1,40})$/m;
const KEY = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/;

/** Times in milliseconds since 1970. */
export interface OldAuthority extends KeyFiles {
  /** When it was replaced. */
  from: number;
  until: number;
}

/** Those in the folder of a CA, also those whose time is over. Throws AUTHENTICATION when the file is damaged. */
export function readOldAuthorities(folder: string): OldAuthority[] {
  const path = join(folder, FILE);
  const [before, ...parts] = (readPrivateFile(path) ?? "").split(/^(?=trusted from )/m);
  // Without a first line, all of it stands before the first part.
  return [...(before ? [before] : []), ...parts].map((part) => readPart(part, path));
}

function readPart(part: string, path: string): OldAuthority {
  const [from, until] = (HEAD.exec(part) ?? []).slice(1).map(Date.parse);
  const [certificatePem] = certificatesIn(part);
  const [keyPem] = KEY.exec(part) ?? [];
  const isWhole = certificatePem && keyPem && belongTogether(keyPem, certificatePem);
  if (isWhole && Number.isFinite(from) && Number.isFinite(until)) {
    return { certificatePem, keyPem, from: from!, until: until! };
  }
  const message = `${path} is damaged: put it back from a backup, or delete it; then nodes the old CA knew must join again`;
  throw new MeshError("AUTHENTICATION", message);
}

export function writeOldAuthorities(folder: string, old: readonly OldAuthority[]): void {
  const parts = old.map(({ certificatePem, keyPem, from, until }) => {
    const [begin, end] = [from, until].map((ms) => new Date(ms).toISOString());
    return `trusted from ${begin} until ${end}\n${certificatePem}${keyPem}`;
  });
  writePrivateFile(join(folder, FILE), parts.join(""));
}
