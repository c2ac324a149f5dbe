// The side of a handshake that was dialed; see handshake.ts.
import { randomBytes } from "node:crypto";
import type { Timer } from "../clock.ts";
import { FRAME_LIMIT_BYTES, type Link } from "../transport.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { CONTROL_LIMIT_BYTES } from "./control-body.ts";
import {
  type GreetingFields,
  greetingTranscript,
  NONCE_BYTES,
  readGreeting,
  sha256,
  type WelcomeFields,
  welcomeBytes,
  welcomeTranscript,
  writeChallenge,
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
    // Nobody is let in to fill this process's memory before it is known who it is.
    if (link.tls?.greetingDecides) link.limitFrames?.(CONTROL_LIMIT_BYTES);
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
    const { label, tls } = this.#end.link;
    const why = error?.message ?? "the other side closed it";
    // A node that dials several addresses side by side keeps one; a tether looks who answers, and no more.
    const isNode = tls?.peerCertificate !== undefined || tls?.greetingDecides;
    const isAllWell = this.#hasJoined || (error === undefined && isNode);
    const refusal = new Refusal("TIMEOUT", `${label} ended in its handshake: ${why}`, { isRemote: true });
    this.#over(isAllWell ? undefined : refusal);
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
    const isProven = !tls || tls.peerCertificate !== undefined;
    const mayGreet = isProven || tls.greetingDecides;
    if (type === MessageType.greeting && mayGreet) this.#greeted(bytes, start, end);
    else if (!isProven) this.#stranger(type, bytes, start, end);
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
    link.limitFrames?.(FRAME_LIMIT_BYTES);
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
