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
import { randomBytes } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { CONTROL_LIMIT_BYTES } from "./control-body.ts";
import {
  type Challenge,
  type GreetingFields,
  greetingBytes,
  greetingTranscript,
  NONCE_BYTES,
  readChallenge,
  readGreeting,
  readWelcome,
  sha256,
  type WelcomeFields,
  welcomeBytes,
  welcomeTranscript,
  writeChallenge,
  writeSigned,
} from "./greeting.ts";
import { LinkEnd, type Receiver } from "./link-end.ts";
import { agreeOn, asRefusal, type Dialect, Refusal, readRefused, writeRefused } from "./refusal.ts";

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
function refuse(context: HandshakeContext, end: LinkEnd, refusal: Refusal): void {
  if (!refusal.isRemote) end.link.send(writeRefused(context.codec, refusal, context.dialect));
  end.close(context.clock);
}

function remoteRefusal(context: HandshakeContext, bytes: Uint8Array, start: number, at: number): Refusal {
  const { code, reason, taken } = readRefused(context.codec, bytes, start, at);
  return new Refusal(code, reason, { isRemote: true, ...(taken !== undefined && { taken }) });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Throws a Refusal unless `certificate` is that of another node of this mesh, and TLS, if there is any, showed the same one. */
function checkCertificate(context: HandshakeContext, link: Link, certificate: Uint8Array): VerifiedIdentity {
  const { self } = context;
  const identity = context.verify(certificate);
  const { tls } = link;
  if (tls) {
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

function checkSignature(
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

/** Who dialed, and about which session. */
export interface Greeted {
  identity: VerifiedIdentity;
  fields: GreetingFields;
  version: number;
}

/** How an acceptor goes on. */
export interface Acceptance {
  fields: WelcomeFields;
  /** Called once the welcome is sent: `end` belongs to the session from here on. */
  adopt(end: LinkEnd): void;
}

export interface AcceptorEvents {
  /** Decides about a dialer that proved who it is. Throws a Refusal. */
  greeted(greeted: Greeted): Acceptance;
  /** The first frame of a stranger, who wants to join. The bytes are valid during the call. */
  joins?: ((link: Link, frame: Uint8Array) => void) | undefined;
  /** Called exactly once, when this has nothing to do with the link any longer. */
  over(refusal: Refusal | undefined): void;
}

/** The side that was dialed. */
export class AcceptorHandshake implements Receiver {
  readonly #context: HandshakeContext;
  readonly #events: AcceptorEvents;
  readonly #end: LinkEnd;
  readonly #nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  #timer: Timer;
  #hasJoined = false;
  #isOver = false;

  /** `ca` is shown to strangers, if they may join. */
  constructor(context: HandshakeContext, link: Link, events: AcceptorEvents, ca: string | undefined) {
    this.#context = context;
    this.#events = events;
    const { clock, codec, dialect, self, handshakeMs } = context;
    const isStranger = link.tls !== undefined && link.tls.peerCertificate === undefined;
    const shown = isStranger && events.joins ? ca : undefined;
    this.#timer = clock.after(handshakeMs, () => this.#late());
    link.send(writeChallenge(codec, { nonce: this.#nonce, ...dialect, node: self.node, ca: shown }));
    this.#end = new LinkEnd(link, this);
  }

  span(bytes: Uint8Array, start: number, end: number): void {
    try {
      this.#take(bytes, start, end);
    } catch (error) {
      this.refuse(asRefusal(error));
    }
  }

  drained(): void {}

  closed(error?: Error): void {
    const { label } = this.#end.link;
    const why = error?.message ?? "the other side closed it";
    this.#over(
      this.#hasJoined
        ? undefined
        : new Refusal("TIMEOUT", `${label} ended in its handshake: ${why}`, { isRemote: true }),
    );
  }

  /** Sends the link away. */
  refuse(refusal: Refusal): void {
    if (this.#isOver) return;
    refuse(this.#context, this.#end, refusal);
    this.#over(refusal);
  }

  #late(): void {
    const { handshakeMs } = this.#context;
    this.refuse(new Refusal("TIMEOUT", `${this.#end.link.label} did not say who it is within ${handshakeMs} ms`));
  }

  #take(bytes: Uint8Array, start: number, end: number): void {
    const type = bytes[start]!;
    if (this.#hasJoined || end - start > CONTROL_LIMIT_BYTES) {
      throw new Refusal("MALFORMED", "it sent more than a handshake allows");
    }
    if (type === MessageType.refused) throw remoteRefusal(this.#context, bytes, start, end);
    const { tls } = this.#end.link;
    if (tls && !tls.peerCertificate) this.#stranger(type, bytes, start, end);
    else if (type === MessageType.greeting) this.#greeted(bytes, start, end);
    else throw new Refusal("MALFORMED", `it sent ${messageTypeName(type)} where it should say who it is`);
  }

  #stranger(type: number, bytes: Uint8Array, start: number, end: number): void {
    const { joins } = this.#events;
    if (!joins || type !== MessageType.join) {
      const advice = joins ? "it can only join, with a token" : "strangers join at the coordinator";
      throw new Refusal("STRANGER", `it showed no certificate of this mesh: ${advice}`);
    }
    this.#hasJoined = true;
    this.#timer.cancel();
    this.#timer = this.#context.clock.after(this.#context.handshakeMs, () => this.#late()); // to make its certificate
    joins(this.#end.link, bytes.subarray(start, end));
  }

  #greeted(bytes: Uint8Array, start: number, end: number): void {
    const context = this.#context;
    const { codec, self, dialect } = context;
    const { link } = this.#end;
    const signed = readGreeting(codec, bytes, start, end);
    const version = agreeOn(dialect, signed.fields);
    const identity = checkCertificate(context, link, signed.certificate);
    const tlsLeaf = link.tls?.ownCertificate;
    checkSignature(context, signed, greetingTranscript({ ...signed, nonce: this.#nonce, tlsLeaf }), identity.name);
    const { node, to, nonce } = signed.fields;
    if (node === self.node) throw new Refusal("IDENTITY", `${identity.name} has the number of this node, ${node}`);
    if (to !== self.node) {
      throw new Refusal(
        "IDENTITY",
        `${identity.name} looks for node ${to}, and this is ${self.name}, node ${self.node}`,
      );
    }
    const acceptance = this.#events.greeted({ identity, fields: signed.fields, version });
    const { certificate, sign } = context.identity();
    const signedBytes = welcomeBytes(codec, acceptance.fields);
    const greetingHash = sha256(bytes.subarray(start, end));
    const signature = sign(welcomeTranscript({ nonce, tlsLeaf, certificate, signedBytes }, greetingHash));
    link.send(writeSigned(codec, MessageType.welcome, { certificate, signature, signedBytes }));
    this.#over(undefined);
    acceptance.adopt(this.#end);
  }

  #over(refusal: Refusal | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    this.#events.over(refusal);
  }
}

/** Whom a dialer means to reach; what is left out may be anything. */
export interface Expectation {
  node?: number | undefined;
  name?: string | undefined;
  role?: Role | undefined;
}

/** Who accepted, and how far it is. */
export interface Welcomed {
  identity: VerifiedIdentity;
  fields: WelcomeFields;
}

export interface DialerEvents {
  /** The other side answers: `greet` may follow, at once or later. */
  challenged(challenge: Challenge): void;
  /** It is who was meant: `end` belongs to the session from here on. Throws a Refusal. */
  welcomed(welcomed: Welcomed, end: LinkEnd): void;
  /** Called at most once, and not after `welcomed`. */
  failed(error: MeshError): void;
}

/** The side that dialed. */
export class DialerHandshake implements Receiver {
  readonly #context: HandshakeContext;
  readonly #events: DialerEvents;
  readonly #expect: Expectation;
  readonly #end: LinkEnd;
  readonly #nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  readonly #timer: Timer;
  #challenge: Challenge | undefined;
  #greetingHash: Uint8Array | undefined;
  #isOver = false;

  constructor(context: HandshakeContext, link: Link, expect: Expectation, events: DialerEvents) {
    this.#context = context;
    this.#events = events;
    this.#expect = expect;
    this.#timer = context.clock.after(context.handshakeMs, () => this.#late());
    this.#end = new LinkEnd(link, this);
  }

  get challenge(): Challenge | undefined {
    return this.#challenge;
  }

  /** Says who we are and what we want; once, after `challenged`. */
  greet(fields: Omit<GreetingFields, "nonce" | "build" | "protocol" | "node">): void {
    const { codec, self, dialect, identity } = this.#context;
    const { certificate, sign } = identity();
    const { nonce } = this.#challenge!;
    const { link } = this.#end;
    const signedBytes = greetingBytes(codec, { ...fields, ...dialect, nonce: this.#nonce, node: self.node });
    const tlsLeaf = link.tls?.peerCertificate;
    const signature = sign(greetingTranscript({ nonce, tlsLeaf, certificate, signedBytes }));
    const frame = writeSigned(codec, MessageType.greeting, { certificate, signature, signedBytes });
    this.#greetingHash = sha256(frame);
    link.send(frame);
  }

  /** Ends the attempt; nothing more is heard of it. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    this.#end.cut(new MeshError("CANCELLED", "this link is not needed any longer"));
  }

  span(bytes: Uint8Array, start: number, end: number): void {
    if (this.#isOver) return;
    try {
      this.#take(bytes, start, end);
    } catch (error) {
      this.#fail(asRefusal(error));
    }
  }

  drained(): void {}

  closed(error?: Error): void {
    const why = error?.message ?? "the other side closed it";
    const message = `${this.#end.link.label} ended in its handshake: ${why}`;
    this.#failed(new MeshError("UNREACHABLE", message, error && { cause: error }));
  }

  #late(): void {
    const message = `${this.#end.link.label} did not finish its handshake within ${this.#context.handshakeMs} ms`;
    this.#fail(new Refusal("TIMEOUT", message));
  }

  #take(bytes: Uint8Array, start: number, end: number): void {
    if (end - start > CONTROL_LIMIT_BYTES) throw new Refusal("MALFORMED", "it sent more than a handshake allows");
    const type = bytes[start]!;
    if (type === MessageType.refused) throw remoteRefusal(this.#context, bytes, start, end);
    if (!this.#challenge) this.#challenged(bytes, start, end);
    else if (this.#greetingHash && type === MessageType.welcome) this.#welcomed(bytes, start, end, this.#greetingHash);
    else throw new Refusal("MALFORMED", `it sent ${messageTypeName(type)} in the middle of a handshake`);
  }

  #challenged(bytes: Uint8Array, start: number, end: number): void {
    const challenge = readChallenge(this.#context.codec, bytes, start, end);
    agreeOn(this.#context.dialect, challenge);
    const { tls } = this.#end.link;
    const { node } = this.#expect;
    if (node !== undefined && node !== challenge.node) {
      throw new Refusal("IDENTITY", `node ${node} was dialed and node ${challenge.node} answered`);
    }
    if (tls) {
      // Who it is stands in its certificate already: the wrong one is not even greeted.
      if (!tls.peerCertificate) throw new Refusal("CERTIFICATE", "it showed no certificate");
      this.#checkMeant(checkCertificate(this.#context, this.#end.link, tls.peerCertificate));
    }
    this.#challenge = challenge;
    this.#events.challenged(challenge);
  }

  #welcomed(bytes: Uint8Array, start: number, end: number, greetingHash: Uint8Array): void {
    const context = this.#context;
    const { link } = this.#end;
    const signed = readWelcome(context.codec, bytes, start, end);
    const identity = checkCertificate(context, link, signed.certificate);
    const tlsLeaf = link.tls?.peerCertificate;
    const transcript = welcomeTranscript({ ...signed, nonce: this.#nonce, tlsLeaf }, greetingHash);
    checkSignature(context, signed, transcript, identity.name);
    this.#checkMeant(identity);
    if (signed.fields.node !== this.#challenge!.node) {
      throw new Refusal(
        "IDENTITY",
        `${identity.name} began as node ${this.#challenge!.node} and is ${signed.fields.node}`,
      );
    }
    this.#events.welcomed({ identity, fields: signed.fields }, this.#end);
    this.#isOver = true;
    this.#timer.cancel();
  }

  #checkMeant({ name, role }: VerifiedIdentity): void {
    const expect = this.#expect;
    if (expect.name !== undefined && expect.name !== name) {
      throw new Refusal("IDENTITY", `${expect.name} was dialed and ${name} answered`);
    }
    if (expect.role !== undefined && expect.role !== role) {
      throw new Refusal("IDENTITY", `a ${expect.role} was dialed, and ${name} is a ${role}`);
    }
  }

  #fail(refusal: Refusal): void {
    if (this.#isOver) return;
    refuse(this.#context, this.#end, refusal);
    this.#failed(refusal);
  }

  #failed(error: MeshError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    this.#events.failed(error);
  }
}
