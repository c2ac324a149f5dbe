// CBOR bodies of a session's control frames: small, and checked field by field, because they come from anybody.
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";

/** No control frame is larger, whoever sent it. */
export const CONTROL_LIMIT_BYTES = 4 * 1024;

/** So much of a text from a peer is shown to people. */
const TEXT_LIMIT_CHARS = 1_000;

export type Body = Record<string, unknown>;

export function controlFrame(codec: Codec, type: number, body: Body): Uint8Array {
  const bytes = codec.encode(body);
  const frame = new Uint8Array(1 + bytes.length);
  frame[0] = type;
  frame.set(bytes, 1);
  return frame;
}

/** The body of the control frame in `bytes`. Throws PROTOCOL when it is too large or no CBOR map. */
export function readBody(codec: Codec, bytes: Uint8Array, start: number, end: number, what: string): Body {
  if (end - start > CONTROL_LIMIT_BYTES) {
    throw new MeshError("PROTOCOL", `it sent ${what} of ${end - start} bytes, over ${CONTROL_LIMIT_BYTES}`);
  }
  return asBody(codec.decodeControl(bytes.slice(start + 1, end)), what);
}

export function asBody(value: unknown, what: string): Body {
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return value as Body;
  }
  throw new MeshError("PROTOCOL", `it sent ${what} without fields`);
}

function wrong(field: string): never {
  throw new MeshError("PROTOCOL", `the field ${field} of what it sent is missing or wrong`);
}

/** A text that may be shown: cut when long, without control characters. */
export function textOf(body: Body, field: string): string {
  const value = body[field];
  if (typeof value !== "string") wrong(field);
  return printable(value);
}

export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a peer says goes to terminals and logs.
  return text.slice(0, TEXT_LIMIT_CHARS).replace(/[\u0000-\u001f\u007f-\u009f]/g, " ");
}

/** A whole number from 0 to `limit`. */
export function wholeOf(body: Body, field: string, limit: number = Number.MAX_SAFE_INTEGER): number {
  const value = body[field];
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > limit) wrong(field);
  return value as number;
}

/** Bytes: exactly `size`, when given. */
export function bytesOf(body: Body, field: string, size?: number): Uint8Array {
  const value = body[field];
  if (!(value instanceof Uint8Array) || (size !== undefined && value.length !== size)) wrong(field);
  return value;
}

/** A list of at most `limit` of what `check` accepts. */
export function listOf<T>(body: Body, field: string, limit: number, check: (item: unknown) => item is T): T[] {
  const value = body[field];
  if (!Array.isArray(value) || value.length > limit || !value.every(check)) wrong(field);
  return value;
}
