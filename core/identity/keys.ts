// Keys of nodes: ECDSA on P-256 with SHA-256, signatures as the two plain numbers (IEEE P1363, 64 bytes).
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { MeshError } from "../errors.ts";

export const SIGNATURE_BYTES = 64;

/** Bytes of a public key: SubjectPublicKeyInfo of P-256 with an uncompressed point. */
export const PUBLIC_KEY_BYTES = 91;

export interface KeyPair {
  /** SubjectPublicKeyInfo as DER, PUBLIC_KEY_BYTES long. */
  publicKey: Uint8Array;
  /** PKCS #8 as PEM. */
  keyPem: string;
}

export function createKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    publicKey: publicKey.export({ type: "spki", format: "der" }),
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

/** Reads a private key from PEM. Throws AUTHENTICATION, without the key, when it is none on P-256. */
export function readPrivateKey(keyPem: string, of: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(keyPem);
  } catch {
    // The cause might quote the key: it stays here.
    throw new MeshError("AUTHENTICATION", `the private key of ${of} is no key in PEM: it is damaged; make a new one`);
  }
  if (!isP256(key))
    throw new MeshError("AUTHENTICATION", `the private key of ${of} is not one on P-256; make a new one`);
  return key;
}

/** Reads a public key that a peer sent. Throws PROTOCOL unless it is exactly one on P-256. */
export function readPublicKey(der: Uint8Array): KeyObject {
  if (der.length === PUBLIC_KEY_BYTES) {
    try {
      const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
      if (isP256(key) && publicKeyBytes(key).equals(der)) return key;
    } catch {
      // told below
    }
  }
  throw new MeshError("PROTOCOL", "a peer sent a public key that is none on P-256 (SubjectPublicKeyInfo, 91 bytes)");
}

/** SubjectPublicKeyInfo of a key, as DER. */
export function publicKeyBytes(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}

/** Signs `bytes`; the signature has SIGNATURE_BYTES. */
export function signBytes(key: KeyObject, bytes: Uint8Array): Uint8Array {
  return sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
}

/** Tells whether `signature` is that of `bytes` by the owner of `publicKey`. Never throws for what a peer sent. */
export function verifySignature(publicKey: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  return verify("sha256", bytes, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature);
}
