// A node's own identity, made ready from its credentials.
import type { X509Certificate } from "node:crypto";
import { MeshError } from "../errors.ts";
import { readPrivateKey, signBytes } from "./keys.ts";
import { identityOfNames, type NodeIdentity } from "./names.ts";
import { certificatesIn, derOf } from "./pem.ts";
import { validityOf } from "./trust.ts";
import { readCertificate } from "./verify.ts";

/** What a node needs to show who it is and to know others. Text in PEM; `keyPem` is secret. */
export interface Credentials {
  /** All CAs trusted now, one after the other. */
  caPem: string;
  certificatePem: string;
  keyPem: string;
}

/** Who this process is. */
export interface Identity extends NodeIdentity {
  credentials: Credentials;
  /** The leaf as DER. */
  certificate: Uint8Array;
  /** Milliseconds since 1970. */
  notBefore: number;
  expiresAt: number;
  /** ECDSA with SHA-256, 64 bytes (IEEE P1363); verifySignature checks it. */
  sign(bytes: Uint8Array): Uint8Array;
}

/**
 * Reads credentials. Throws AUTHENTICATION when they are damaged or the key is not that of the certificate. Does not ask
 * whether the certificate is trusted and valid now: verifyCertificate does.
 */
export function identityFrom(credentials: Credentials): Identity {
  const [pem] = certificatesIn(credentials.certificatePem);
  if (pem === undefined) throw new MeshError("AUTHENTICATION", "this node's certificate is not in PEM: join again");
  const leaf = readCertificate(derOf(pem));
  const identity = identityOfNames(leaf.subjectAltName);
  if (!identity) throw new MeshError("AUTHENTICATION", "this node's certificate names no node of a mesh: join again");
  const key = readPrivateKey(credentials.keyPem, identity.name);
  if (!belongTogether(leaf, key)) {
    const message = `the private key of ${identity.name} is not that of its certificate: join again with a new token`;
    throw new MeshError("AUTHENTICATION", message);
  }
  const { notBefore, notAfter } = validityOf(leaf);
  return {
    ...identity,
    credentials,
    certificate: leaf.raw,
    notBefore,
    expiresAt: notAfter,
    sign: (bytes) => signBytes(key, bytes),
  };
}

function belongTogether(leaf: X509Certificate, key: Parameters<X509Certificate["checkPrivateKey"]>[0]): boolean {
  try {
    return leaf.checkPrivateKey(key);
  } catch {
    return false;
  }
}
