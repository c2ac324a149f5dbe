// The bytes of echoes: a member asks a rendezvous by UDP where its packets come from. Pure: no I/O and no clock.
//
//   request (1), 64 bytes:
//    0        4         5      6       7      8            24             32      48
//   +--------+---------+------+-------+------+------------+--------------+-------+-----------+
//   | "mesE" | version | kind | flags | zero | id (16)    | transaction  | zeros | code (16) |
//   +--------+---------+------+-------+------+------------+--------------+-------+-----------+
//
//   answer (2), 56 bytes; address and port are combined by XOR with the transaction, repeated: some routers rewrite
//   what looks like an address of theirs, wherever it stands.
//    0        4         5      6       7      8             16             32     34      40
//   +--------+---------+------+-------+------+-------------+--------------+------+-------+-----------+
//   | "mesE" | version | kind | flags | zero | transaction | address (16) | port | zeros | code (16) |
//   +--------+---------+------+-------+------+-------------+--------------+------+-------+-----------+
//
// Flags: 1, the answer comes from the other port (asked for in a request, said in an answer). The code is HMAC-SHA-256
// under the member's key over all bytes before it, cut to 16. An answer is shorter than its request, so that nobody can
// use a rendezvous to send more to a third party than he sends himself.
import { createHmac, timingSafeEqual } from "node:crypto";
import { ipBytes, ipText } from "./ip-bytes.ts";

/** Counts up when the bytes change. 1: as drawn. */
export const ECHO_VERSION = 1;
export const ECHO_REQUEST_BYTES = 64;
export const ECHO_ANSWER_BYTES = 56;
/** Of what is signed so, under any key of this folder. */
export const CODE_BYTES = 16;
export const ECHO_ID_BYTES = 16;
export const TRANSACTION_BYTES = 8;

const MAGIC = 0x6d657345; // "mesE"
const REQUEST = 1;
const ANSWER = 2;
const OTHER_PORT = 1;

export interface EchoRequest {
  /** 16 bytes, as meetPlaces told. */
  id: Uint8Array;
  /** 8 random bytes, new for each port and question; a packet that is sent again has the same. */
  transaction: Uint8Array;
  /** Whether the answer is to come from the rendezvous' other port: what is between may not let it in. */
  fromOtherPort: boolean;
}

export interface EchoAnswer {
  transaction: Uint8Array;
  /** Where the request came from: an IP address without a zone, IPv4 as such. */
  host: string;
  port: number;
  fromOtherPort: boolean;
}

/** A request, signed. */
export function encodeEchoRequest({ id, transaction, fromOtherPort }: EchoRequest, key: Uint8Array): Uint8Array {
  const bytes = header(ECHO_REQUEST_BYTES, REQUEST, fromOtherPort);
  bytes.set(id, 8);
  bytes.set(transaction, 24);
  return signed(bytes, key);
}

/** Whether it has the form of a request: looks at length and first bytes only. */
export function isEchoRequest(bytes: Uint8Array): boolean {
  return bytes.length === ECHO_REQUEST_BYTES && hasHeader(bytes, REQUEST);
}

/** What a request says that has the form of one, unverified: views of `bytes`. */
export function readEchoRequest(bytes: Uint8Array): EchoRequest {
  return { id: bytes.subarray(8, 24), transaction: bytes.subarray(24, 32), fromOtherPort: isFromOther(bytes) };
}

/** An answer, signed. Throws Error when `host` is no IP address. */
export function encodeEchoAnswer(answer: EchoAnswer, key: Uint8Array): Uint8Array {
  const bytes = header(ECHO_ANSWER_BYTES, ANSWER, answer.fromOtherPort);
  bytes.set(answer.transaction, 8);
  bytes.set(ipBytes(answer.host), 16);
  new DataView(bytes.buffer).setUint16(32, answer.port);
  combine(bytes.subarray(16, 34), answer.transaction);
  return signed(bytes, key);
}

/** What an answer says; undefined for what is none, or not signed with `key`. Never throws. */
export function readEchoAnswer(bytes: Uint8Array, key: Uint8Array): EchoAnswer | undefined {
  if (bytes.length !== ECHO_ANSWER_BYTES || !hasHeader(bytes, ANSWER) || !isEchoSigned(bytes, key)) return undefined;
  const [transaction, place] = [copyOf(bytes, 8, 16), copyOf(bytes, 16, 34)];
  combine(place, transaction);
  const port = (place[16]! << 8) | place[17]!;
  return { transaction, host: ipText(place.subarray(0, 16)), port, fromOtherPort: isFromOther(bytes) };
}

/** Whether the last 16 bytes are the code of those before, under `key`. About 1 us: ask what is cheap first. */
export function isEchoSigned(bytes: Uint8Array, key: Uint8Array): boolean {
  const end = bytes.length - CODE_BYTES;
  return end >= 0 && timingSafeEqual(bytes.subarray(end), codeOf(bytes.subarray(0, end), key));
}

function codeOf(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(bytes).digest().subarray(0, CODE_BYTES);
}

function signed(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const end = bytes.length - CODE_BYTES;
  bytes.set(codeOf(bytes.subarray(0, end), key), end);
  return bytes;
}

function header(length: number, kind: number, fromOtherPort: boolean): Uint8Array {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(0, MAGIC);
  bytes[4] = ECHO_VERSION;
  bytes[5] = kind;
  bytes[6] = fromOtherPort ? OTHER_PORT : 0;
  return bytes;
}

/** Byte by byte, because it is asked for every packet. */
function hasHeader(bytes: Uint8Array, kind: number): boolean {
  return (
    bytes[5] === kind &&
    bytes[0] === MAGIC >>> 24 &&
    bytes[1] === ((MAGIC >>> 16) & 0xff) &&
    bytes[2] === ((MAGIC >>> 8) & 0xff) &&
    bytes[3] === (MAGIC & 0xff) &&
    bytes[4] === ECHO_VERSION
  );
}

function isFromOther(bytes: Uint8Array): boolean {
  return (bytes[6]! & OTHER_PORT) !== 0;
}

/** The `slice` of a Buffer is none. */
function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.subarray(from, to));
}

function combine(place: Uint8Array, transaction: Uint8Array): void {
  for (let i = 0; i < place.length; i++) place[i]! ^= transaction[i % TRANSACTION_BYTES]!;
}
