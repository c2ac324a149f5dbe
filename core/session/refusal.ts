// Why a link is refused in its handshake. Sent by either side, once, before it ends the link.
//
//   refused   0       1
//            +-------+------------------------------------------------------------+
//            | 4     | CBOR {code, reason, build, protocol: [min, max], taken?}    |
//            +-------+------------------------------------------------------------+
import { isMeshError, MeshError, type MeshErrorCode } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import { MessageType, PROTOCOL_VERSION } from "../wire/message-types.ts";
import { type Body, controlFrame, printable, readBody, textOf, wholeOf } from "./control-body.ts";

/** What each refusal is as an error where it is heard. Append only. */
const CODES = {
  VERSION: "PROTOCOL", // no version of the protocol that both speak
  MALFORMED: "PROTOCOL", // not what a handshake allows
  CERTIFICATE: "AUTHENTICATION", // not valid, or not the one that TLS showed
  SIGNATURE: "AUTHENTICATION", // who shows the certificate has not its key, or sits in between
  MESH: "AUTHENTICATION", // another mesh
  REVOKED: "AUTHENTICATION",
  IDENTITY: "AUTHENTICATION", // not the name, role or node that was meant
  STRANGER: "AUTHENTICATION", // no certificate, and it does not ask to join
  DUPLICATE: "LINK_CLOSED", // the link that the refusing side dialed stays
  GONE: "LINK_CLOSED", // that session is over
  LIMIT: "UNREACHABLE", // too many handshakes at once
  TIMEOUT: "TIMEOUT", // nothing was said in time
  CLOSING: "UNREACHABLE", // the node is ending
} as const satisfies Record<string, MeshErrorCode>;

export type RefusalCode = keyof typeof CODES;

/** A link does not come to be. `message` says why, from the side that refuses. */
export class Refusal extends MeshError {
  readonly refusal: RefusalCode;
  /** With GONE: how many frames of the session had been taken. */
  readonly taken: number | undefined;
  /** The other side said so. */
  readonly isRemote: boolean;

  constructor(
    refusal: RefusalCode,
    message: string,
    { taken, isRemote = false, cause }: { taken?: number; isRemote?: boolean; cause?: unknown } = {},
  ) {
    super(CODES[refusal], message, cause === undefined ? {} : { cause });
    this.refusal = refusal;
    this.taken = taken;
    this.isRemote = isRemote;
  }

  /** Trying again changes nothing, as long as nobody changes something. */
  get isFinal(): boolean {
    return this.code === "AUTHENTICATION" || this.code === "PROTOCOL";
  }
}

/** What a process speaks. */
export interface Dialect {
  build: string;
  /** Lowest and highest version of the protocol. */
  protocol: readonly [number, number];
}

export const SPOKEN: readonly [number, number] = [PROTOCOL_VERSION, PROTOCOL_VERSION];

export interface RefusedBody extends Dialect {
  code: RefusalCode;
  reason: string;
  taken: number | undefined;
}

export function writeRefused(codec: Codec, refusal: Refusal, { build, protocol }: Dialect): Uint8Array {
  const { message, taken } = refusal;
  const body = { code: refusal.refusal, reason: printable(message), build, protocol: [...protocol] };
  return controlFrame(codec, MessageType.refused, { ...body, ...(taken !== undefined && { taken }) });
}

/** Throws PROTOCOL when the frame in `bytes` is no refusal. */
export function readRefused(codec: Codec, bytes: Uint8Array, start: number, end: number): RefusedBody {
  const body = readBody(codec, bytes, start, end, "a refusal");
  const code = textOf(body, "code");
  if (!Object.hasOwn(CODES, code)) throw new MeshError("PROTOCOL", `it refused for an unknown reason (${code})`);
  const taken = body.taken === undefined ? undefined : wholeOf(body, "taken");
  return { code: code as RefusalCode, reason: textOf(body, "reason"), taken, ...readDialect(body) };
}

export function readDialect(body: Body): Dialect {
  const { protocol } = body;
  const isRange =
    Array.isArray(protocol) && protocol.length === 2 && protocol.every((version) => Number.isInteger(version));
  if (!isRange) throw new MeshError("PROTOCOL", "it does not say which protocol it speaks");
  return { build: textOf(body, "build"), protocol: [protocol[0], protocol[1]] };
}

/** Throws VERSION unless both have a version in common; returns the highest. */
export function agreeOn(own: Dialect, peer: Dialect): number {
  const version = Math.min(own.protocol[1], peer.protocol[1]);
  if (version >= Math.max(own.protocol[0], peer.protocol[0])) return version;
  const words = ({ build, protocol: [low, high] }: Dialect) =>
    `build ${build} with protocol ${low === high ? low : `${low} to ${high}`}`;
  throw new Refusal(
    "VERSION",
    `one side is ${words(own)}, the other ${words(peer)}: run the same build of mesh on both: \`mesh up\` brings its hosts to the build it is of, elsewhere copy the binary`,
  );
}

/** Any error of a handshake as a refusal. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (isMeshError(error, "AUTHENTICATION")) return new Refusal("CERTIFICATE", error.message, { cause: error });
  if (isMeshError(error)) return new Refusal("MALFORMED", error.message, { cause: error });
  throw error;
}
