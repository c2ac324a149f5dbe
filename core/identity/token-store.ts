// Join tokens in the coordinator: which were made, for what, and which were used. Of the secret only a hash is kept.
import { createHash, timingSafeEqual } from "node:crypto";
import { MeshError } from "../errors.ts";
import type { JoinRequest } from "./join.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { checkName, isName, isRole, JOINING_ROLES, type Role } from "./names.ts";
import { formatToken, newToken } from "./token.ts";
import { timeWords } from "./validity.ts";

const MINUTE_MS = 60_000;
export const DEFAULT_TTL_MS = 60 * MINUTE_MS;
const LONGEST_TTL_MS = 30 * 24 * 60 * MINUTE_MS;

/** For so long after its first use a token gives the same node the same answer again: the first may have been lost. */
export const REPEAT_MS = MINUTE_MS;

/** For so long an expired token is known yet, so that who uses it hears that, and not that it never was. */
const KEPT_MS = 24 * 60 * MINUTE_MS;
const STORE_LIMIT = 1000;

export type JoinRefusal = "unknown" | "used" | "expired" | "other role" | "other name" | "other mesh";

/** What goes to the log for every refused token. */
export interface JoinRefused {
  event: "join-refused";
  role: Role;
  name: string;
  reason: JoinRefusal;
}

export interface TokenStoreOptions {
  /** The file; its folder must be there. */
  path: string;
  /** What tokens say of the mesh; a MeshCa. */
  ca: { readonly meshId: string; readonly pin: Uint8Array };
  audit(record: JoinRefused): void;
}

export interface TokenRequest {
  role: Role;
  /** When given, only a node of this name may use it. */
  name?: string;
  /** Default 1 h; at most 30 days. */
  ttlMs?: number;
}

interface StoredToken {
  id: string;
  secretHash: string;
  role: Role;
  name?: string;
  expiresAt: number;
  used?: { at: number; name: string; publicKeyHash: string };
}

/** Makes and redeems join tokens. Times are milliseconds since 1970, by the coordinator's clock alone. */
export class TokenStore {
  readonly #options: TokenStoreOptions;
  #tokens: ReadonlyMap<string, StoredToken>;

  /** Throws AUTHENTICATION when the file is damaged or not this user's alone. */
  constructor(options: TokenStoreOptions) {
    this.#options = options;
    const advice = "delete it; tokens that were not used yet are lost then";
    this.#tokens = readJsonFile(options.path, checkStored, advice) ?? new Map();
  }

  /** A new token, one line of text. Throws USAGE for a role, name or time that cannot be, and when too many are unused. */
  create({ role, name, ttlMs = DEFAULT_TTL_MS }: TokenRequest, nowMs: number): string {
    if (!JOINING_ROLES.includes(role)) {
      throw new MeshError("USAGE", `nobody joins a mesh as ${role}: a token is for ${JOINING_ROLES.join(", ")}`);
    }
    if (name !== undefined) checkName(name, "the name of a node");
    if (!(ttlMs >= 1000 && ttlMs <= LONGEST_TTL_MS)) {
      throw new MeshError("USAGE", `a token cannot be valid for ${ttlMs} ms: at least 1 s, at most 30 days`);
    }
    const { meshId, pin } = this.#options.ca;
    const token = newToken(meshId, pin);
    const id = hex(token.id);
    const expiresAt = nowMs + ttlMs;
    const kept = this.#withRoom(nowMs);
    this.#save(
      kept.set(id, { id, secretHash: hashOf(token.secret), role, ...(name !== undefined && { name }), expiresAt }),
    );
    return formatToken(token);
  }

  /**
   * Uses a token up; on disk when this returns. The same request again, within REPEAT_MS and with the same key, is accepted
   * again. Otherwise throws AUTHENTICATION with the reason, after one audit record. Ask for a clash of names before.
   */
  redeem(request: JoinRequest, nowMs: number): void {
    const token = this.#tokens.get(hex(request.tokenId));
    const refusal = this.#reasonAgainst(request, token, nowMs);
    if (refusal || !token) throw this.#refuse(request, refusal ?? "unknown", token);
    if (token.used) return;
    const used = { at: nowMs, name: request.name, publicKeyHash: hashOf(request.publicKey) };
    this.#save(this.#kept(nowMs).set(token.id, { ...token, used }));
  }

  #reasonAgainst(request: JoinRequest, token: StoredToken | undefined, nowMs: number): JoinRefusal | undefined {
    if (request.meshId !== this.#options.ca.meshId) return "other mesh";
    // Who does not have the secret learns nothing of the token.
    if (!token || !isSecretOf(token, request.secret)) return "unknown";
    if (token.role !== request.role) return "other role";
    if (token.name !== undefined && token.name !== request.name) return "other name";
    if (token.used) return isRepeat(token.used, request, nowMs) ? undefined : "used";
    return nowMs >= token.expiresAt ? "expired" : undefined;
  }

  #refuse({ role, name }: JoinRequest, reason: JoinRefusal, token: StoredToken | undefined): MeshError {
    this.#options.audit({ event: "join-refused", role, name, reason });
    return new MeshError("AUTHENTICATION", `${name} may not join: ${refusalWords(reason, role, token)}`);
  }

  #kept(nowMs: number): Map<string, StoredToken> {
    return new Map([...this.#tokens].filter(([, { expiresAt }]) => nowMs < expiresAt + KEPT_MS));
  }

  /** Those to be kept, with room for one more. */
  #withRoom(nowMs: number): Map<string, StoredToken> {
    const kept = this.#kept(nowMs);
    if (kept.size < STORE_LIMIT) return kept;
    const open = new Map([...kept].filter(([, { used, expiresAt }]) => !used && nowMs < expiresAt));
    if (open.size < STORE_LIMIT) return open;
    throw new MeshError("USAGE", `${STORE_LIMIT} join tokens wait to be used: let some of them expire, then make more`);
  }

  #save(tokens: ReadonlyMap<string, StoredToken>): void {
    writeJsonFile(this.#options.path, { tokens: [...tokens.values()] });
    this.#tokens = tokens; // not before it is on disk
  }
}

function refusalWords(reason: JoinRefusal, role: Role, token: StoredToken | undefined): string {
  const again = `make a new one with mesh token --role ${role}`;
  const words: Record<JoinRefusal, string> = {
    unknown: `its token is not known here, or expired long ago: ${again}`,
    used: `its token was used before, and each is good for one node: ${again}`,
    expired: `its token expired${token ? ` at ${timeWords(token.expiresAt)} by the coordinator's clock` : ""}: ${again}`,
    "other role": `its token is for a ${token?.role}, not for a ${role}: ${again}`,
    "other name": `its token is for the node ${token?.name}: join under that name, or ${again}`,
    "other mesh": `its token is for another mesh: ${again}, where this mesh's coordinator runs`,
  };
  return words[reason];
}

function isSecretOf(token: StoredToken, secret: Uint8Array): boolean {
  return timingSafeEqual(Buffer.from(token.secretHash, "hex"), createHash("sha256").update(secret).digest());
}

function isRepeat(used: NonNullable<StoredToken["used"]>, request: JoinRequest, nowMs: number): boolean {
  return nowMs < used.at + REPEAT_MS && used.name === request.name && used.publicKeyHash === hashOf(request.publicKey);
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function checkStored(value: unknown): Map<string, StoredToken> {
  const { tokens } = value as { tokens: StoredToken[] };
  for (const { id, secretHash, role, name, expiresAt, used } of tokens) {
    const isUsedWell = !used || (typeof used.at === "number" && isName(used.name) && isHash(used.publicKeyHash));
    const isWell = /^[0-9a-f]{16}$/.test(id) && isHash(secretHash) && isRole(role) && Number.isFinite(expiresAt);
    if (!isWell || !isUsedWell || !(name === undefined || isName(name))) throw new Error("an entry is not a token");
  }
  return new Map(tokens.map((token) => [token.id, token]));
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
