// Makes certificates. The library that does it takes 15 to 110 ms to load, so it comes with the first one that is made;
// who only checks certificates never loads it.
import { createPrivateKey, randomBytes } from "node:crypto";
import type { X509CertificateGenerator } from "@peculiar/x509";
import { createKeyPair, type KeyPair } from "./keys.ts";
import { DNS_NAME, meshUriOf, type NodeIdentity, uriOf } from "./names.ts";
import type { Validity } from "./validity.ts";
import { NODE_USAGES } from "./verify.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export interface NewAuthority {
  certificatePem: string;
  keyPem: string;
}

/** What signs: a CA's subject and private key. */
export interface Signer {
  subject: string;
  keyPem: string;
}

/** Makes the key and the certificate, signed by itself, of a CA that may sign nodes' certificates and no other CA. */
export async function makeAuthority(meshId: string, validity: Validity): Promise<NewAuthority> {
  const x509 = await library();
  const { publicKey, keyPem }: KeyPair = createKeyPair();
  const keys = { privateKey: await signingKey(keyPem), publicKey: await verifyingKey(publicKey) };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    // The random part tells the CAs of one mesh apart: TLS looks for a leaf's CA by this name.
    name: [{ CN: [`mesh ${meshId} CA ${randomBytes(4).toString("hex")}`] }],
    keys,
    ...common(validity),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: meshUriOf(meshId) }]),
    ],
  });
  return { certificatePem: pem(certificate), keyPem };
}

/** Makes the certificate of a node, as PEM. `publicKey` is a SubjectPublicKeyInfo that was checked. */
export async function makeLeaf(
  signer: Signer,
  node: NodeIdentity,
  publicKey: Uint8Array,
  validity: Validity,
): Promise<string> {
  const x509 = await library();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [node.name] }],
    issuer: signer.subject,
    publicKey: new x509.PublicKey(bufferOf(publicKey)),
    signingKey: await signingKey(signer.keyPem),
    ...common(validity),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([...NODE_USAGES]),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: uriOf(node) },
        { type: "dns", value: DNS_NAME },
      ]),
    ],
  });
  return pem(certificate);
}

async function library() {
  await import("reflect-metadata"); // before the other: it looks for this while it loads
  return await import("@peculiar/x509");
}

type Common = Pick<
  Parameters<typeof X509CertificateGenerator.create>[0],
  "serialNumber" | "notBefore" | "notAfter" | "signingAlgorithm"
>;

function common({ notBefore, notAfter }: Validity): Common {
  return {
    serialNumber: newSerial(),
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    signingAlgorithm: ALGORITHM,
  };
}

/** 128 bits, of which 126 are random: the first two make it positive and always 16 bytes long, so that it has one spelling. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString("hex");
}

function signingKey(keyPem: string): Promise<CryptoKey> {
  const der = createPrivateKey(keyPem).export({ type: "pkcs8", format: "der" });
  return crypto.subtle.importKey("pkcs8", bufferOf(der), ALGORITHM, false, ["sign"]);
}

function verifyingKey(publicKey: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("spki", bufferOf(publicKey), ALGORITHM, true, ["verify"]);
}

function bufferOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function pem(certificate: { toString(format: "pem"): string }): string {
  return `${certificate.toString("pem").trim()}\n`;
}
