// The bytes of discovery: one UDP datagram is one beacon or one probe. Pure: no I/O, no clock, no cryptography.
//
//    0        4         5      6      8             16
//   +--------+---------+------+------+-------------+
//   | "mesh" | version | kind | zero | mesh id     |      The first 16 bytes are the same in every version.
//   +--------+---------+------+------+-------------+
//
//   probe (1), unsigned: zeros up to DATAGRAM_LIMIT_BYTES. It is as long as the longest answer, so that nobody can use
//   a coordinator to send more to a third party than he sends himself.
//
//   beacon (2):
//    16           20               24           32
//   +------------+----------------+------------+
//   | node (u32) | sequence (u32) | time (u64) |
//   +------------+----------------+------------+
//   | length (u8), the mesh's name | count (u8), and for each address: length (u8), text  |
//   | length (u16), the coordinator's certificate | length (u16), that of the CA that signed it |
//   | signature (64) by the coordinator's key over BEACON_CONTEXT and all bytes before it |
//
// Numbers are big-endian; text is printable ASCII without spaces.

/** Counts up when the bytes change. 1: as drawn. */
export const DISCOVERY_VERSION = 1;

/** The longest datagram: under what every LAN carries in one piece, tunnels included. */
export const DATAGRAM_LIMIT_BYTES = 1_392;

/** A beacon names at most so many addresses. */
export const ADDRESS_LIMIT = 16;

/** Before the bytes that are signed, so that the signature means nothing anywhere else. */
export const BEACON_CONTEXT: Uint8Array = new TextEncoder().encode("mesh discovery beacon\n");

const MAGIC = 0x6d657368; // "mesh"
const HEADER_BYTES = 16;
const PROBE = 1;
const BEACON = 2;
const FIXED_BYTES = 32;
const SIGNATURE_BYTES = 64;
const CERTIFICATE_LIMIT_BYTES = 1_024;
/** Times after the year 10,000 are none. */
const TIME_LIMIT_MS = 253_402_300_800_000;

/** What a beacon says. */
export interface BeaconContent {
  /** 16 hex digits. */
  meshId: string;
  meshName: string;
  /** The coordinator's node id. */
  node: number;
  /** Grows from one beacon of a node to the next. */
  sequence: number;
  /** When it was made; milliseconds since 1970, by the coordinator's clock. */
  time: number;
  /** Where the coordinator listens, such as "tcp://10.0.0.1:7450". */
  addresses: readonly string[];
  /** The coordinator's certificate as DER. */
  certificate: Uint8Array;
  /** The certificate of the CA that signed it, for who knows nothing but its pin. */
  authority: Uint8Array;
}

export interface Beacon extends BeaconContent {
  /** What `signature` must be of, without BEACON_CONTEXT. */
  signed: Uint8Array;
  signature: Uint8Array;
}

/** `wrong-version`: the header is good, the version is not ours. */
export type Datagram =
  | { kind: "probe"; meshId: string }
  | { kind: "beacon"; beacon: Beacon }
  | { kind: "wrong-version"; meshId: string; version: number };

/** A probe for this mesh. */
export function encodeProbe(meshId: string): Uint8Array {
  const bytes = new Uint8Array(DATAGRAM_LIMIT_BYTES);
  writeHeader(bytes, PROBE, meshId);
  return bytes;
}

/**
 * A beacon, without the signature (`sign` makes it, of BEACON_CONTEXT and the rest). Of `addresses` the first that
 * fit are taken. Throws Error when not one fits, or for what no beacon can say.
 */
export function encodeBeacon(content: BeaconContent, sign: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  const { certificate, authority } = content;
  const name = ascii(content.meshName);
  const other = FIXED_BYTES + 1 + name.length + 1 + 2 + certificate.length + 2 + authority.length + SIGNATURE_BYTES;
  const addresses = fitting(content.addresses.map(ascii), DATAGRAM_LIMIT_BYTES - other);
  if (addresses.length === 0 || certificate.length > CERTIFICATE_LIMIT_BYTES || name.length > 255) {
    throw new Error(`a beacon with ${content.addresses.length} addresses and ${other} other bytes cannot be made`);
  }
  const parts = [
    fixedPart(content),
    withLength(name, 1),
    Uint8Array.of(addresses.length),
    ...addresses.map((address) => withLength(address, 1)),
    withLength(certificate, 2),
    withLength(authority, 2),
  ];
  const signed = concat(parts);
  return concat([signed, sign(concat([BEACON_CONTEXT, signed]))]);
}

/** Reads one datagram; undefined for anything that is none of discovery. Never throws; `beacon` has views of `bytes`. */
export function parseDatagram(bytes: Uint8Array): Datagram | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length > DATAGRAM_LIMIT_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(0) !== MAGIC) return undefined;
  const meshId = hex(bytes.subarray(8, HEADER_BYTES));
  const version = view.getUint8(4);
  if (version !== DISCOVERY_VERSION) return { kind: "wrong-version", meshId, version };
  if (view.getUint16(6) !== 0) return undefined;
  const kind = view.getUint8(5);
  if (kind === PROBE) return { kind: "probe", meshId };
  const beacon = kind === BEACON ? parseBeacon(bytes, view, meshId) : undefined;
  return beacon && { kind: "beacon", beacon };
}

function parseBeacon(bytes: Uint8Array, view: DataView, meshId: string): Beacon | undefined {
  if (bytes.length < FIXED_BYTES + SIGNATURE_BYTES) return undefined;
  const signed = bytes.subarray(0, bytes.length - SIGNATURE_BYTES);
  const reader = new Reader(signed, FIXED_BYTES);
  const meshName = reader.text();
  const count = reader.length(1);
  if (count === 0 || count > ADDRESS_LIMIT) return undefined;
  const addresses = Array.from({ length: count }, () => reader.text());
  const certificate = reader.bytes(2);
  const authority = reader.bytes(2);
  const time = view.getUint32(24) * 0x1_0000_0000 + view.getUint32(28);
  if (!reader.isAtEnd || time > TIME_LIMIT_MS) return undefined;
  if (certificate.length > CERTIFICATE_LIMIT_BYTES || authority.length > CERTIFICATE_LIMIT_BYTES) return undefined;
  const node = view.getUint32(16);
  const sequence = view.getUint32(20);
  const signature = bytes.subarray(signed.length);
  return { meshId, meshName, node, sequence, time, addresses, certificate, authority, signed, signature };
}

/** Reads forward; once something does not fit, everything after it is empty and `isAtEnd` is false for good. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  #isBroken = false;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return !this.#isBroken && this.#at === this.#bytes.length;
  }

  length(size: 1 | 2): number {
    return this.#take(size).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  bytes(size: 1 | 2): Uint8Array {
    return this.#take(this.length(size));
  }

  /** At least one character. */
  text(): string {
    const bytes = this.bytes(1);
    if (bytes.length === 0 || !bytes.every((byte) => byte > 0x20 && byte < 0x7f)) this.#isBroken = true;
    return this.#isBroken ? "" : String.fromCharCode(...bytes);
  }

  #take(count: number): Uint8Array {
    const end = this.#at + count;
    if (end > this.#bytes.length) this.#isBroken = true;
    if (this.#isBroken) return new Uint8Array();
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

function fixedPart(content: BeaconContent): Uint8Array {
  const bytes = new Uint8Array(FIXED_BYTES);
  writeHeader(bytes, BEACON, content.meshId);
  const view = viewOf(bytes);
  view.setUint32(16, content.node);
  view.setUint32(20, content.sequence);
  view.setUint32(24, Math.floor(content.time / 0x1_0000_0000));
  view.setUint32(28, Math.floor(content.time) % 0x1_0000_0000);
  return bytes;
}

function writeHeader(bytes: Uint8Array, kind: number, meshId: string): void {
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC);
  view.setUint8(4, DISCOVERY_VERSION);
  view.setUint8(5, kind);
  view.setUint32(8, Number.parseInt(meshId.slice(0, 8), 16));
  view.setUint32(12, Number.parseInt(meshId.slice(8), 16));
}

function fitting(addresses: readonly Uint8Array[], room: number): Uint8Array[] {
  const taken: Uint8Array[] = [];
  let left = room;
  for (const address of addresses) {
    if (taken.length === ADDRESS_LIMIT || address.length > 255 || address.length + 1 > left) continue;
    taken.push(address);
    left -= address.length + 1;
  }
  return taken;
}

function ascii(text: string): Uint8Array {
  if (!/^[!-~]+$/.test(text)) throw new Error(`${JSON.stringify(text)} cannot be in a beacon: printable ASCII only`);
  return new TextEncoder().encode(text);
}

function withLength(bytes: Uint8Array, size: 1 | 2): Uint8Array {
  const length = size === 1 ? [bytes.length] : [bytes.length >> 8, bytes.length & 0xff];
  return concat([Uint8Array.from(length), bytes]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
