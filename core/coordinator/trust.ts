// Tokens, certificates and revocations, as nodes and users ask for them. What they are is core/identity's.
import { MeshError } from "../errors.ts";
import type { IssueRequest, MeshCa } from "../identity/ca.ts";
import { ADDRESS_LIMIT, type Joined } from "../identity/join.ts";
import type { Revocations } from "../identity/revocations.ts";
import { DEFAULT_TTL_MS, type TokenStore } from "../identity/token-store.ts";
import type { LogFields } from "../log.ts";
import type { Certified, Revoked, Token } from "./answers.ts";
import type { Admit, Certify, IssueToken, Revoke, RotateCa } from "./bodies.ts";
import type { Asker } from "./door.ts";

/** The services of core/identity that the coordinator keeps. */
export interface IdentityServices {
  ca: Pick<MeshCa, "issue" | "rotate" | "trust" | "overlapUntil">;
  tokens: Pick<TokenStore, "create">;
  revocations: Pick<Revocations, "version" | "revokeName" | "issueTime" | "toData">;
  /** When a certificate in PEM expires, ms since 1970. */
  expiryOf(certificatePem: string): number;
}

export interface TrustOptions {
  identity: IdentityServices;
  ownName: string;
  mesh: { id: string; name: string };
  /** Where the coordinator listens. */
  addresses(): readonly string[];
  wallMs(): number;
  /** Gets a record of each certificate that somebody got for another node. */
  audit(event: string, fields: LogFields): void;
  /** Tells all nodes. */
  push(revoked: Revoked): void;
  /** Ends sessions with those who are trusted no more. */
  dropRevoked(): void;
}

export class Trust {
  readonly #options: TrustOptions;
  /** Of all that `current` says. A time, so that it is higher after a restart than whatever was told before. */
  #version: number;

  constructor(options: TrustOptions) {
    this.#options = options;
    this.#version = Math.max(options.identity.revocations.version, Math.floor(options.wallMs()));
  }

  /** What a node must know of whom to trust. */
  current(): Revoked {
    const { ca, revocations } = this.#options.identity;
    return { version: this.#version, list: revocations.toData(), caPem: ca.trust(this.#now) };
  }

  issueToken({ role, name, ttlMs }: IssueToken): Token {
    const now = this.#now;
    const request = { role, ...(name !== undefined && { name }), ...(ttlMs !== undefined && { ttlMs }) };
    const token = this.#options.identity.tokens.create(request, now);
    return { token, expiresAt: now + (ttlMs ?? DEFAULT_TTL_MS) };
  }

  /**
   * A new certificate for the asker itself; for a head also one for another head of its own, named after it ("laptop.k3f9"),
   * because two nodes of a mesh never share a name. Throws AUTHENTICATION when it asks for more.
   */
  async certify({ publicKey, role, name }: Certify, asker: Asker): Promise<Certified> {
    const wanted = { role: role ?? asker.role, name: name ?? asker.name };
    const isOwn = wanted.role === asker.role && wanted.name === asker.name;
    const isOfIts = asker.role === "head" && wanted.role === "head" && wanted.name.startsWith(`${asker.name}.`);
    if (!isOwn && !isOfIts) {
      const message = `${asker.role} ${asker.name} asked for a certificate of ${wanted.role} ${wanted.name}: a node renews its own only; others join by a token`;
      throw new MeshError("AUTHENTICATION", message);
    }
    const { certificatePem, caPem } = await this.#issue({ ...wanted, publicKey });
    return { certificatePem, caPem, expiresAt: this.#options.identity.expiryOf(certificatePem) };
  }

  /**
   * A certificate for a node that the asker starts elsewhere: no more than a token could give. Throws USAGE for the
   * coordinator's own name, PROTOCOL for a bad key.
   */
  async admit(request: Admit, asker: Asker): Promise<Joined> {
    const { mesh, ownName, addresses, audit } = this.#options;
    const { role, name } = request;
    if (name === ownName) {
      throw new MeshError("USAGE", `no ${role} can be called ${name}: the coordinator is; choose another name`);
    }
    const certificate = await this.#issue(request);
    audit("admitted", { role, name, by: `${asker.role} ${asker.name}` });
    const coordinators = addresses().slice(0, ADDRESS_LIMIT);
    return { ...certificate, meshId: mesh.id, meshName: mesh.name, coordinators };
  }

  /** On disk, and told to all, when it returns; live sessions of that name have ended. */
  revoke({ name }: Revoke): { version: number } {
    if (name === this.#options.ownName) {
      throw new MeshError("USAGE", `${name} is the coordinator itself: replace the CA instead, with mesh rotate`);
    }
    const { revocations } = this.#options.identity;
    revocations.revokeName(name, this.#now);
    this.#push();
    this.#options.dropRevoked();
    return { version: this.#version };
  }

  async rotate({ overlapMs }: RotateCa): Promise<{ overlapUntil: number | null }> {
    const { ca } = this.#options.identity;
    await ca.rotate({ nowMs: this.#now, ...(overlapMs !== undefined && { overlapMs }) });
    const overlapUntil = ca.overlapUntil(this.#now) ?? null;
    this.#push({ renew: true });
    if (overlapUntil === null) this.#options.dropRevoked();
    return { overlapUntil };
  }

  async #issue(request: IssueRequest): Promise<{ certificatePem: string; caPem: string }> {
    const { ca, revocations } = this.#options.identity;
    const nowMs = revocations.issueTime(request.name, this.#now);
    const certificatePem = await ca.issue(request, { nowMs });
    return { certificatePem, caPem: ca.trust(this.#now) };
  }

  #push(more: Pick<Revoked, "renew"> = {}): void {
    this.#version = Math.max(this.#version + 1, Math.floor(this.#now));
    this.#options.push({ ...this.current(), ...more });
  }

  get #now(): number {
    return this.#options.wallMs();
  }
}
