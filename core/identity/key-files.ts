// A private key and its certificate in two files that change as one. The certificate is the one that counts; a new key
// waits beside the old one until its certificate is there:
//
//   1. KEY.next written    2. CERTIFICATE replaced: from here on the new pair holds    3. KEY.next renamed to KEY
//
// Whoever is killed in between leaves a folder from which readKeyFiles still gets one pair that belongs together.
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { readPrivateKey } from "./keys.ts";
import { readPrivateFile, renamePrivateFile, writePrivateFile } from "./private-files.ts";

/** Names of the two files in their folder. */
export interface KeyFileNames {
  key: string;
  certificate: string;
}

export interface KeyFiles {
  keyPem: string;
  certificatePem: string;
}

export function writeKeyFiles(folder: string, names: KeyFileNames, files: KeyFiles): void {
  const key = join(folder, names.key);
  writePrivateFile(`${key}.next`, files.keyPem);
  writePrivateFile(join(folder, names.certificate), files.certificatePem);
  renamePrivateFile(`${key}.next`, key);
}

/**
 * Reads the pair, and finishes a change that was interrupted; undefined when there is no certificate. Throws
 * AUTHENTICATION when no key belongs to it; `advice` says what to do then.
 */
export function readKeyFiles(folder: string, names: KeyFileNames, advice: string): KeyFiles | undefined {
  const certificatePem = readPrivateFile(join(folder, names.certificate));
  if (certificatePem === undefined) return undefined;
  const key = join(folder, names.key);
  for (const path of [key, `${key}.next`]) {
    const keyPem = readPrivateFile(path);
    if (keyPem === undefined || !belongTogether(keyPem, certificatePem)) continue;
    if (path !== key) renamePrivateFile(path, key);
    return { keyPem, certificatePem };
  }
  const message = `${key} is missing or damaged, or is not the key of ${names.certificate} beside it: ${advice}`;
  throw new MeshError("AUTHENTICATION", message);
}

/** Tells whether a private key is that of a certificate; false for what is neither. */
export function belongTogether(keyPem: string, certificatePem: string): boolean {
  try {
    return new X509Certificate(certificatePem).checkPrivateKey(readPrivateKey(keyPem, "this node"));
  } catch {
    return false;
  }
}
