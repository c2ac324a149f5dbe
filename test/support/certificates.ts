// A mesh's CA for a test, and credentials it issues.
import { createPrivateKey } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshCa } from "../../core/identity/ca.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import type { Role } from "../../core/identity/names.ts";
import { derOf } from "../../core/identity/pem.ts";

/** Milliseconds. */
const HOUR = 3_600_000;
const USAGES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** What is unlike the certificates that a MeshCa issues. */
export interface OddLeaf {
  /** Default "mesh". */
  dns?: string;
  /** Default both. */
  usages?: (keyof typeof USAGES)[];
}

export interface IssueOptions {
  role?: Role;
  /** The machine's time when it was issued, relative to now. */
  issuedInMs?: number;
  validityMs?: number;
}

export class TestCa {
  readonly ca: MeshCa;
  readonly #keyPem: string;
  readonly #folder: string;

  private constructor(ca: MeshCa, keyPem: string, folder: string) {
    this.ca = ca;
    this.#keyPem = keyPem;
    this.#folder = folder;
  }

  static async make(): Promise<TestCa> {
    const folder = mkdtempSync(join(tmpdir(), "mesh-ca-"));
    try {
      const ca = await MeshCa.create(folder, { nowMs: Date.now() });
      return new TestCa(ca, readFileSync(join(folder, "ca.key"), "utf8"), folder);
    } finally {
      rmSync(folder, { recursive: true }); // it keeps in memory what it needs to issue
    }
  }

  /** The one in a folder, as the coordinator of a mesh keeps it: to issue, not to rotate. */
  static open(folder: string): TestCa {
    return new TestCa(MeshCa.open(folder)!, readFileSync(join(folder, "ca.key"), "utf8"), folder);
  }

  /** Replaces the CA; both are trusted from now on. */
  async rotate(): Promise<void> {
    mkdirSync(this.#folder, { mode: 0o700 });
    try {
      await this.ca.rotate({ nowMs: Date.now() });
    } finally {
      rmSync(this.#folder, { recursive: true });
    }
  }

  async issue(name: string, options: IssueOptions = {}): Promise<Credentials> {
    const { role = "worker", issuedInMs = 0, validityMs } = options;
    const { publicKey, keyPem } = createKeyPair();
    const nowMs = Date.now() + issuedInMs;
    const certificatePem = await this.ca.issue(
      { role, name, publicKey },
      { nowMs, ...(validityMs !== undefined && { validityMs }) },
    );
    return { caPem: this.ca.trust(Date.now()), certificatePem, keyPem };
  }

  /** Ended an hour ago. */
  expired(name: string): Promise<Credentials> {
    return this.issue(name, { issuedInMs: -2 * HOUR, validityMs: HOUR });
  }

  /** Starts in 24 h: certificates are backdated by a day. */
  future(name: string): Promise<Credentials> {
    return this.issue(name, { issuedInMs: 48 * HOUR });
  }

  /** Signed by this CA, though it would never issue such a one. */
  async odd({ dns = "mesh", usages = ["server", "client"] }: OddLeaf): Promise<Credentials> {
    await import("reflect-metadata");
    const x509 = await import("@peculiar/x509");
    const { publicKey, keyPem } = createKeyPair();
    const authority = new x509.X509Certificate(new Uint8Array(derOf(this.ca.certificatePem)));
    const signingDer = createPrivateKey(this.#keyPem).export({ type: "pkcs8", format: "der" });
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: `41${"00".repeat(15)}`,
      subject: [{ CN: ["odd"] }],
      issuer: authority.subject,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + HOUR),
      signingAlgorithm: ALGORITHM,
      publicKey: new x509.PublicKey(new Uint8Array(publicKey)),
      signingKey: await crypto.subtle.importKey("pkcs8", new Uint8Array(signingDer), ALGORITHM, false, ["sign"]),
      extensions: [
        new x509.ExtendedKeyUsageExtension(usages.map((usage) => USAGES[usage])),
        new x509.SubjectAlternativeNameExtension([
          { type: "url", value: `mesh://${this.ca.meshId}/worker/odd` },
          { type: "dns", value: dns },
        ]),
      ],
    });
    return { caPem: this.ca.trust(Date.now()), certificatePem: `${certificate.toString("pem").trim()}\n`, keyPem };
  }
}
