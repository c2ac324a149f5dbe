// Certificates that cost nothing, for tests of what is above them: JSON, signed by whoever knows how.
import { MeshError } from "../../core/errors.ts";
import type { OwnIdentity, VerifiedIdentity } from "../../core/session/handshake.ts";

export const MESH_ID = "00112233aabbccdd";

export interface FakeCertificate extends VerifiedIdentity {
  /** "good", or why it is refused. */
  state: string;
}

export function certificateOf(name: string, more: Partial<FakeCertificate> = {}): Uint8Array {
  const certificate: FakeCertificate = {
    ...{ name, meshId: MESH_ID, role: "worker", serial: `serial of ${name}`, notBefore: 0, state: "good" },
    ...more,
  };
  return new TextEncoder().encode(JSON.stringify(certificate));
}

export function signatureOf(certificate: Uint8Array, bytes: Uint8Array): Uint8Array {
  const hash = Bun.hash(bytes, Bun.hash.crc32(certificate));
  return new TextEncoder().encode(`signed ${hash}`);
}

export function identityOf(certificate: Uint8Array): OwnIdentity {
  return { certificate, sign: (bytes) => signatureOf(certificate, bytes) };
}

export function verify(certificate: Uint8Array): VerifiedIdentity {
  let read: FakeCertificate;
  try {
    read = JSON.parse(new TextDecoder().decode(certificate));
  } catch (cause) {
    throw new MeshError("AUTHENTICATION", "what a peer showed as its certificate is none", { cause });
  }
  if (typeof read?.name !== "string") throw new MeshError("AUTHENTICATION", "a certificate without a name");
  if (read.state !== "good") throw new MeshError("AUTHENTICATION", `the certificate of ${read.name} is ${read.state}`);
  return read;
}

export function verifySignature(certificate: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  return Buffer.compare(signatureOf(certificate, bytes), signature) === 0;
}
