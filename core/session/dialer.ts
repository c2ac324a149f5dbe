// The side of a handshake that dialed; see handshake.ts.
import { randomBytes } from "node:crypto";
import type { Timer } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import type { Link } from "../transport.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { CONTROL_LIMIT_BYTES } from "./control-body.ts";
import {
  type Challenge,
  type GreetingFields,
  greetingBytes,
  greetingTranscript,
  NONCE_BYTES,
  readChallenge,
  readWelcome,
  sha256,
  type WelcomeFields,
  welcomeTranscript,
  writeSigned,
} from "./greeting.ts";
import {
  checkCertificate,
  checkSignature,
  type HandshakeContext,
  refuse,
  remoteRefusal,
  type VerifiedIdentity,
} from "./handshake.ts";
import { LinkEnd, type Receiver } from "./link-end.ts";
import { agreeOn, asRefusal, Refusal } from "./refusal.ts";

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
