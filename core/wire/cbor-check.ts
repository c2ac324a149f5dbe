// Walks CBOR bytes without building anything, so that hostile input is refused before a decoder allocates for it.
import { MeshError } from "../errors.ts";

export interface CborLimits {
  /** Arrays, maps and tags inside each other. */
  depth: number;
  /** Values in all, keys included. */
  items: number;
}

export const CONTROL_LIMITS: CborLimits = { depth: 64, items: 100_000 };

/**
 * Tags that Codec writes; nobody sends others. cbor-x knows more (records, packed values, bundled strings), whose readers
 * keep state between messages or compile code.
 */
const TAGS = new Set([
  ...[1, 2, 3], // date, large integers
  ...[27, 28, 29], // RegExp, shared values and references to them
  ...[64, 68, 69, 70, 71, 72, 77, 78, 79, 85, 86], // typed arrays, little-endian (RFC 8746)
  ...[258, 259], // Set, Map
  ...[19781, 19782, 19783, 19784, 19785, 19786], // mesh's own, see codec.ts
]);

/** A decoder's work on a large integer grows with the square of its length. */
const BIG_INTEGER_BYTES = 8 * 1024;

function refuse(what: string): never {
  throw new MeshError("PROTOCOL", `a peer sent CBOR that is not allowed: ${what}`);
}

const INDEFINITE = 31;
const BREAK = 0xff;

/**
 * Throws PROTOCOL unless `bytes` hold exactly one well-formed CBOR value within `limits`: no length beyond the
 * bytes that are there, no deeper nesting, no more items, no tag that Codec does not write, no integer of over 8 KiB.
 * Needs no stack and no memory but one number per level.
 */
export function checkCbor(bytes: Uint8Array, limits: CborLimits = CONTROL_LIMITS): void {
  const open: number[] = []; // values still missing at each level; -1 in one of indefinite length
  let offset = 0;
  let items = 0;
  let isBigInteger = false;

  do {
    if (offset >= bytes.length) refuse("it ends in the middle");
    const head = bytes[offset++]!;
    if (head === BREAK) {
      if (open.pop() !== -1) refuse("a break where none may be");
    } else {
      if (++items > limits.items) refuse(`over ${limits.items} values`);
      const major = head >> 5;
      const info = head & 31;
      if (info >= 28 && info < INDEFINITE) refuse("a reserved length");
      if (info === INDEFINITE && (major < 2 || major === 6)) refuse("an indefinite number or tag");
      const width = info < 24 || info === INDEFINITE ? 0 : 1 << (info - 24);
      if (offset + width > bytes.length) refuse("it ends in the middle");
      const count = info < 24 ? info : readBig(bytes, offset, width);
      offset += width;
      const inside = valuesInside(major, info, count);
      if (major === 6 && !TAGS.has(count)) refuse(`tag ${count}`);
      if (isBigInteger && (major !== 2 || info === INDEFINITE || count > BIG_INTEGER_BYTES)) {
        refuse(`an integer that is no string of at most ${BIG_INTEGER_BYTES} bytes`);
      }
      isBigInteger = major === 6 && (count === 2 || count === 3);
      if (inside === 0 && (major === 2 || major === 3)) {
        if (info !== INDEFINITE) {
          if (count > bytes.length - offset) refuse(`a string of ${count} bytes in ${bytes.length}`);
          offset += count;
        }
      }
      if (inside > bytes.length - offset) refuse(`${inside} values in ${bytes.length - offset} bytes`);
      const level = open.length - 1;
      if (level >= 0 && open[level]! > 0) open[level]!--;
      if (inside !== 0) {
        if (open.push(inside) > limits.depth) refuse(`nesting deeper than ${limits.depth}`);
      }
    }
    while (open.length > 0 && open[open.length - 1] === 0) open.pop();
  } while (open.length > 0);
  if (offset !== bytes.length) refuse(`${bytes.length - offset} bytes after its end`);
}

/** How many values follow inside: -1 until a break, 0 for what has none. */
function valuesInside(major: number, info: number, count: number): number {
  if (info === INDEFINITE) return major === 7 ? 0 : -1;
  if (major === 4) return count;
  if (major === 5) return 2 * count;
  return major === 6 ? 1 : 0;
}

function readBig(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + bytes[offset + i]!;
  return value;
}
