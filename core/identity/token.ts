// A join token as text: what a machine without SSH needs to get its certificate, once.
//
//   mesh1.<100 characters of base64url>   =   0       8        32       40          72         75 bytes
//                                             +-------+--------+--------+-----------+----------+
//                                             | mesh  | pin of | token  | secret    | checksum |
//                                             | id    | the CA | id     |           |          |
//                                             +-------+--------+--------+-----------+----------+
//
// The checksum, the first bytes of the SHA-256 of what is before it, tells a mistyped token from a wrong one.
import { createHash, randomBytes } from "node:crypto";
import { MeshError } from "../errors.ts";
import { PIN_BYTES } from "./pin.ts";

/** Grows when the bytes behind it change. */
const PREFIX = "mesh1.";
const TEXT_CHARS = 100;
const MESH_ID_BYTES = 8;
export const TOKEN_ID_BYTES = 8;
export const SECRET_BYTES = 32;
const CHECKSUM_BYTES = 3;

const AFRESH = "copy it again as a whole, or make a new one with mesh token";

export interface Token {
  /** 16 hex digits. */
  meshId: string;
  /** See pinOf. */
  pin: Uint8Array;
  /** Names the token; not secret. */
  id: Uint8Array;
  secret: Uint8Array;
}

/** A token of its own for the mesh and CA. */
export function newToken(meshId: string, pin: Uint8Array): Token {
  return { meshId, pin, id: randomBytes(TOKEN_ID_BYTES), secret: randomBytes(SECRET_BYTES) };
}

/** The token as one line of text, 106 characters. Whoever reads it may join: it is printed once and stored nowhere. */
export function formatToken(token: Token): string {
  const body = Buffer.concat([Buffer.from(token.meshId, "hex"), token.pin, token.id, token.secret]);
  return PREFIX + Buffer.concat([body, checksum(body)]).toString("base64url");
}

/** Reads a token; white space around it is ignored. Throws USAGE, which never quotes the text, when it is none. */
export function parseToken(text: string): Token {
  const trimmed = text.trim();
  if (trimmed === "") throw refusal("is empty");
  const version = /^mesh(\d{1,9})\./.exec(trimmed)?.[0];
  if (version === undefined) throw refusal(`does not begin with "${PREFIX}"`);
  if (version !== PREFIX) {
    throw new MeshError(
      "USAGE",
      `the join token begins with "${version}", this mesh reads "${PREFIX}": use the same build`,
    );
  }
  const coded = trimmed.slice(PREFIX.length);
  if (coded.length !== TEXT_CHARS) throw refusal(`has ${trimmed.length} characters, not ${PREFIX.length + TEXT_CHARS}`);
  if (!/^[A-Za-z0-9_-]+$/.test(coded)) throw refusal("holds characters no token has");
  return readBytes(Buffer.from(coded, "base64url"));
}

function readBytes(bytes: Buffer): Token {
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (!checksum(body).equals(bytes.subarray(-CHECKSUM_BYTES)))
    throw refusal("was changed on the way, its checksum is wrong");
  const pinEnd = MESH_ID_BYTES + PIN_BYTES;
  const idEnd = pinEnd + TOKEN_ID_BYTES;
  return {
    meshId: body.toString("hex", 0, MESH_ID_BYTES),
    pin: body.subarray(MESH_ID_BYTES, pinEnd),
    id: body.subarray(pinEnd, idEnd),
    secret: body.subarray(idEnd),
  };
}

function checksum(body: Uint8Array): Buffer {
  return createHash("sha256").update(body).digest().subarray(0, CHECKSUM_BYTES);
}

function refusal(what: string): MeshError {
  return new MeshError("USAGE", `the join token ${what}: ${AFRESH}`);
}
