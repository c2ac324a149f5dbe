// Frames that keep a lane going. They are not counted as data. All numbers are big-endian.
//
//   ack        0       1                        7                        13
//             +-------+------------------------+------------------------+
//             | 8     | frames taken (u48)     | bytes allowed (u48)    |
//             +-------+------------------------+------------------------+
//
//   heartbeat  0       1       2                8                14             18             22             26
//             +-------+-------+----------------+----------------+--------------+--------------+--------------+
//             | 9     | flags | taken (u48)    | allowed (u48)  | sent at (u32)| echo (u32)   | held (u32)   |
//             +-------+-------+----------------+----------------+--------------+--------------+--------------+
import { MeshError } from "../../errors.ts";
import { MessageType } from "../../wire/message-types.ts";

export const ACK_BYTES = 13;
export const HEARTBEAT_BYTES = 26;

/** `echo` and `held` say something. */
const FLAG_ECHO = 1;
/** The sender needs the bulk lane and cannot dial it: the receiver shall. */
const FLAG_WANTS_BULK = 2;
/** The receiver shall send an ack at once. */
const FLAG_WANTS_ACK = 4;
const KNOWN_FLAGS = FLAG_ECHO | FLAG_WANTS_BULK | FLAG_WANTS_ACK;

/** How far a side has come with what the other sends. */
export interface Ack {
  /** Frames of data it took, from the beginning of the session. */
  taken: number;
  /** Bytes of data it allows, from the beginning of the session. */
  allowedBytes: number;
}

export interface Heartbeat extends Ack {
  /** The sender's time in microseconds, modulo 2^32. */
  stamp: number;
  /** The last stamp it heard, and how long ago. */
  echo: { stamp: number; heldUs: number } | undefined;
  wantsBulk: boolean;
  /** Default false. */
  wantsAck?: boolean;
}

/** Message types that are a session's own; every other frame is data of who uses it. */
export function isControl(type: number): boolean {
  return type >= MessageType.refused && type <= MessageType.goodbye;
}

export function writeAck({ taken, allowedBytes }: Ack): Uint8Array {
  const bytes = new Uint8Array(ACK_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = MessageType.ack;
  writeU48(view, 1, taken);
  writeU48(view, 7, allowedBytes);
  return bytes;
}

/** Throws PROTOCOL when the frame in `bytes` is no ack. */
export function readAck(bytes: Uint8Array, start: number, end: number): Ack {
  const view = viewOf(bytes, start, end, ACK_BYTES, "an ack");
  return { taken: readU48(view, 1), allowedBytes: readU48(view, 7) };
}

export function writeHeartbeat({ taken, allowedBytes, stamp, echo, wantsBulk, wantsAck }: Heartbeat): Uint8Array {
  const bytes = new Uint8Array(HEARTBEAT_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = MessageType.heartbeat;
  bytes[1] = (echo ? FLAG_ECHO : 0) | (wantsBulk ? FLAG_WANTS_BULK : 0) | (wantsAck ? FLAG_WANTS_ACK : 0);
  writeU48(view, 2, taken);
  writeU48(view, 8, allowedBytes);
  view.setUint32(14, stamp);
  view.setUint32(18, echo?.stamp ?? 0);
  view.setUint32(22, echo?.heldUs ?? 0);
  return bytes;
}

/** Throws PROTOCOL when the frame in `bytes` is no heartbeat. */
export function readHeartbeat(bytes: Uint8Array, start: number, end: number): Required<Heartbeat> {
  const view = viewOf(bytes, start, end, HEARTBEAT_BYTES, "a heartbeat");
  const flags = view.getUint8(1);
  if (flags & ~KNOWN_FLAGS) throw new MeshError("PROTOCOL", `it sent a heartbeat with unknown flags ${flags}`);
  return {
    taken: readU48(view, 2),
    allowedBytes: readU48(view, 8),
    stamp: view.getUint32(14),
    echo: flags & FLAG_ECHO ? { stamp: view.getUint32(18), heldUs: view.getUint32(22) } : undefined,
    wantsBulk: (flags & FLAG_WANTS_BULK) !== 0,
    wantsAck: (flags & FLAG_WANTS_ACK) !== 0,
  };
}

function viewOf(bytes: Uint8Array, start: number, end: number, size: number, what: string): DataView {
  if (end - start !== size) throw new MeshError("PROTOCOL", `it sent ${what} of ${end - start} bytes, not ${size}`);
  return new DataView(bytes.buffer, bytes.byteOffset + start, size);
}

function writeU48(view: DataView, offset: number, value: number): void {
  view.setUint16(offset, Math.floor(value / 0x1_0000_0000));
  view.setUint32(offset + 2, value % 0x1_0000_0000);
}

function readU48(view: DataView, offset: number): number {
  return view.getUint16(offset) * 0x1_0000_0000 + view.getUint32(offset + 2);
}
