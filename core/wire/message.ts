// A message: what processes of a mesh send each other, one per frame. The header tells where it goes and what it is
// about; whoever forwards it reads these 24 bytes and nothing else. All numbers are big-endian.
//
//    0        1        2                  4
//   +--------+--------+------------------+------------------------------------+
//   | type   | flags  | to slot (u16)    | to node (u32)                      |
//   +--------+--------+------------------+------------------------------------+
//   8                                   12                 14
//   +------------------------------------+------------------+-----------------+
//   | from node (u32)                    | from slot (u16)  | transfer (u16)  |
//   +------------------------------------+------------------+-----------------+
//   16                                  20                                    24
//   +------------------------------------+------------------------------------+
//   | mailbox (u32)                      | correlation (u32)                  |
//   +------------------------------------+------------------------------------+
//   24: payload, to the end of the frame; its form depends on type.
import { MeshError } from "../errors.ts";

export const HEADER_BYTES = 24;

const NOTHING = new Uint8Array(HEADER_BYTES);

/** The message goes on in the next one of the same source and type. */
export const FLAG_MORE = 1;
/** The sender waits for a reply or failure with this correlation. */
export const FLAG_REQUEST = 2;
/** The first piece of a message: in place of a correlation it has the size of the whole payload. */
export const FLAG_FIRST = 4;
/** The last piece of a message. */
export const FLAG_LAST = 8;
const KNOWN_FLAGS = FLAG_MORE | FLAG_REQUEST | FLAG_FIRST | FLAG_LAST;

/** One process of a mesh: a node, and which of its slots; slot 0 is the node itself. */
export interface Address {
  /** 0 to 2^32 - 1, unique in a mesh. */
  readonly node: number;
  /** 0 to 65,535, never used again by the same node while it lives. */
  readonly slot: number;
}

/** A message as it arrives. Reused between frames: take what must outlive the handler's call. */
export class Message {
  type = 0;
  flags = 0;
  toNode = 0;
  toSlot = 0;
  fromNode = 0;
  fromSlot = 0;
  /** Which object of the destination it is for; 0 is the process itself. */
  mailbox = 0;
  /** Of a piece: which of its sender's large messages it belongs to. */
  transfer = 0;
  /** Ties an answer to its question; chosen by who asked. */
  correlation = 0;
  /** Where the frame lies: `bytes` from `start` to before `end`. For handlers that read a few bytes without a view. */
  bytes: Uint8Array = NOTHING;
  start = 0;
  end = NOTHING.length;

  /** Whether its bytes are nobody else's, so that a handler may keep them instead of a copy. */
  mayKeep = false;

  /** Header and payload: valid during the handler's call only, as is the payload. */
  get frame(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }

  set frame(frame: Uint8Array) {
    this.bytes = frame;
    this.start = 0;
    this.end = frame.length;
  }

  /** The bytes after the header. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.start + HEADER_BYTES, this.end);
  }
}

/** Writes the header into the first HEADER_BYTES of `target`; `transfer` is of pieces alone. */
export function writeHeader(
  target: DataView,
  type: number,
  flags: number,
  to: Address,
  from: Address,
  mailbox: number,
  correlation: number,
  transfer = 0,
): void {
  target.setUint8(0, type);
  target.setUint8(1, flags);
  target.setUint16(2, to.slot);
  target.setUint32(4, to.node);
  target.setUint32(8, from.node);
  target.setUint16(12, from.slot);
  target.setUint16(14, transfer);
  target.setUint32(16, mailbox);
  target.setUint32(20, correlation);
}

/**
 * Reads the frame that lies in `bytes` from `start` to before `end` into `message`, which is used again for the next:
 * a frame costs no object. Throws PROTOCOL when it is no message: too short, an unknown flag, or a byte that must be zero is not.
 */
export function readMessage(bytes: Uint8Array, message: Message, start = 0, end = bytes.length): void {
  if (end - start < HEADER_BYTES) {
    throw new MeshError("PROTOCOL", `a message has at least ${HEADER_BYTES} bytes, this one ${end - start}`);
  }
  message.type = bytes[start]!;
  message.flags = bytes[start + 1]!;
  message.toSlot = u16(bytes, start + 2);
  message.toNode = u32(bytes, start + 4);
  message.fromNode = u32(bytes, start + 8);
  message.fromSlot = u16(bytes, start + 12);
  message.transfer = u16(bytes, start + 14);
  message.mailbox = u32(bytes, start + 16);
  message.correlation = u32(bytes, start + 20);
  message.mayKeep = false;
  message.bytes = bytes;
  message.start = start;
  message.end = end;
  if (message.flags & ~KNOWN_FLAGS) throw new MeshError("PROTOCOL", `a message has unknown flags ${message.flags}`);
  if (message.transfer !== 0 && !(message.flags & (FLAG_MORE | FLAG_LAST))) {
    throw new MeshError("PROTOCOL", "a message that is no piece has the number of a transfer");
  }
}

export function emptyMessage(): Message {
  return new Message();
}

function u16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

function u32(bytes: Uint8Array, offset: number): number {
  return u16(bytes, offset) * 0x10000 + u16(bytes, offset + 2);
}
