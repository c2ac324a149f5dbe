// What goes over the wire when a stranger joins with a token, and when a node asks for a new certificate; and the checks
// of both sides. The order of a join protects the token:
//
//   acceptor -> stranger   challenge, with the certificate of its CA      checkPinned: is this the mesh of the token?
//   stranger -> acceptor   join: JoinRequest, with the token's secret     checkJoinRequest, TokenStore.redeem, MeshCa.issue
//   acceptor -> stranger   joined: Joined                                 checkJoined, saveCredentials
//
// The stranger sends its secret only when the certificate that TLS showed it is one of the pinned CA, for a coordinator.
import { MeshError } from "../errors.ts";
import { PUBLIC_KEY_BYTES, publicKeyBytes } from "./keys.ts";
import { isMeshId, isName, isRole, JOINING_ROLES, NAME_WORDS, type NodeIdentity, type Role } from "./names.ts";
import { certificatesIn, derOf } from "./pem.ts";
import { pinOf } from "./pin.ts";
import { SECRET_BYTES, TOKEN_ID_BYTES, type Token } from "./token.ts";
import { Trust } from "./trust.ts";
import { type VerifiedPeer, verifyCertificate } from "./verify.ts";

const PEM_LIMIT_CHARS = 8 * 1024;
/** As many addresses of the coordinator fit into an answer. */
export const ADDRESS_LIMIT = 16;
const ADDRESS_LIMIT_CHARS = 300;

/** stranger -> coordinator. */
export interface JoinRequest extends NodeIdentity {
  tokenId: Uint8Array;
  secret: Uint8Array;
  /** SubjectPublicKeyInfo as DER. */
  publicKey: Uint8Array;
}

/** coordinator -> stranger. */
export interface Joined extends Certified {
  meshId: string;
  meshName: string;
  /** Addresses of the coordinator, such as "tcp://10.0.0.1:7450". */
  coordinators: string[];
}

/** node -> coordinator, over a session: a new certificate for who asks. Role and name only on the coordinator's own socket. */
export interface CertifyRequest {
  publicKey: Uint8Array;
  role?: Role;
  name?: string;
}

/** coordinator -> node. */
export interface Certified {
  certificatePem: string;
  /** All CAs to trust from now on. */
  caPem: string;
}

/** Whom and what the answer to a request must be for. */
export interface ExpectedCertificate extends NodeIdentity {
  publicKey: Uint8Array;
}

/** What a stranger sends once checkPinned has passed. */
export function joinRequest(token: Token, role: Role, name: string, publicKey: Uint8Array): JoinRequest {
  return { meshId: token.meshId, tokenId: token.id, secret: token.secret, role, name, publicKey };
}

/** Checks what a stranger sent. Throws PROTOCOL for what is no such request, AUTHENTICATION for a role nobody joins as. */
export function checkJoinRequest(body: unknown): JoinRequest {
  const { meshId, tokenId, secret, role, name, publicKey } = fieldsOf(body);
  if (!isMeshId(meshId)) throw malformed("join request", "its mesh id is not 16 hex digits");
  if (!isBytes(tokenId, TOKEN_ID_BYTES)) throw malformed("join request", `its token id is not ${TOKEN_ID_BYTES} bytes`);
  if (!isBytes(secret, SECRET_BYTES)) throw malformed("join request", `its secret is not ${SECRET_BYTES} bytes`);
  if (!isName(name)) throw malformed("join request", `its name is none: ${NAME_WORDS}`);
  if (!isRole(role)) throw malformed("join request", "its role is none");
  checkKey(publicKey, "join request");
  if (!JOINING_ROLES.includes(role)) {
    throw new MeshError("AUTHENTICATION", `${name} may not join as ${role}: join as ${JOINING_ROLES.join(", ")}`);
  }
  return { meshId, tokenId, secret, role, name, publicKey };
}

/** Checks what a node asked for. Throws PROTOCOL when it is no such request. */
export function checkCertifyRequest(body: unknown): CertifyRequest {
  const { publicKey, role, name } = fieldsOf(body);
  checkKey(publicKey, "request for a certificate");
  if (role !== undefined && !isRole(role)) throw malformed("request for a certificate", "its role is none");
  if (name !== undefined && !isName(name))
    throw malformed("request for a certificate", `its name is none: ${NAME_WORDS}`);
  return { publicKey, ...(role !== undefined && { role }), ...(name !== undefined && { name }) };
}

/**
 * For the stranger, before it sends its secret: tells that the acceptor is the coordinator of the token's mesh. `caPem`
 * is what the challenge brought, `serverLeafDer` what TLS showed. Throws AUTHENTICATION when anything is wrong with that.
 */
export function checkPinned(caPem: string, serverLeafDer: Uint8Array, pin: Uint8Array, nowMs: number): VerifiedPeer {
  const cas = caPem.length <= PEM_LIMIT_CHARS ? certificatesIn(caPem) : [];
  const pinned = cas.find((pem) => isPinned(pem, pin));
  if (pinned === undefined) {
    const why = "it is another mesh, or its CA was replaced since the token was made";
    const advice = "check the address, or make a new token there with mesh token";
    throw new MeshError(
      "AUTHENTICATION",
      `the coordinator there does not have the CA of this token: ${why}; ${advice}`,
    );
  }
  const peer = verifyCertificate(serverLeafDer, new Trust(pinned), nowMs);
  if (peer.role === "coordinator") return peer;
  const message = `${peer.name}, which answers there, is a ${peer.role} of the mesh: join at the coordinator's address`;
  throw new MeshError("AUTHENTICATION", message);
}

/** Checks the answer to a request for a certificate. Throws PROTOCOL, or AUTHENTICATION when it is not for `expected`. */
export function checkCertified(body: unknown, expected: ExpectedCertificate, nowMs: number): Certified {
  const { certificatePem, caPem } = fieldsOf(body);
  if (!isPem(certificatePem) || !isPem(caPem)) throw malformed("answer", "it holds no certificates in PEM");
  const peer = verifyCertificate(derOf(certificatesIn(certificatePem)[0]!), new Trust(caPem), nowMs);
  const isOurs =
    peer.meshId === expected.meshId &&
    peer.role === expected.role &&
    peer.name === expected.name &&
    publicKeyBytes(peer.publicKey).equals(expected.publicKey);
  if (isOurs) return { certificatePem, caPem };
  const { role, name } = expected;
  const message = `the coordinator sent a certificate of ${peer.role} ${peer.name}, or of another key, to ${role} ${name}`;
  throw new MeshError("AUTHENTICATION", `${message}: try again; if it stays so, run the same build on both`);
}

/** Checks the answer to a join, for who asked with `token`. Throws PROTOCOL, or AUTHENTICATION when it is not for it. */
export function checkJoined(
  body: unknown,
  token: Pick<Token, "pin">,
  expected: ExpectedCertificate,
  nowMs: number,
): Joined {
  const { meshId, meshName, coordinators } = fieldsOf(body);
  if (!isMeshId(meshId)) throw malformed("answer to a join", "its mesh id is not 16 hex digits");
  if (!isName(meshName)) throw malformed("answer to a join", `the mesh's name is none: ${NAME_WORDS}`);
  if (!isAddressList(coordinators)) {
    throw malformed("answer to a join", `it holds no list of 1 to ${ADDRESS_LIMIT} addresses`);
  }
  const certified = checkCertified(body, expected, nowMs);
  if (meshId !== expected.meshId || !certificatesIn(certified.caPem).some((pem) => isPinned(pem, token.pin))) {
    throw new MeshError(
      "AUTHENTICATION",
      "the coordinator answered for another mesh than that of the token: do not use it",
    );
  }
  return { ...certified, meshId, meshName, coordinators };
}

function isPinned(pem: string, pin: Uint8Array): boolean {
  return Buffer.from(pinOf(derOf(pem))).equals(pin);
}

function fieldsOf(body: unknown): Record<string, unknown> {
  return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
}

function isBytes(value: unknown, size: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === size;
}

function checkKey(value: unknown, what: string): asserts value is Uint8Array {
  // MeshCa.issue looks inside.
  if (!isBytes(value, PUBLIC_KEY_BYTES)) throw malformed(what, `its public key is not ${PUBLIC_KEY_BYTES} bytes`);
}

function isPem(value: unknown): value is string {
  return typeof value === "string" && value.length <= PEM_LIMIT_CHARS && certificatesIn(value).length > 0;
}

function isAddressList(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > ADDRESS_LIMIT) return false;
  return value.every((item) => typeof item === "string" && item.length <= ADDRESS_LIMIT_CHARS && /^[!-~]+$/.test(item));
}

function malformed(what: string, why: string): MeshError {
  return new MeshError(
    "PROTOCOL",
    `a peer sent a ${what} that is not allowed: ${why}; run the same build on both sides`,
  );
}
