// Values that one message holds more than once, or that hold themselves: tags 28 and 29
// (http://cbor.schmorp.de/value-sharing). Replaces cbor-x's reader, which reads each value that holds itself twice, so
// that a chain of n such values takes 2^n and numbers go wrong, and which loses what a Map or Set holds of itself.
import { MeshError } from "../errors.ts";

export const TAG_SHARED = 28;
export const TAG_REFERENCE = 29;

/** cbor-x numbers shared values with 16 bits and begins again at 0 beyond: other values would arrive in their place. */
const SHARED_LIMIT = 0x10000;
const MARK = Buffer.from([0xd8, TAG_SHARED]);
/** A mark, a value and a reference. */
const LEAST_BYTES_EACH = 6;

/** Returns `bytes`. Throws CANNOT_TRAVEL when they hold more shared values than references can name. */
export function checkSharing(bytes: Buffer, what: string): Buffer {
  if (bytes.length < SHARED_LIMIT * LEAST_BYTES_EACH) return bytes;
  let marks = 0;
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + 2)) marks++;
  if (marks <= SHARED_LIMIT) return bytes;
  throw new MeshError("CANNOT_TRAVEL", `${what} holds over ${SHARED_LIMIT} objects more than once: send it in parts`);
}

/** What stands for a value of a class of which none can be made before its fields are known. */
export class Unfinished {}

interface Entry {
  value: unknown;
  isWhole: boolean;
  /** What references inside the value got: the value itself, filled later, or something to be replaced by it. */
  stand: unknown;
}

/** The shared values of one message, in the order they begin. */
export class SharedValues {
  readonly #kinds: Kind[];
  readonly #entries: Entry[] = [];
  readonly #stands = new Map<unknown, Entry>();

  constructor(bytes: Uint8Array) {
    this.#kinds = kindsOfShared(bytes);
  }

  read(read: () => unknown): unknown {
    const kind = this.#kinds[this.#entries.length];
    const entry: Entry = { value: undefined, isWhole: false, stand: undefined };
    this.#entries.push(entry);
    entry.stand = standFor(kind, entry);
    const value = read();
    entry.value = fill(entry.stand, value);
    entry.isWhole = true;
    return entry.value;
  }

  refer(id: unknown): unknown {
    const entry = this.#entries[id as number];
    if (!entry) throw new Error(`a reference to the shared value ${String(id)}, which there is not`);
    if (entry.isWhole) return entry.value;
    if (entry.stand instanceof Unfinished || typeof entry.stand === "function") this.#stands.set(entry.stand, entry);
    return entry.stand;
  }

  /** Puts values in place of what stood for them, in all that can be reached from `root`. */
  finish(root: unknown): unknown {
    if (this.#stands.size === 0) return root;
    const seen = new Set<unknown>();
    const open: object[] = [];
    const real = (value: unknown): unknown => {
      const found = this.#stands.get(value)?.value ?? value;
      if (typeof found === "object" && found !== null && !seen.has(found)) {
        seen.add(found);
        open.push(found);
      }
      return found;
    };
    const whole = real(root);
    for (let next = open.pop(); next; next = open.pop()) replaceIn(next, real);
    return whole;
  }
}

type Kind = "list" | "object" | "map" | "set" | "function" | "other";

/** Something that references can hold while the value is read. */
function standFor(kind: Kind | undefined, entry: Entry): unknown {
  switch (kind) {
    case "list":
      return [];
    case "object":
      return {};
    case "map":
      return new Map();
    case "set":
      return new Set();
    case "function": // a function that calls itself holds itself
      return function (this: unknown, ...args: unknown[]): unknown {
        return (entry.value as (...args: unknown[]) => unknown).apply(this, args);
      };
    default:
      return new Unfinished();
  }
}

/** Moves what was read into its stand, if that is of its kind; returns which of both is the value. */
function fill(stand: unknown, value: unknown): unknown {
  if (Array.isArray(stand) && Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) stand.push(value[i]);
  } else if (stand instanceof Map && value instanceof Map) {
    for (const [key, entry] of value) stand.set(key, entry);
  } else if (stand instanceof Set && value instanceof Set) {
    for (const entry of value) stand.add(entry);
  } else if (isPlain(stand) && isPlain(value)) {
    Object.assign(stand, value);
  } else {
    return value;
  }
  return stand;
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function replaceIn(value: object, real: (value: unknown) => unknown): void {
  if (value instanceof Map) {
    const entries = [...value];
    value.clear(); // only when all are set again do they keep their order
    for (const [key, entry] of entries) value.set(real(key), real(entry));
  } else if (value instanceof Set) {
    const entries = [...value];
    value.clear();
    for (const entry of entries) value.add(real(entry));
  } else if (!ArrayBuffer.isView(value)) {
    // Not Object.keys: cause and errors of an error are not enumerable.
    for (const key of Object.getOwnPropertyNames(value)) replaceField(value, key, real);
  }
}

function replaceField(value: object, key: string, real: (value: unknown) => unknown): void {
  const field = Object.getOwnPropertyDescriptor(value, key);
  if (!field || !("value" in field)) return;
  const found = real(field.value);
  if (found !== field.value) Object.defineProperty(value, key, { ...field, value: found });
}

const TAG_SET = 258;
const TAG_MAP = 259;
const TAG_FUNCTION = 19783;
const KINDS = new Map<number, Kind>([
  [TAG_SET, "set"],
  [TAG_MAP, "map"],
  [TAG_FUNCTION, "function"],
]);

/** What each value tagged 28 is. Needs no nesting: in CBOR one head follows another, whatever holds what. */
function kindsOfShared(bytes: Uint8Array): Kind[] {
  const kinds: Kind[] = [];
  let afterMark = false;
  let offset = 0;
  while (offset < bytes.length) {
    const head = bytes[offset++]!;
    const major = head >> 5;
    const info = head & 31;
    const width = info < 24 || info > 27 ? 0 : 1 << (info - 24);
    let count = width === 0 ? info : 0;
    for (let i = 0; i < width; i++) count = count * 256 + (bytes[offset + i] ?? 0);
    offset += width;
    if (afterMark) kinds.push(kindOf(major, count));
    afterMark = major === 6 && count === TAG_SHARED;
    if ((major === 2 || major === 3) && info < 28) offset += count;
  }
  return kinds;
}

function kindOf(major: number, count: number): Kind {
  if (major === 4) return "list";
  if (major === 5) return "object";
  return (major === 6 && KINDS.get(count)) || "other";
}
