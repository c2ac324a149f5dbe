// The bytes of pipes' messages; drawn in PROTOCOL.md, "Pipes".
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import type { Message } from "../wire/message.ts";
import type { ClosedBy, Credit, Pull } from "./pipe-home.ts";

/** Bodies of the requests. */
export interface RoomBody {
  pipe: number;
  sender: number;
  knownBytes: number;
}

export interface FlushBody {
  pipe: number;
  sender: number;
  count: number;
  closes: boolean;
}

export interface ReceiverBody {
  pipe: number;
  mailbox: number;
}

export interface WithdrawBody extends ReceiverBody {
  epoch: number;
}

export interface ReturnBody extends ReceiverBody {
  values: [number: number, bytes: Uint8Array][];
  closes: boolean;
}

export interface StayBody {
  mailbox: number;
}

/** What stands before the value in a message to a pipe: `[pipe, sender, number, value]`. */
export interface SendHead {
  pipe: number;
  sender: number;
  /** The low 32 bits of it. */
  number: number;
  /** Where the value begins. */
  at: number;
}

const LIST_OF_FOUR = 0x84;
const UINT32 = 0x1a;
/** Written first, because the message gets its number when it leaves; the codec gives it the four bytes it needs. */
const NUMBER_TO_COME = 0xffffffff;

/** A message to a pipe, without its number. Throws CANNOT_TRAVEL naming the path from `what`. */
export function encodeSend(codec: Codec, pipe: number, sender: number, value: unknown, what: string): Uint8Array {
  try {
    return codec.encode([pipe, sender, NUMBER_TO_COME, value]);
  } catch (error) {
    codec.encode(value, what); // throws with the right path
    throw error;
  }
}

/** Puts the message's number in its place. */
export function numberSend(bytes: Uint8Array, number: number): void {
  const { at } = readSend(bytes, 0, bytes.length);
  for (let i = 1; i <= 4; i++) bytes[at - i] = number >>> (8 * (i - 1));
}

/** Reads what stands before the value in bytes from `start` to before `end`. Throws PROTOCOL when it is something else. */
export function readSend(bytes: Uint8Array, start: number, end: number): SendHead {
  if (bytes[start] !== LIST_OF_FOUR) throw new MeshError("PROTOCOL", "a message to a pipe is no list of four");
  const head = { pipe: 0, sender: 0, number: 0, at: start + 1 };
  head.pipe = readNext(bytes, head, end);
  head.sender = readNext(bytes, head, end);
  head.number = readNext(bytes, head, end);
  return head;
}

/** The whole number that stands `at`, which goes on behind it. */
function readNext(bytes: Uint8Array, place: { at: number }, end: number): number {
  const head = bytes[place.at++]!;
  const width = head < 24 ? 0 : 1 << (head - 24);
  if (head > UINT32 || place.at + width > end) throw new MeshError("PROTOCOL", "a message to a pipe has a wrong head");
  let value = width === 0 ? head : 0;
  for (let i = 0; i < width; i++) value = value * 256 + bytes[place.at++]!;
  return value;
}

const CLOSED_BY: readonly (ClosedBy | undefined)[] = [undefined, "senders", "receivers"];

export function encodeCredit(codec: Codec, sender: number, { takenBytes, came, closedBy }: Credit): Uint8Array {
  return codec.encode([sender, takenBytes, came, CLOSED_BY.indexOf(closedBy)]);
}

export function decodeCredit(codec: Codec, payload: Uint8Array): { sender: number; credit: Credit } {
  const [sender, takenBytes, came, closed] = codec.decode(payload) as [number, number, number, number];
  return { sender, credit: { takenBytes, came, closedBy: CLOSED_BY[closed] } };
}

export function encodePull(codec: Codec, { pipe, mailbox }: ReceiverBody, { epoch, granted, taken }: Pull): Uint8Array {
  return codec.encode([pipe, mailbox, epoch, granted, taken]);
}

export function decodePull(codec: Codec, payload: Uint8Array): { receiver: ReceiverBody; pull: Pull } {
  const [pipe, mailbox, epoch, granted, taken] = codec.decode(payload) as [number, number, number, number, number];
  return { receiver: { pipe, mailbox }, pull: { epoch, granted, taken } };
}

/** The bytes of a message from `at` on, to be kept. */
export function keptFrom({ bytes, end, mayKeep }: Message, at: number): Uint8Array {
  return mayKeep ? bytes.subarray(at, end) : bytes.slice(at, end);
}
