// Whom a node believes: the CAs of its mesh, several while one replaces the other, and what was revoked.
import { X509Certificate } from "node:crypto";
import { MeshError } from "../errors.ts";
import { isP256 } from "./keys.ts";
import { meshIdOfNames } from "./names.ts";
import { certificatesIn, derOf } from "./pem.ts";
import type { Validity } from "./validity.ts";
import type { VerifiedPeer } from "./verify.ts";

/** So many CAs may be trusted side by side. */
export const CA_LIMIT = 4;
const CA_PEM_LIMIT_CHARS = 8 * 1024;

/** Leaf certificates that were found good and need no second look at their signature. */
const KNOWN_LIMIT = 1024;

/** One CA that may issue certificates of a mesh. */
export interface Authority extends Validity {
  meshId: string;
  pem: string;
  certificate: X509Certificate;
}

/** Says which certificates count no more; Revocations is one. */
export interface RevocationCheck {
  isRevoked(serial: string, name: string, notBefore: number): boolean;
}

/** A leaf whose signature and form were checked, and who signed it. */
export interface KnownLeaf {
  peer: VerifiedPeer;
  authority: Authority;
}

/** The CAs a node trusts. One for each node, kept up to date by `replace` when the mesh changes its CA. */
export class Trust {
  #authorities: readonly Authority[];
  #caPem: string;
  readonly #known = new Map<string, KnownLeaf>();
  /** Asked at every verification, also for leafs met before. */
  revocations: RevocationCheck | undefined;

  /** Throws AUTHENTICATION unless `caPem` holds one to CA_LIMIT CA certificates of one mesh. */
  constructor(caPem: string, revocations?: RevocationCheck) {
    this.#authorities = readAuthorities(caPem);
    this.#caPem = caPem;
    this.revocations = revocations;
  }

  get meshId(): string {
    return this.#authorities[0]!.meshId;
  }

  get caPem(): string {
    return this.#caPem;
  }

  get authorities(): readonly Authority[] {
    return this.#authorities;
  }

  /** Trusts these CAs from now on and no others. Throws AUTHENTICATION when they belong to another mesh. */
  replace(caPem: string): void {
    if (caPem === this.#caPem) return;
    const authorities = readAuthorities(caPem);
    const { meshId } = authorities[0]!;
    if (meshId !== this.meshId) {
      throw new MeshError("AUTHENTICATION", `CA certificates of mesh ${meshId} cannot replace those of ${this.meshId}`);
    }
    this.#authorities = authorities;
    this.#caPem = caPem;
    this.#known.clear();
  }

  /** What `remember` was told of a leaf, by the hash of its DER. */
  recall(hash: string): KnownLeaf | undefined {
    return this.#known.get(hash);
  }

  remember(hash: string, leaf: KnownLeaf): void {
    if (this.#known.size >= KNOWN_LIMIT) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(hash, leaf);
  }
}

function readAuthorities(caPem: string): Authority[] {
  const pems = caPem.length <= CA_PEM_LIMIT_CHARS ? certificatesIn(caPem) : [];
  if (pems.length === 0 || pems.length > CA_LIMIT) {
    throw new MeshError(
      "AUTHENTICATION",
      `what should be the CA of a mesh is not 1 to ${CA_LIMIT} certificates in PEM`,
    );
  }
  const authorities = pems.map(readAuthority);
  if (authorities.some(({ meshId }) => meshId !== authorities[0]!.meshId)) {
    throw new MeshError("AUTHENTICATION", "the CA certificates belong to several meshes; one node is in one mesh");
  }
  return authorities;
}

/** Reads the certificate of a CA. Throws AUTHENTICATION when it is none of a mesh. */
export function readAuthority(pem: string): Authority {
  try {
    const certificate = new X509Certificate(Buffer.from(derOf(pem)));
    const meshId = meshIdOfNames(certificate.subjectAltName);
    if (meshId === undefined || !certificate.ca || !isP256(certificate.publicKey)) throw new Error("no mesh's CA");
    return { meshId, pem, certificate, ...validityOf(certificate) };
  } catch (cause) {
    const message = "a certificate is not that of a mesh's CA: it is damaged, or of something else";
    throw new MeshError("AUTHENTICATION", message, { cause });
  }
}

export function validityOf(certificate: X509Certificate): Validity {
  const notBefore = certificate.validFromDate.getTime();
  const notAfter = certificate.validToDate.getTime();
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) throw new Error("its dates cannot be read");
  return { notBefore, notAfter };
}
