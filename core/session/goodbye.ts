// How one side ends a session and tells the other why.
//
//   goodbye   0       1
//            +-------+------------------------------------------------------------+
//            | 10    | CBOR {code, reason, taken, answer?}                          |
//            +-------+------------------------------------------------------------+
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import { MessageType } from "../wire/message-types.ts";
import { controlFrame, readBody, textOf, wholeOf } from "./control-body.ts";

/** Append only. END: on purpose, all was sent. DOWN: you did not answer. ERROR: something went wrong on this side. */
const GOODBYE_CODES = ["END", "DOWN", "PROTOCOL", "REVOKED", "ERROR"] as const;
export type GoodbyeCode = (typeof GOODBYE_CODES)[number];

export interface Goodbye {
  code: GoodbyeCode;
  /** Why, for people; "" after END. */
  reason: string;
  /** Frames of data the sender took. */
  taken: number;
  /** Answers the other's goodbye: everything before it came. */
  answer: boolean;
}

export function writeGoodbye(codec: Codec, { code, reason, taken, answer }: Goodbye): Uint8Array {
  return controlFrame(codec, MessageType.goodbye, { code, reason, taken, ...(answer && { answer }) });
}

/** Throws PROTOCOL when the frame in `bytes` is no goodbye. */
export function readGoodbye(codec: Codec, bytes: Uint8Array, start: number, end: number): Goodbye {
  const body = readBody(codec, bytes, start, end, "a goodbye");
  const { code, answer = false } = body;
  if (!GOODBYE_CODES.includes(code as GoodbyeCode) || typeof answer !== "boolean") {
    throw new MeshError("PROTOCOL", "it sent a goodbye of an unknown kind");
  }
  return { code: code as GoodbyeCode, reason: textOf(body, "reason"), taken: wholeOf(body, "taken"), answer };
}
