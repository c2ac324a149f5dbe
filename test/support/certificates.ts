// A mesh's CA for a test, and credentials it issues.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshCa } from "../../core/identity/ca.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import type { Role } from "../../core/identity/names.ts";

/** Milliseconds. */
const HOUR = 3_600_000;

export interface IssueOptions {
  role?: Role;
  /** The machine's time when it was issued, relative to now. */
  issuedInMs?: number;
  validityMs?: number;
}

export class TestCa {
  readonly ca: MeshCa;

  private constructor(ca: MeshCa) {
    this.ca = ca;
  }

  static async make(): Promise<TestCa> {
    const folder = mkdtempSync(join(tmpdir(), "mesh-ca-"));
    try {
      return new TestCa(await MeshCa.create(folder, { nowMs: Date.now() }));
    } finally {
      rmSync(folder, { recursive: true }); // it keeps in memory what it needs to issue
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
}
