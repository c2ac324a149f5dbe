// The packets by which two nodes that were introduced find a way to each other. All are of one length, so that an answer is never
// longer than what it answers. Numbers are big-endian.
//
//  0        4      5      6                14           18                   34
// +--------+------+------+----------------+------------+--------------------+
// | magic  | type | from | meeting        | number     | signature          |
// +--------+------+------+----------------+------------+--------------------+
import { createHmac, timingSafeEqual } from "node:crypto";

/** Begins with a byte without QUIC's fixed bit (RFC 9000, 17.2), so that an endpoint which has taken over the port drops what comes late. */
const MAGIC = Buffer.from([0x1e, 0x6d, 0x70, 0x01]);

const TYPE_AT = 4;
const FROM_AT = 5;
const MEETING_AT = 6;
const NUMBER_AT = 14;
const SIGNATURE_AT = 18;
export const PACKET_BYTES = 34;

/** probe: do you hear me. answer: I do. use: take this way. used: I have, and leave. */
const TYPES = ["probe", "answer", "use", "used"] as const;
export type PacketType = (typeof TYPES)[number];

export interface Packet {
  type: PacketType;
  /** Counts the sender's probes and uses; an answer or used has that of what it answers. */
  number: number;
}

/** Writes and reads the packets of one side of one meeting. */
export class Sealer {
  readonly #meeting: Uint8Array;
  readonly #key: Uint8Array;
  readonly #from: number;

  constructor({ meeting, key, dials }: { meeting: Uint8Array; key: Uint8Array; dials: boolean }) {
    this.#meeting = meeting;
    this.#key = key;
    this.#from = dials ? 1 : 0;
  }

  seal({ type, number }: Packet): Uint8Array {
    const bytes = Buffer.alloc(PACKET_BYTES);
    MAGIC.copy(bytes);
    bytes[TYPE_AT] = TYPES.indexOf(type);
    bytes[FROM_AT] = this.#from;
    bytes.set(this.#meeting, MEETING_AT);
    bytes.writeUInt32BE(number >>> 0, NUMBER_AT);
    this.#sign(bytes).copy(bytes, SIGNATURE_AT);
    return bytes;
  }

  /** Undefined for everything that the other side of this meeting has not written: also for what this one has. */
  open(bytes: Uint8Array): Packet | undefined {
    if (bytes.length !== PACKET_BYTES) return undefined;
    const packet = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const type = TYPES[packet[TYPE_AT]!];
    if (!type || packet[FROM_AT] === this.#from || !packet.subarray(0, TYPE_AT).equals(MAGIC)) return undefined;
    if (!packet.subarray(MEETING_AT, NUMBER_AT).equals(this.#meeting)) return undefined;
    if (!timingSafeEqual(packet.subarray(SIGNATURE_AT), this.#sign(packet))) return undefined;
    return { type, number: packet.readUInt32BE(NUMBER_AT) };
  }

  #sign(packet: Buffer): Buffer {
    const signature = createHmac("sha256", this.#key).update(packet.subarray(0, SIGNATURE_AT)).digest();
    return signature.subarray(0, PACKET_BYTES - SIGNATURE_AT);
  }
}
