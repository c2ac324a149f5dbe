// A mesh's CA in a folder of its own, and certificates no MeshCa would make.
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { isMeshError, type MeshErrorCode } from "../../core/errors.ts";
import { MeshCa } from "../../core/identity/ca.ts";
import { type Identity, identityFrom } from "../../core/identity/identity.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import type { Role } from "../../core/identity/names.ts";
import { derOf } from "../../core/identity/pem.ts";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const YEAR = 365 * DAY;
/** The time of day of most tests. */
export const NOW = Date.parse("2026-11-24T12:00:00.250Z");

/** A folder for a test, gone with it. */
export interface Folder extends Disposable {
  path: string;
  at(...names: string[]): string;
}

export function folder(): Folder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "mesh-identity-")));
  return {
    path,
    at: (...names) => join(path, ...names),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

export interface TestMesh extends Disposable {
  ca: MeshCa;
  /** The folder of the CA. */
  path: string;
}

export async function testMesh(nowMs = NOW): Promise<TestMesh> {
  const place = folder();
  const path = place.at("ca");
  return { ca: await MeshCa.create(path, { nowMs }), path, [Symbol.dispose]: () => place[Symbol.dispose]() };
}

/** A node of the mesh, with a key of its own. */
export async function nodeOf(
  ca: MeshCa,
  role: Role,
  name: string,
  nowMs = NOW,
  validityMs?: number,
): Promise<Identity> {
  const { publicKey, keyPem } = createKeyPair();
  const options = { nowMs, ...(validityMs !== undefined && { validityMs }) };
  const certificatePem = await ca.issue({ role, name, publicKey }, options);
  return identityFrom({ caPem: ca.trust(nowMs), certificatePem, keyPem });
}

export type Extension = "server" | "client" | "ca";

export interface OddCertificate {
  /** Default: `mesh://<mesh>/worker/gpu1`. */
  uri?: string;
  dns?: string | string[] | null;
  extensions?: Extension[];
  /** Default: a new key on P-256. */
  publicKey?: Uint8Array;
}

/** The DER of a certificate that the CA in `mesh` signed, of whatever form. */
export async function oddCertificate(mesh: TestMesh, odd: OddCertificate): Promise<Uint8Array> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const key = createPrivateKey(readFileSync(join(mesh.path, "ca.key")));
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const { uri = `mesh://${mesh.ca.meshId}/worker/gpu1`, dns = "mesh", extensions = ["server", "client"] } = odd;
  const usages = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2", ca: "" };
  const names = [
    { type: "url" as const, value: uri },
    ...(dns === null ? [] : [dns].flat().map((value) => ({ type: "dns" as const, value }))),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `41${"00".repeat(15)}`,
    subject: [{ CN: ["odd"] }],
    issuer: new x509.X509Certificate(new Uint8Array(derOf(mesh.ca.certificatePem))).subject,
    notBefore: new Date(NOW - DAY),
    notAfter: new Date(NOW + DAY),
    signingAlgorithm: algorithm,
    publicKey: new x509.PublicKey(new Uint8Array(odd.publicKey ?? createKeyPair().publicKey)),
    signingKey: await crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]),
    extensions: [
      new x509.BasicConstraintsExtension(extensions.includes("ca"), undefined, true),
      new x509.ExtendedKeyUsageExtension(extensions.map((one) => usages[one]).filter((usage) => usage !== "")),
      new x509.SubjectAlternativeNameExtension(names),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

/** What `run` throws, which must be a MeshError of that code. */
export function refusalOf(code: MeshErrorCode, run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!isMeshError(error, code)) throw error;
    return error.message;
  }
  return expect.fail(`expected ${code}, and nothing was thrown`);
}

/** As refusalOf, of a promise. */
export async function rejectionOf(code: MeshErrorCode, promise: Promise<unknown>): Promise<string> {
  const [result] = await Promise.allSettled([promise]);
  return refusalOf(code, () => {
    if (result.status === "rejected") throw result.reason;
  });
}
