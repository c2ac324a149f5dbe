// Checks the certificate of a peer: who signed it, whom it names, what for, from when to when, and whether it was revoked.
// Every failure says what is wrong and what to do. node:crypto alone, because this runs on every connection.
import { hash, type KeyObject, X509Certificate } from "node:crypto";
import { MeshError } from "../errors.ts";
import { isP256 } from "./keys.ts";
import { identityOfNames, type NodeIdentity } from "./names.ts";
import { type Authority, type KnownLeaf, type Trust, validityOf } from "./trust.ts";
import { checkValidity, type Validity } from "./validity.ts";

/** A larger certificate is refused unread; those of a mesh have some 400 bytes. */
export const CERTIFICATE_LIMIT_BYTES = 4 * 1024;

/** Usages a node needs, because every node dials and listens: TLS server and TLS client (RFC 5280, 4.2.1.12). */
export const NODE_USAGES = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"] as const;

const JOIN_AGAIN = "join the node again with a new token (mesh token, where the coordinator runs)";

/** Who a certificate says somebody is, after all checks. That its holder has the key must be proven besides. */
export interface VerifiedPeer extends NodeIdentity, Validity {
  /** 32 lower-case hex digits. */
  serial: string;
  publicKey: KeyObject;
}

/**
 * Checks a leaf certificate (DER) against the CAs and revocations of `trust`, at `nowMs` (milliseconds since 1970).
 * Throws AUTHENTICATION naming the cause and what to do. Certificates met before cost a hash, not a signature.
 */
export function verifyCertificate(der: Uint8Array, trust: Trust, nowMs: number): VerifiedPeer {
  if (der.length > CERTIFICATE_LIMIT_BYTES) {
    throw refusal(`a certificate of ${der.length} bytes is over ${CERTIFICATE_LIMIT_BYTES}: it is none of a mesh`);
  }
  const key = hash("sha256", der, "base64");
  const known = trust.recall(key);
  const leaf = known ?? examine(der, trust);
  if (!known) trust.remember(key, leaf);
  checkNow(leaf, trust, nowMs);
  return leaf.peer;
}

/**
 * Tells whether a node's own leaf (DER) was signed by a CA that is being replaced, so that the node is to renew it soon.
 * Not for the coordinator's, which is meant to be of the oldest.
 */
export function isOutdated(der: Uint8Array, trust: Trust): boolean {
  return readCertificate(der).issuer !== trust.authorities[0]!.certificate.subject;
}

/** Everything about a certificate that time and revocations do not change. */
function examine(der: Uint8Array, trust: Trust): KnownLeaf {
  const certificate = readCertificate(der);
  const identity = identityOfNames(certificate.subjectAltName);
  const what = identity ? `the certificate of ${identity.name}` : "a certificate that names no node of a mesh";
  const authority = signerOf(certificate, trust, what, identity);
  if (certificate.ca) throw refusal(`${what} is a CA's: a CA does not speak for itself`);
  if (!identity) throw refusal(`${what} was signed by this mesh's CA: it was not made by mesh; ${JOIN_AGAIN}`);
  if (identity.meshId !== trust.meshId) {
    throw refusal(`${what} names it in mesh ${identity.meshId}, not in this one (${trust.meshId}); ${JOIN_AGAIN}`);
  }
  const usages: readonly string[] = certificate.keyUsage ?? [];
  if (!NODE_USAGES.every((usage) => usages.includes(usage)) || !isP256(certificate.publicKey)) {
    throw refusal(`${what} is not for both ends of a link (clientAuth, serverAuth; P-256): ${JOIN_AGAIN}`);
  }
  const { publicKey, serialNumber } = certificate;
  const peer = { ...identity, ...validityOf(certificate), serial: serialNumber.toLowerCase(), publicKey };
  return { peer, authority };
}

function checkNow({ peer, authority }: KnownLeaf, trust: Trust, nowMs: number): void {
  const what = `the certificate of ${peer.name}`;
  checkValidity(what, peer, nowMs, `the certificate has expired: ${JOIN_AGAIN}`);
  checkValidity(`the CA that signed ${what}`, authority, nowMs, "the CA has expired: replace it with mesh rotate");
  if (trust.revocations?.isRevoked(peer.serial, peer.name, peer.notBefore)) {
    throw refusal(`${what} (serial ${peer.serial}) was revoked: if that node is to be in the mesh, ${JOIN_AGAIN}`);
  }
}

/** Reads one certificate from DER. Throws AUTHENTICATION when the bytes are not exactly that. */
export function readCertificate(der: Uint8Array): X509Certificate {
  try {
    const certificate = new X509Certificate(Buffer.from(der));
    // It also takes PEM, and DER with more behind it.
    if (certificate.raw.equals(der)) return certificate;
  } catch {
    // told below
  }
  throw refusal("what a peer showed as its certificate is none: is something else than mesh at that address?");
}

function signerOf(certificate: X509Certificate, trust: Trust, what: string, identity?: NodeIdentity): Authority {
  const signer = trust.authorities.find((authority) => isSignedBy(certificate, authority));
  if (signer) return signer;
  const isForeign = identity !== undefined && identity.meshId !== trust.meshId;
  const why = isForeign
    ? `it belongs to mesh ${identity.meshId}, this is ${trust.meshId}`
    : "it is of another mesh, or the CA was replaced while that node was away";
  throw refusal(`${what} is not signed by the CA of this mesh: ${why}; ${JOIN_AGAIN}`);
}

function isSignedBy(certificate: X509Certificate, { certificate: ca }: Authority): boolean {
  try {
    return certificate.issuer === ca.subject && certificate.verify(ca.publicKey);
  } catch {
    return false;
  }
}

function refusal(message: string): MeshError {
  return new MeshError("AUTHENTICATION", message);
}
