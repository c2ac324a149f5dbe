// Who somebody is in a mesh: its id, a role and a name, and how a certificate writes that down.
//
// core/identity says who is who and proves it: the mesh's CA, certificates, join tokens, revocations, and the files they
// live in. It knows no transport, no session and no coordinator; those hand it bytes and ask.
import { MeshError } from "../errors.ts";

/**
 * What a node may be. "client" is a command such as `mesh status`; a head may do all that a client may. A "rendezvous" has
 * nodes behind routers meet, and relays between those that cannot.
 */
export const ROLES = ["coordinator", "worker", "head", "client", "rendezvous"] as const;

export type Role = (typeof ROLES)[number];

/**
 * Who may join by a token. The coordinator is made, and does not join; a command elsewhere is a head, as who may run commands
 * on workers may run jobs.
 */
export const JOINING_ROLES: readonly Role[] = ["worker", "head", "rendezvous"];

export interface NodeIdentity {
  /** 16 hex digits, made with the mesh's CA. */
  meshId: string;
  role: Role;
  /** Unique in the mesh, see NAME_WORDS. */
  name: string;
}

/** The DNS name in every node's certificate: what TLS checks. Who it is stands in the URI beside it. */
export const DNS_NAME = "mesh";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/;
const MESH_ID = /^[0-9a-f]{16}$/;
const NODE_URI = /^mesh:\/\/([0-9a-f]{16})\/([a-z]{1,16})\/([A-Za-z0-9_][A-Za-z0-9._-]{0,62})$/;
const MESH_URI = /^mesh:\/\/([0-9a-f]{16})$/;

/** What a name must look like, for errors. */
export const NAME_WORDS = 'letters, digits, ".", "_" and "-", at most 63, beginning with a letter, a digit or "_"';

/** Tells whether `value` may name a node, a mesh or a host. */
export function isName(value: unknown): value is string {
  return typeof value === "string" && NAME.test(value);
}

export function isRole(value: unknown): value is Role {
  return ROLES.includes(value as Role);
}

export function isMeshId(value: unknown): value is string {
  return typeof value === "string" && MESH_ID.test(value);
}

/** Throws USAGE unless `name` may name what `what` says. */
export function checkName(name: string, what: string): void {
  if (!isName(name))
    throw new MeshError("USAGE", `${JSON.stringify(name)} cannot be ${what}: a name has ${NAME_WORDS}`);
}

/** `mesh://<mesh-id>/<role>/<name>`, as in a node's certificate. */
export function uriOf(identity: NodeIdentity): string {
  return `mesh://${identity.meshId}/${identity.role}/${identity.name}`;
}

/** The identity that a certificate's names stand for; undefined unless they are exactly one node's URI and DNS_NAME. */
export function identityOfNames(subjectAltName: string | undefined): NodeIdentity | undefined {
  const [uri, dns, ...more] = subjectAltName?.split(", ") ?? [];
  if (!uri?.startsWith("URI:") || dns !== `DNS:${DNS_NAME}` || more.length > 0) return undefined;
  const [, meshId, role, name] = NODE_URI.exec(uri.slice("URI:".length)) ?? [];
  return meshId && isRole(role) && name ? { meshId, role, name } : undefined;
}

/** `mesh://<mesh-id>`, as in the certificate of a mesh's CA. */
export function meshUriOf(meshId: string): string {
  return `mesh://${meshId}`;
}

/** The mesh id that a CA certificate's names stand for. */
export function meshIdOfNames(subjectAltName: string | undefined): string | undefined {
  return subjectAltName?.startsWith("URI:") ? MESH_URI.exec(subjectAltName.slice("URI:".length))?.[1] : undefined;
}
