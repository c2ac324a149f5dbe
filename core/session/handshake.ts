// How two processes find out over a new link who the other is, and which session they go on with:
//
//   acceptor                     dialer
//      | ---- challenge ----------> |
//      | <---------- greeting ----- |   or refused, or (from a stranger) join
//      | ---- welcome ------------> |   or refused
//      | <--------------- ack ----- |   the session's first frame
//
// Certificates and signatures are checked by functions that are handed in. Nobody waits longer than `handshakeMs`, and
// nothing larger than CONTROL_LIMIT_BYTES is looked at.
//
// This file has what both sides need; acceptor.ts and dialer.ts are the sides.
import type { Clock } from "../clock.ts";
import type { Role } from "../identity/names.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import type { LinkEnd } from "./link-end.ts";
import { type Dialect, Refusal, readRefused, writeRefused } from "./refusal.ts";

/** Who a certificate says somebody is, once it was found good. */
export interface VerifiedIdentity {
  meshId: string;
  role: Role;
  name: string;
  serial: string;
  /** Milliseconds since 1970. */
  notBefore: number;
}

/** What this process shows of itself. */
export interface OwnIdentity {
  /** DER. */
  certificate: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

export interface Self {
  /** Number of this process, 16 to 2^32 - 1; a new one each time it starts. */
  node: number;
  name: string;
  role: Role;
  meshId: string;
  /** For people: "0.3.0 (a1b2c3d)". */
  build: string;
}

/** What handshakes need to know and ask. */
export interface HandshakeContext {
  clock: Clock;
  codec: Codec;
  self: Self;
  dialect: Dialect;
  handshakeMs: number;
  identity(): OwnIdentity;
  /** Throws AUTHENTICATION, saying why, when a certificate is not to be trusted. */
  verify(certificate: Uint8Array): VerifiedIdentity;
  verifySignature(certificate: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean;
  isRevoked(identity: VerifiedIdentity): boolean;
}

/** A refused link is told its reason and closed; both sides hear of it. */
export function refuse(context: HandshakeContext, end: LinkEnd, refusal: Refusal): void {
  if (!refusal.isRemote) end.link.send(writeRefused(context.codec, refusal, context.dialect));
  end.close(context.clock);
}

export function remoteRefusal(context: HandshakeContext, bytes: Uint8Array, start: number, at: number): Refusal {
  const { code, reason, taken } = readRefused(context.codec, bytes, start, at);
  return new Refusal(code, reason, { isRemote: true, ...(taken !== undefined && { taken }) });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Throws a Refusal unless `certificate` is that of another node of this mesh, and TLS, if there is any that asked for it, showed the same one. */
export function checkCertificate(context: HandshakeContext, link: Link, certificate: Uint8Array): VerifiedIdentity {
  const { self } = context;
  const identity = context.verify(certificate);
  const { tls } = link;
  if (tls && !tls.greetingDecides) {
    const shown = tls.peerCertificate;
    // A node that got a new certificate may show the old one in TLS for a while.
    if (!shown || !(sameBytes(shown, certificate) || isSame(context.verify(shown), identity))) {
      throw new Refusal("CERTIFICATE", `TLS showed another certificate than that of ${identity.name}`);
    }
  }
  if (identity.meshId !== self.meshId) {
    throw new Refusal("MESH", `${identity.name} belongs to mesh ${identity.meshId}, ${self.name} to ${self.meshId}`);
  }
  if (context.isRevoked(identity)) throw new Refusal("REVOKED", `the certificate of ${identity.name} was revoked`);
  if (identity.name === self.name) {
    throw new Refusal("IDENTITY", `both sides are called ${self.name}: give each node of a mesh its own name`);
  }
  return identity;
}

function isSame(a: VerifiedIdentity, b: VerifiedIdentity): boolean {
  return a.meshId === b.meshId && a.role === b.role && a.name === b.name;
}

export function checkSignature(
  context: HandshakeContext,
  signed: { certificate: Uint8Array; signature: Uint8Array },
  transcript: Uint8Array,
  name: string,
): void {
  try {
    if (context.verifySignature(signed.certificate, transcript, signed.signature)) return;
  } catch {
    // not even the form of a signature
  }
  const why = "it has not the key of its certificate, or passes on what another node said";
  throw new Refusal("SIGNATURE", `the signature of ${name} is wrong: ${why}`);
}
