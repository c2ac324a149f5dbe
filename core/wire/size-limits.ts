// How large a message may be that another node sends to a node's own process: what is larger is refused by its first piece,
// before memory is taken for it. What is for slots passes in pieces and is bounded by who wants it. Pure.
import type { Role } from "../identity/names.ts";
import { MessageType } from "./message-types.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Of a message to a coordinator or a rendezvous of a type that is not listed. */
const SMALL_BYTES = 16 * KIB;
const TO_COORDINATOR: Partial<Record<number, number>> = {
  [MessageType.register]: 64 * KIB,
  [MessageType.report]: MIB,
  [MessageType.jobProgress]: MIB,
  [MessageType.endJob]: MIB,
  [MessageType.jobLog]: 2 * MIB,
  [MessageType.submitJob]: 136 * MIB,
};
/** What the coordinator alone may send it. */
const TO_RENDEZVOUS: Partial<Record<number, number>> = {
  [MessageType.membership]: 136 * MIB,
  [MessageType.revoked]: 16 * MIB,
};
/** To all others: a job's code, a large mesh's membership, the coordinator's answers. */
const TO_OTHERS_BYTES = 136 * MIB;

export interface SizeLimits {
  /** Bytes of one message. */
  message: number;
  /** Bytes of all messages of one node that have come in part. */
  total: number;
}

/** The largest value that one message may carry, in pieces. */
export const MESSAGE_LIMIT_BYTES = 2 * 1024 * MIB - 1;
/** Of processes of one node, which trust each other. */
export const NO_LIMITS: SizeLimits = { message: MESSAGE_LIMIT_BYTES, total: Number.POSITIVE_INFINITY };

/** The largest payload of a message of `type` to a node of role `receiver`, in bytes. */
export function sizeLimitOf(receiver: Role, type: number): number {
  if (receiver === "coordinator") return TO_COORDINATOR[type] ?? SMALL_BYTES;
  return receiver === "rendezvous" ? (TO_RENDEZVOUS[type] ?? SMALL_BYTES) : TO_OTHERS_BYTES;
}

/** Both limits for a message of `type` to a node of role `receiver`. */
export function sizeLimitsOf(receiver: Role, type: number): SizeLimits {
  return { message: sizeLimitOf(receiver, type), total: 144 * MIB };
}
