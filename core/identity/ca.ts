// The CA of a mesh, in the coordinator only. Its folder holds
//
//   ca.pem   the certificate      ca.key   its private key      ca-old.pem   CAs it replaced, trusted for a while yet
//
// all of mode 0600, and at every moment a whole CA: see key-files.ts.
import { randomBytes } from "node:crypto";
import { MeshError } from "../errors.ts";
import { makeAuthority, makeLeaf } from "./issue.ts";
import { type KeyFiles, readKeyFiles, writeKeyFiles } from "./key-files.ts";
import { readPublicKey } from "./keys.ts";
import { checkName, isRole, type Role } from "./names.ts";
import { type OldAuthority, readOldAuthorities, writeOldAuthorities } from "./old-authorities.ts";
import { derOf } from "./pem.ts";
import { pinOf } from "./pin.ts";
import { checkPrivateFolder, makePrivateFolder } from "./private-files.ts";
import { CA_LIMIT, readAuthority } from "./trust.ts";
import {
  BACKDATE_MS,
  CA_VALIDITY_MS,
  checkValidity,
  DEFAULT_VALIDITY_MS,
  LONGEST_VALIDITY_MS,
  timeWords,
  type Validity,
} from "./validity.ts";

const FILES = { key: "ca.key", certificate: "ca.pem" };
const LOST =
  "put both files back from a backup; without them, make a new mesh in another folder and let all nodes join it";

/** Who is to get a certificate. `publicKey` is a SubjectPublicKeyInfo as DER, from whoever asks. */
export interface IssueRequest {
  role: Role;
  name: string;
  publicKey: Uint8Array;
}

export interface IssueOptions {
  /** Milliseconds since 1970. After a name was revoked, what Revocations.issueTime says. */
  nowMs: number;
  /** Default 90 days; at most LONGEST_VALIDITY_MS, and never beyond the CA's own. */
  validityMs?: number;
}

interface SigningCa extends KeyFiles {
  /** When its trust ends, if that is known. */
  until?: number;
}

/** Makes certificates of one mesh. One for each folder at a time: the coordinator makes sure of that. */
export class MeshCa {
  readonly meshId: string;
  readonly #folder: string;
  #current: KeyFiles;
  #old: OldAuthority[];
  /** The CA that signed the coordinator's certificate. */
  #shown: string;
  #rotation: Promise<void> = Promise.resolve();

  private constructor(folder: string, files: KeyFiles) {
    const { certificatePem } = files;
    this.#folder = folder;
    this.#current = files;
    this.meshId = readAuthority(certificatePem).meshId;
    this.#old = readOldAuthorities(folder).filter((old) => old.certificatePem !== certificatePem);
    this.#shown = certificatePem;
  }

  /** Makes a new mesh's CA, and its folder if need be. Throws USAGE when there is one already. */
  static async create(folder: string, { nowMs }: { nowMs: number }): Promise<MeshCa> {
    makePrivateFolder(folder);
    if (readKeyFiles(folder, FILES, LOST)) {
      throw new MeshError(
        "USAGE",
        `${folder} holds the CA of a mesh already: use it, or another name for the new mesh`,
      );
    }
    const files = await makeAuthority(randomBytes(8).toString("hex"), validity(nowMs, CA_VALIDITY_MS));
    writeKeyFiles(folder, FILES, files);
    return new MeshCa(folder, files);
  }

  /**
   * Opens the CA in `folder`; undefined when there is none. Throws AUTHENTICATION, with the command that helps, when
   * others could have read or changed it, and when it is damaged.
   */
  static open(folder: string): MeshCa | undefined {
    checkPrivateFolder(folder);
    const files = readKeyFiles(folder, FILES, LOST);
    return files && new MeshCa(folder, files);
  }

  /** What join tokens pin: the CA in `certificatePem`. */
  get pin(): Uint8Array {
    return pinOf(derOf(this.#shown));
  }

  /** The CA, as PEM, that signed the last certificate `issue` made for the coordinator: what strangers are shown. */
  get certificatePem(): string {
    return this.#shown;
  }

  /** All CAs that nodes are to trust at `nowMs`, as PEM, the one that signs first. */
  trust(nowMs: number): string {
    const old = this.#old.filter(({ until }) => until > nowMs);
    return [this.#current.certificatePem, ...old.map(({ certificatePem }) => certificatePem)].join("");
  }

  /** Until when certificates of replaced CAs are accepted; undefined when none are at `nowMs`. */
  overlapUntil(nowMs: number): number | undefined {
    const ends = this.#old.map(({ until }) => until).filter((until) => until > nowMs);
    return ends.length > 0 ? Math.max(...ends) : undefined;
  }

  /**
   * Makes a node's certificate, as PEM, valid from 24 h before `nowMs` on for clocks that are behind. The coordinator's is
   * signed by the oldest CA that is trusted for some time yet: nodes that were away when it was replaced know no other.
   * Throws USAGE for a role, name or validity that cannot be, PROTOCOL for a bad key, AUTHENTICATION when the CA expired.
   */
  async issue(request: IssueRequest, { nowMs, validityMs = DEFAULT_VALIDITY_MS }: IssueOptions): Promise<string> {
    const { role, name, publicKey } = request;
    checkRequest(request, validityMs);
    const signer: SigningCa = role === "coordinator" ? this.#eldest(nowMs) : this.#current;
    const { certificatePem, keyPem, until } = signer;
    const { certificate, ...span } = readAuthority(certificatePem);
    checkValidity(`the CA of mesh ${this.meshId}`, span, nowMs, "the CA has expired: replace it with mesh rotate");
    const wanted = validity(nowMs, validityMs);
    const notAfter = Math.min(wanted.notAfter, span.notAfter, until ?? wanted.notAfter);
    const node = { meshId: this.meshId, role, name };
    const leaf = await makeLeaf({ subject: certificate.subject, keyPem }, node, publicKey, { ...wanted, notAfter });
    if (role === "coordinator") this.#shown = certificatePem;
    return leaf;
  }

  /** The oldest CA that is not near the end of its trust, or the current one. */
  #eldest(nowMs: number): SigningCa {
    // A certificate renewed at two thirds of its time, and again: the second time a younger CA must take over.
    return this.#old.findLast(({ from, until }) => until - nowMs > (until - from) / 4) ?? this.#current;
  }

  /**
   * Replaces the CA. What the old one signed stays valid for `overlapMs`, by default as long as a certificate is issued for,
   * so that every node renews in time. 0 ends it at once: the old key was stolen; join tokens made before work no more then.
   * Afterwards: tell all nodes whom to trust, then let them renew, the coordinator too.
   * Throws USAGE while CA_LIMIT CAs are trusted side by side.
   */
  rotate(options: { nowMs: number; overlapMs?: number }): Promise<void> {
    const done = this.#rotation.then(() => this.#rotate(options.nowMs, options.overlapMs ?? DEFAULT_VALIDITY_MS));
    this.#rotation = done.catch(() => {}); // told to who asked for it; the next may still work
    return done;
  }

  async #rotate(nowMs: number, overlapMs: number): Promise<void> {
    if (!(overlapMs >= 0 && overlapMs <= CA_VALIDITY_MS)) {
      throw new MeshError("USAGE", `the old CA cannot stay trusted for ${overlapMs} ms: 0 to 10 years`);
    }
    const before = this.#old.filter(({ until }) => until > nowMs);
    if (overlapMs > 0 && before.length + 2 > CA_LIMIT) {
      const first = timeWords(Math.min(...before.map(({ until }) => until)));
      const message = `the CA was replaced ${before.length} times lately, and all of them are still trusted`;
      throw new MeshError("USAGE", `${message}: wait until ${first}, or end their trust now with an overlap of 0`);
    }
    const files = await makeAuthority(this.meshId, validity(nowMs, CA_VALIDITY_MS));
    const replaced = { ...this.#current, from: nowMs, until: nowMs + overlapMs };
    const old = [replaced, ...before];
    writeOldAuthorities(this.#folder, old);
    writeKeyFiles(this.#folder, FILES, files);
    // An overlap of 0 is for a stolen key: it ends the trust in those before, too.
    if (overlapMs === 0) writeOldAuthorities(this.#folder, []);
    this.#old = overlapMs > 0 ? old : [];
    this.#current = files;
    if (overlapMs === 0) this.#shown = files.certificatePem;
  }
}

function checkRequest({ role, name, publicKey }: IssueRequest, validityMs: number): void {
  if (!isRole(role)) throw new MeshError("USAGE", `${JSON.stringify(role)} is no role a node can have`);
  checkName(name, "the name of a node");
  if (!(validityMs >= 1000 && validityMs <= LONGEST_VALIDITY_MS)) {
    throw new MeshError("USAGE", `a certificate cannot be valid for ${validityMs} ms: at least 1 s, at most 366 days`);
  }
  readPublicKey(publicKey);
}

function validity(nowMs: number, validityMs: number): Validity {
  // Certificates know whole seconds.
  const issued = Math.floor(nowMs / 1000) * 1000;
  return { notBefore: issued - BACKDATE_MS, notAfter: issued + Math.floor(validityMs / 1000) * 1000 };
}
