// The frames of the handshake, as bytes and back, and what their signatures cover. handshake.ts says when they are sent.
//
//   challenge 0       1                      acceptor -> dialer
//            +-------+------------------------------------------------------------+
//            | 5     | CBOR {nonce, build, protocol: [min, max], node, ca?}        |
//            +-------+------------------------------------------------------------+
//   greeting  0       1                      dialer -> acceptor
//            +-------+------------------------------------------------------------+
//            | 6     | CBOR {certificate, signature, fields}                       |
//            +-------+------------------------------------------------------------+
//   welcome   0       1                      acceptor -> dialer
//            +-------+------------------------------------------------------------+
//            | 7     | CBOR {certificate, signature, fields}                       |
//            +-------+------------------------------------------------------------+
//
// `fields` are bytes that hold CBOR again: what is signed is what is read. A signature covers, one after the other:
//
//   greeting: "mesh greeting 1", 0, the challenge's nonce, hash of the acceptor's TLS certificate, hash of the own
//             certificate, fields
//   welcome:  "mesh welcome 1", 0, the greeting's nonce, hash of the acceptor's TLS certificate, hash of the own
//             certificate, hash of the greeting's frame, fields
//
// Hashes are SHA-256 of the DER; of the acceptor's TLS certificate each side takes the one that it saw itself, and 32
// zeros on links without TLS. So nobody can pass on a greeting to another node, or between two TLS connections.
import { createHash } from "node:crypto";
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import { MessageType } from "../wire/message-types.ts";
import { asBody, bytesOf, controlFrame, listOf, readBody, wholeOf } from "./control-body.ts";
import { type Dialect, readDialect } from "./refusal.ts";

export const NONCE_BYTES = 32;
const EPOCH_BYTES = 8;
const NODE_LIMIT = 0xffff_ffff;
const ADDRESS_LIMIT = 16;
const ADDRESS_LIMIT_CHARS = 200;
/** So many epochs of sessions that are over a greeting may name. */
export const ENDED_LIMIT = 4;

export const LANE_MAIN = 0;
export const LANE_BULK = 1;

/** What the acceptor says first. Nothing in it is proven. */
export interface Challenge extends Dialect {
  nonce: Uint8Array;
  /** The acceptor's node. */
  node: number;
  /** The mesh's CA as PEM, for strangers who want to join and know its pin. */
  ca: string | undefined;
}

/** Who dials, and which session it is about. */
export interface GreetingFields extends Dialect {
  nonce: Uint8Array;
  node: number;
  /** The node that is meant. */
  to: number;
  /** LANE_MAIN or LANE_BULK. */
  lane: number;
  /** The session, 16 hex digits. */
  epoch: string;
  /** Number of the last link of this lane that the dialer has seen established; 0: none yet. */
  generation: number;
  /** Sessions between the two nodes that are over for the dialer, latest first. */
  ended: string[];
  /** Where the dialer listens. */
  addresses: string[];
  /** The scheme of the address that it dialed: of both, it alone knows which way the link goes. It ranks the path. */
  way?: string | undefined;
}

export interface WelcomeFields {
  /** Version of the protocol that both speak from here on. */
  version: number;
  build: string;
  node: number;
  epoch: string;
  /** Number of this link. */
  generation: number;
  /** Frames of the lane that the acceptor has taken, and bytes that it allows. */
  taken: number;
  allowedBytes: number;
  addresses: string[];
}

export interface Signed<Fields> {
  certificate: Uint8Array;
  signature: Uint8Array;
  fields: Fields;
  /** The fields as they were signed. */
  signedBytes: Uint8Array;
}

export function writeChallenge(codec: Codec, { nonce, build, protocol, node, ca }: Challenge): Uint8Array {
  const body = { nonce: Buffer.from(nonce), build, protocol: [...protocol], node };
  return controlFrame(codec, MessageType.challenge, { ...body, ...(ca !== undefined && { ca }) });
}

/** Reads a challenge; who wants to join a mesh does so too. Throws PROTOCOL when the frame in `bytes` is none. */
export function readChallenge(codec: Codec, bytes: Uint8Array, start = 0, end = bytes.length): Challenge {
  if (bytes[start] !== MessageType.challenge) throw new MeshError("PROTOCOL", "it did not begin with a challenge");
  const body = readBody(codec, bytes, start, end, "a challenge");
  const { ca } = body;
  if (ca !== undefined && typeof ca !== "string") throw new MeshError("PROTOCOL", "the CA in its challenge is no text");
  const nonce = bytesOf(body, "nonce", NONCE_BYTES);
  return { ...readDialect(body), nonce, node: wholeOf(body, "node", NODE_LIMIT), ca };
}

export function greetingBytes(codec: Codec, fields: GreetingFields): Uint8Array {
  const { nonce, build, protocol, node, to, lane, epoch, generation, ended, addresses, way } = fields;
  const [first, ids] = [bytesOfEpoch(epoch), ended.slice(0, ENDED_LIMIT).map(bytesOfEpoch)];
  const where = addresses.filter(isAddress).slice(0, ADDRESS_LIMIT);
  return codec.encode({
    ...{ nonce: Buffer.from(nonce), build, protocol: [...protocol], node, to, lane },
    ...{ epoch: first, generation, ended: ids, addresses: where },
    ...(way !== undefined && { way }),
  });
}

export function readGreeting(codec: Codec, bytes: Uint8Array, start: number, end: number): Signed<GreetingFields> {
  const signed = readSigned(codec, bytes, start, end, "a greeting");
  const body = asBody(codec.decodeControl(signed.signedBytes), "a greeting");
  const fields = {
    ...readDialect(body),
    nonce: bytesOf(body, "nonce", NONCE_BYTES),
    node: wholeOf(body, "node", NODE_LIMIT),
    to: wholeOf(body, "to", NODE_LIMIT),
    lane: wholeOf(body, "lane", LANE_BULK),
    epoch: epochOf(bytesOf(body, "epoch", EPOCH_BYTES)),
    generation: wholeOf(body, "generation"),
    ended: listOf(body, "ended", ENDED_LIMIT, isEpoch).map(epochOf),
    addresses: listOf(body, "addresses", ADDRESS_LIMIT, isAddress),
    way: isWay(body.way) ? body.way : undefined,
  };
  return { ...signed, fields };
}

export function welcomeBytes(codec: Codec, fields: WelcomeFields): Uint8Array {
  const addresses = fields.addresses.filter(isAddress).slice(0, ADDRESS_LIMIT);
  return codec.encode({ ...fields, epoch: bytesOfEpoch(fields.epoch), addresses });
}

export function readWelcome(codec: Codec, bytes: Uint8Array, start: number, end: number): Signed<WelcomeFields> {
  const signed = readSigned(codec, bytes, start, end, "a welcome");
  const body = asBody(codec.decodeControl(signed.signedBytes), "a welcome");
  const { build } = body;
  if (typeof build !== "string") throw new MeshError("PROTOCOL", "its welcome names no build");
  const fields = {
    build,
    version: wholeOf(body, "version"),
    node: wholeOf(body, "node", NODE_LIMIT),
    epoch: epochOf(bytesOf(body, "epoch", EPOCH_BYTES)),
    generation: wholeOf(body, "generation"),
    taken: wholeOf(body, "taken"),
    allowedBytes: wholeOf(body, "allowedBytes"),
    addresses: listOf(body, "addresses", ADDRESS_LIMIT, isAddress),
  };
  return { ...signed, fields };
}

/** A greeting or a welcome, of what was signed. */
export function writeSigned(
  codec: Codec,
  type: typeof MessageType.greeting | typeof MessageType.welcome,
  parts: { certificate: Uint8Array; signature: Uint8Array; signedBytes: Uint8Array },
): Uint8Array {
  const [certificate, signature, fields] = [parts.certificate, parts.signature, parts.signedBytes].map((bytes) =>
    Buffer.from(bytes),
  );
  return controlFrame(codec, type, { certificate, signature, fields });
}

function readSigned(codec: Codec, bytes: Uint8Array, start: number, end: number, what: string) {
  const body = readBody(codec, bytes, start, end, what);
  return {
    certificate: bytesOf(body, "certificate"),
    signature: bytesOf(body, "signature"),
    signedBytes: bytesOf(body, "fields"),
  };
}

const NO_TLS = new Uint8Array(32);

export interface Transcript {
  /** The other side's nonce. */
  nonce: Uint8Array;
  /** The acceptor's certificate in TLS. */
  tlsLeaf: Uint8Array | undefined;
  /** Of who signs. */
  certificate: Uint8Array;
  signedBytes: Uint8Array;
}

export function greetingTranscript({ nonce, tlsLeaf, certificate, signedBytes }: Transcript): Uint8Array {
  const context = Buffer.from("mesh greeting 1\0");
  return Buffer.concat([context, nonce, hashOfLeaf(tlsLeaf), sha256(certificate), signedBytes]);
}

export function welcomeTranscript(
  { nonce, tlsLeaf, certificate, signedBytes }: Transcript,
  greetingHash: Uint8Array,
): Uint8Array {
  const context = Buffer.from("mesh welcome 1\0");
  return Buffer.concat([context, nonce, hashOfLeaf(tlsLeaf), sha256(certificate), greetingHash, signedBytes]);
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

function hashOfLeaf(leaf: Uint8Array | undefined): Uint8Array {
  return leaf ? sha256(leaf) : NO_TLS;
}

function epochOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function bytesOfEpoch(epoch: string): Buffer {
  return Buffer.from(epoch, "hex");
}

function isEpoch(item: unknown): item is Uint8Array {
  return item instanceof Uint8Array && item.length === EPOCH_BYTES;
}

function isAddress(item: unknown): item is string {
  return typeof item === "string" && item.length <= ADDRESS_LIMIT_CHARS && /^[!-~]+$/.test(item);
}

function isWay(item: unknown): item is string {
  return typeof item === "string" && /^[a-z]{1,16}$/.test(item);
}
