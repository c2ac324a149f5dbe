// The dialing side of a session's handshake by hand, so that a test can say what no honest node would.
import { randomBytes } from "node:crypto";
import type { Identity } from "../../core/identity/identity.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import {
  type Challenge,
  type GreetingFields,
  greetingBytes,
  greetingTranscript,
  readChallenge,
  writeSigned,
} from "../../core/session/greeting.ts";
import { writeAck } from "../../core/session/machine/control-frames.ts";
import { readRefused, SPOKEN } from "../../core/session/refusal.ts";
import type { Link, Transport } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { type Address, FLAG_REQUEST, HEADER_BYTES, writeHeader } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { until } from "../support/until.ts";

export interface GreetingWords extends Partial<GreetingFields> {
  /** Instead of the identity's own. */
  certificate?: Uint8Array;
  sign?: (bytes: Uint8Array) => Uint8Array;
  /** What the acceptor showed in TLS, as the signature covers it. */
  tlsLeaf?: Uint8Array;
}

export class ByHand {
  readonly codec = new Codec();
  readonly link: Link;
  readonly node = newNodeNumber();
  /** All that came, copied. */
  readonly frames: Uint8Array[] = [];
  isOver = false;
  error: Error | undefined;

  private constructor(link: Link) {
    this.link = link;
    link.attach({
      frame: (frame) => void this.frames.push(frame.slice()),
      drained: () => {},
      closed: (error) => {
        this.isOver = true;
        this.error = error;
      },
    });
  }

  static async dial(transport: Transport, address: string): Promise<ByHand> {
    return new ByHand(await transport.dial(address));
  }

  /** Dials and gets as far as an established session. */
  static async session(transport: Transport, address: string, identity: Identity): Promise<ByHand> {
    const client = await ByHand.dial(transport, address);
    client.link.send(client.greeting(identity, await client.challenge()));
    await client.answer();
    if (!client.isWelcome) throw new Error(`not welcome: ${client.refusal?.reason ?? client.error?.message}`);
    client.link.send(writeAck({ taken: 0, allowedBytes: 2 ** 40 }));
    return client;
  }

  async challenge(): Promise<Challenge> {
    await this.#comes(1);
    return readChallenge(this.codec, this.frames[0]!);
  }

  /** Waits for the second frame, or the end. */
  async answer(): Promise<void> {
    await this.#comes(2);
  }

  async over(): Promise<void> {
    await until(() => this.isOver, { what: `the end of ${this.link.label}` });
  }

  get isWelcome(): boolean {
    return this.frames[1]?.[0] === MessageType.welcome;
  }

  get lastType(): number | undefined {
    return this.frames.at(-1)?.[0];
  }

  /** What the other side refused with, if it did. */
  get refusal(): { code: string; reason: string } | undefined {
    const frame = this.frames.find((each) => each[0] === MessageType.refused);
    return frame && readRefused(this.codec, frame, 0, frame.length);
  }

  greeting(identity: Identity, challenge: Challenge, words: GreetingWords = {}): Uint8Array {
    const { certificate = identity.certificate, sign = identity.sign, tlsLeaf, ...fields } = words;
    const signedBytes = greetingBytes(this.codec, {
      nonce: new Uint8Array(randomBytes(32)),
      build: "test",
      protocol: SPOKEN,
      node: this.node,
      to: challenge.node,
      lane: 0,
      epoch: randomBytes(8).toString("hex"),
      generation: 0,
      ended: [],
      addresses: [],
      ...fields,
    });
    const leaf = tlsLeaf ?? this.link.tls?.peerCertificate;
    const transcript = greetingTranscript({ nonce: challenge.nonce, tlsLeaf: leaf, certificate, signedBytes });
    return writeSigned(this.codec, MessageType.greeting, { certificate, signature: sign(transcript), signedBytes });
  }

  /** A message as a frame; `from` is this node unless said otherwise. */
  message(
    to: Address,
    type: number,
    body: unknown,
    options: { correlation?: number; flags?: number; from?: Address } = {},
  ) {
    const { correlation = 0, flags = correlation ? FLAG_REQUEST : 0, from = { node: this.node, slot: 0 } } = options;
    const payload = body instanceof Uint8Array ? body : this.codec.encode(body);
    const frame = new Uint8Array(HEADER_BYTES + payload.length);
    writeHeader(new DataView(frame.buffer), type, flags, to, from, 0, correlation);
    frame.set(payload, HEADER_BYTES);
    return frame;
  }

  /** The reply or failure with that correlation, or nothing when the link ended instead. */
  async replyTo(correlation: number): Promise<Uint8Array | undefined> {
    const isReply = (frame: Uint8Array) =>
      (frame[0] === MessageType.reply || frame[0] === MessageType.failure) &&
      new DataView(frame.buffer, frame.byteOffset).getUint32(20) === correlation;
    await until(() => this.isOver || this.frames.some(isReply), { what: `an answer to ${correlation}` });
    return this.frames.find(isReply);
  }

  async #comes(count: number): Promise<void> {
    await until(() => this.isOver || this.frames.length >= count, { what: `frame ${count} on ${this.link.label}` });
  }
}
