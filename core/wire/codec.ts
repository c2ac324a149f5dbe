// Values to bytes and back: CBOR by cbor-x, plus what it would lose without a word (errors, URLs, functions, the
// job's own classes), and a refusal that names the path for what cannot travel.
import { Decoder } from "cbor-x/decode";
import { addExtension, Encoder } from "cbor-x/encode";
import { MeshError } from "../errors.ts";
import { checkCbor } from "./cbor-check.ts";
import { checkSharing, SharedValues, TAG_REFERENCE, TAG_SHARED, Unfinished } from "./shared-values.ts";
import {
  type AnyFunction,
  emptyRegistry,
  HANDLE,
  type Handle,
  type HandleWire,
  isHandle,
  type ReviveHandle,
  type TravelRegistry,
} from "./travel.ts";

/** Tags of mesh's own forms; append only. Unassigned at IANA, and read by mesh alone. */
const TAG_INSTANCE = 19781;
const TAG_ERROR = 19782;
const TAG_FUNCTION = 19783;
const TAG_URL = 19784;
const TAG_VIEW = 19785;
const TAG_HANDLE = 19786;

const OPTIONS = {
  structuredClone: true, // cycles and shared references
  useRecords: false,
  variableMapSize: true, // otherwise an object of over 65,535 keys is cut in silence
  tagUint8Array: true,
  mapsAsObjects: true,
  copyBuffers: true, // a value outlives the frame it came in
} as unknown as ConstructorParameters<typeof Encoder>[0];

/** Built-in classes that cbor-x brings back as what they were. */
const CARRIED = new Set<unknown>([
  ...[Date, Set, Map, RegExp, Uint8Array, Uint8ClampedArray, Uint16Array, Uint32Array, BigUint64Array, Int8Array],
  ...[Int16Array, Int32Array, BigInt64Array, Float32Array, Float64Array, Buffer],
]);

/** Errors of the language, by name: what a class that is not the job's own becomes on the other side. */
const ERRORS: Record<string, ErrorConstructor> = {
  ...{ Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError },
};

// The codec in use by the call under way: cbor-x's extensions are global, calls are not nested.
let registry: TravelRegistry = emptyRegistry;
let handles: ReadonlyMap<string, ReviveHandle> = new Map();
let shared: SharedValues | undefined;
let source: Uint8Array = new Uint8Array(0);
// Set while a value that holds functions is encoded: one for all of it, so that what is the same stays the same.
let boxer: Boxer | undefined;

/** Encodes and decodes values. One per process and job; cheap to make. */
export class Codec {
  /** How handles that arrive are made again, by their kind. */
  readonly handles = new Map<string, ReviveHandle>();
  readonly #encoder = new Encoder(OPTIONS);
  readonly #decoder = new Decoder(OPTIONS);
  readonly #registry: TravelRegistry;

  constructor(travel: TravelRegistry = emptyRegistry) {
    this.#registry = travel;
  }

  /**
   * Bytes of `value`, new ones each time.
   * Throws CANNOT_TRAVEL naming the path from `what` ("args[0].socket") to what cannot be sent.
   */
  encode(value: unknown, what = "value"): Uint8Array {
    const before = registry;
    registry = this.#registry;
    try {
      return checkSharing(this.#encoder.encode(value), what);
    } catch (error) {
      return this.#encodeSlowly(value, what, error);
    } finally {
      registry = before;
    }
  }

  /** The value of bytes from a process of the same job. Throws PROTOCOL when they are no CBOR. */
  decode(bytes: Uint8Array): unknown {
    const before = registry;
    const handlesBefore = handles;
    registry = this.#registry;
    handles = this.handles;
    shared = undefined;
    source = bytes;
    try {
      const value = this.#decoder.decode(bytes);
      const met = shared as SharedValues | undefined; // set by the extensions meanwhile
      return met ? met.finish(value) : value;
    } catch (error) {
      if (error instanceof MeshError) throw error;
      throw new MeshError("PROTOCOL", `a peer sent bytes that are no value: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      registry = before;
      handles = handlesBefore;
      shared = undefined;
    }
  }

  /** As decode, for bytes from somebody who is not trusted: checked against CONTROL_LIMITS first. */
  decodeControl(bytes: Uint8Array): unknown {
    checkCbor(bytes);
    return this.decode(bytes);
  }

  // cbor-x has no hook for functions: they are boxed in a copy, only when there are any. The walk also finds the
  // path of what cannot travel.
  #encodeSlowly(value: unknown, what: string, error: unknown): Uint8Array {
    if (error instanceof RangeError && /call stack/i.test(error.message)) {
      throw new MeshError("CANNOT_TRAVEL", `${what} is nested too deeply to be sent`, { cause: error });
    }
    const outer = boxer;
    boxer = new Boxer(this.#registry);
    const boxed = boxer.box(value, what);
    try {
      return checkSharing(this.#encoder.encode(boxed), what);
    } catch (again) {
      if (again instanceof MeshError) throw again;
      throw new MeshError("CANNOT_TRAVEL", `${what} cannot be sent: ${(again as Error).message}`, { cause: again });
    } finally {
      boxer = outer;
    }
  }
}

addExtension({
  tag: TAG_SHARED,
  decode: Object.assign(
    (read: () => unknown) => {
      shared ??= new SharedValues(source);
      return shared.read(read);
    },
    { handlesRead: true },
  ),
} as never);
addExtension({
  tag: TAG_REFERENCE,
  decode: (id: unknown) => {
    shared ??= new SharedValues(source);
    return shared.refer(id);
  },
} as never);

type Bytes = { buffer: ArrayBufferLike; byteOffset: number; byteLength: number };
type TypedArrayKind = { BYTES_PER_ELEMENT: number } & (new (
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
) => unknown);

/** Little-endian, as every machine here is and as cbor-x writes them. */
const TYPED_ARRAYS: readonly (readonly [tag: number, kind: TypedArrayKind])[] = [
  [64, Uint8Array],
  [68, Uint8ClampedArray],
  [69, Uint16Array],
  [70, Uint32Array],
  [71, BigUint64Array],
  [72, Int8Array],
  [77, Int16Array],
  [78, Int32Array],
  [79, BigInt64Array],
  [85, Float32Array],
  [86, Float64Array],
];

// cbor-x copies byte strings out of the frame (copyBuffers), and would copy those of typed arrays once more.
for (const [tag, Kind] of TYPED_ARRAYS) {
  const width = Kind.BYTES_PER_ELEMENT;
  const decode = ({ buffer, byteOffset, byteLength }: Bytes) =>
    byteOffset === 0 && buffer.byteLength === byteLength
      ? new Kind(buffer, 0, byteLength / width)
      : new Kind(buffer.slice(byteOffset, byteOffset + byteLength), 0, byteLength / width);
  addExtension({ tag, decode } as never);
}

class FunctionBox {
  readonly fn: AnyFunction;
  constructor(fn: AnyFunction) {
    this.fn = fn;
  }
}

const NATIVE_VIEWS: Record<string, (buffer: ArrayBuffer) => unknown> = {
  ArrayBuffer: (buffer) => buffer,
  SharedArrayBuffer: (buffer) => buffer,
  DataView: (buffer) => new DataView(buffer),
  Float16Array: (buffer) => new Float16Array(buffer),
};

/** Why an object of this constructor cannot travel, in words for its sender. */
function refusal(value: object): string {
  const name = value.constructor?.name || "object of an unknown class";
  const article = /^[AEIOUo]/.test(name) ? "an" : "a";
  const hint =
    value instanceof Promise
      ? "await it first"
      : "send plain data, or declare its class at the top level of your own files";
  return `${article} ${name} cannot travel: ${hint}`;
}

/** Replaces functions by boxes in a copy, and throws CANNOT_TRAVEL with the path of what cannot be sent. */
class Boxer {
  readonly #registry: TravelRegistry;
  readonly #copies = new Map<object, unknown>();

  constructor(travel: TravelRegistry) {
    this.#registry = travel;
  }

  box(value: unknown, path: string): unknown {
    if (typeof value === "function") return this.#boxFunction(value as AnyFunction, path);
    if (typeof value === "symbol") {
      throw new MeshError("CANNOT_TRAVEL", `${path}: a symbol cannot travel: ${String(value)}`);
    }
    if (typeof value !== "object" || value === null) return value;
    const known = this.#copies.get(value);
    if (known !== undefined) return known;
    return this.#boxObject(value, path);
  }

  #boxFunction(fn: AnyFunction, path: string): unknown {
    const known = this.#copies.get(fn);
    if (known) return known;
    const box = new FunctionBox(fn);
    this.#copies.set(fn, box);
    const { locals, env } = at(path, () => this.#registry.describeFunction(fn));
    const names = this.#registry.localNames?.(fn) ?? [];
    locals.forEach((local, i) => void this.box(local, `${path} (captured ${names[i] ?? `value ${i + 1}`})`));
    for (const [name, captured] of Object.entries(env)) this.box(captured, `${path} (captured ${name})`);
    return box;
  }

  #boxObject(value: object, path: string): unknown {
    if (Array.isArray(value)) {
      const copy: unknown[] = [];
      this.#copies.set(value, copy);
      for (let i = 0; i < value.length; i++) copy.push(this.box(value[i], `${path}[${i}]`));
      return copy;
    }
    if (value instanceof Map && value.constructor === Map) {
      const copy = new Map();
      this.#copies.set(value, copy);
      for (const [key, entry] of value) {
        copy.set(this.box(key, `${path}, key ${String(key)}`), this.box(entry, `${path}.get(${String(key)})`));
      }
      return copy;
    }
    if (value instanceof Set && value.constructor === Set) {
      const copy = new Set();
      this.#copies.set(value, copy);
      for (const entry of value) copy.add(this.box(entry, `${path}, an element`));
      return copy;
    }
    if (isPlain(value)) return this.#boxFields(value, {}, path);
    if (value instanceof FunctionBox || CARRIED.has(value.constructor) || value.constructor.name in NATIVE_VIEWS) {
      return value;
    }
    if (value instanceof URL) return value;
    if (value instanceof Error) return value; // see travelsOrText
    if (isHandle(value)) {
      at(path, () => value[HANDLE]());
      return value;
    }
    const description = this.#registry.describeInstance(value);
    if (!description) throw new MeshError("CANNOT_TRAVEL", `${path}: ${refusal(value)}`);
    this.#copies.set(value, value);
    this.#checkFields({ ...description.properties, ...description.privates }, path);
    for (const [name, captured] of Object.entries(description.env ?? {}))
      this.box(captured, `${path} (captured ${name})`);
    return value;
  }

  #boxFields(value: object, copy: Record<string, unknown>, path: string): unknown {
    this.#copies.set(value, copy);
    for (const [key, field] of Object.entries(value)) {
      const boxed = this.box(field, `${path}.${key}`);
      // Assigned, a key "__proto__" would change what the copy inherits from.
      if (key !== "__proto__") copy[key] = boxed;
      else Object.defineProperty(copy, key, { value: boxed, writable: true, enumerable: true, configurable: true });
    }
    return copy;
  }

  #checkFields(value: object, path: string): void {
    for (const [key, field] of Object.entries(value)) this.box(field, `${path}.${key}`);
  }
}

/** Runs `describe`, putting the path before the message of what it throws. */
function at<T>(path: string, describe: () => T): T {
  try {
    return describe();
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    throw new MeshError(error.code, `${path}: ${error.message}`, { cause: error });
  }
}

/** Values of an instance or function, whose object itself must not be copied, with functions replaced. */
function boxedInside<T>(values: T): T {
  return boxer ? (boxer.box(values, "captured values") as T) : values;
}

/** True for values that take the extension whose check this is. cbor-x asks by `instanceof`. */
function extension<Input, Wire>(
  tag: number,
  handles: (value: object) => boolean,
  toWire: (value: Input) => Wire,
  fromWire: (wire: Wire) => unknown,
): void {
  addExtension({
    Class: { [Symbol.hasInstance]: handles } as unknown as new () => Input,
    tag,
    encode: (value: Input, encode: (wire: Wire) => unknown) => void encode(toWire(value)),
    decode: fromWire as (wire: unknown) => unknown,
  } as never);
}

/** An object without a class, also when it has a field of its own called "constructor". */
function isPlain(value: object): boolean {
  if (value.constructor === Object || value.constructor === undefined) return true;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function handlesAsInstance(value: object): boolean {
  if (CARRIED.has(value.constructor) || isPlain(value)) return false;
  if (value instanceof Error || value instanceof URL || value instanceof FunctionBox || isView(value)) return false;
  return !isHandle(value);
}

function isView(value: object): boolean {
  return (
    value.constructor !== undefined && Object.hasOwn(NATIVE_VIEWS, value.constructor.name) && "byteLength" in value
  );
}

type InstanceWire = [string, Record<string, unknown>, Record<string, unknown>?, Record<string, unknown>?];

extension<object, InstanceWire>(
  TAG_INSTANCE,
  handlesAsInstance,
  (value) => {
    const description = registry.describeInstance(value);
    if (!description) throw new MeshError("CANNOT_TRAVEL", refusal(value));
    const { id, properties, privates, env } = description;
    const wire: InstanceWire = [id, boxedInside(properties)];
    if (privates || env) wire.push(privates && boxedInside(privates));
    if (env) wire.push(boxedInside(env));
    return wire;
  },
  ([id, properties, privates, env]) => {
    checkFinished(privates, id);
    return registry.reviveInstance({ id, properties, ...(privates && { privates }), ...(env && { env }) });
  },
);

/** What nobody outside can reach later must be whole when it is handed over. */
function checkFinished(values: Record<string, unknown> | unknown[] | undefined, id: string): void {
  if (!values || !Object.values(values).some((value) => value instanceof Unfinished)) return;
  throw new MeshError(
    "CANNOT_TRAVEL",
    `${id} cannot travel inside an object of a class that it holds itself in a #private field or as a captured value`,
  );
}

interface ErrorWire {
  /** Class id in the bundle, for errors of the job's own classes. */
  id?: string;
  /** Name of the built-in class it is, or is closest to. */
  base: string;
  name: string;
  message: string;
  stack: string;
  cause?: [unknown];
  errors?: unknown[];
  fields: Record<string, unknown>;
  privates?: Record<string, unknown>;
}

// Set by the engine on every error ("line", "column", …): not the user's, and wrong on the other side.
const ENGINE_FIELDS = new Set(["line", "column", "sourceURL", "originalLine", "originalColumn", "stack", "message"]);

extension<Error, ErrorWire>(TAG_ERROR, (value) => value instanceof Error, describeError, reviveError);

function describeError(error: Error): ErrorWire {
  const own = registry.describeInstance(error);
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(own?.properties ?? error)) {
    if (!ENGINE_FIELDS.has(key) && key !== "cause" && key !== "errors") fields[key] = travelsOrText(value);
  }
  return {
    ...(own && { id: own.id, ...(own.privates && { privates: mapValues(own.privates, travelsOrText) }) }),
    base: builtInBase(error),
    name: String(error.name),
    message: String(error.message),
    stack: String(error.stack ?? ""),
    ...("cause" in error && { cause: [travelsOrText(error.cause)] as [unknown] }),
    ...(error instanceof AggregateError && { errors: error.errors.map(travelsOrText) }),
    fields,
  };
}

/** An error must always arrive: what hangs on it and cannot travel comes as text. */
function travelsOrText(value: unknown): unknown {
  if (value === null || (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol")) {
    return value;
  }
  try {
    new Boxer(registry).box(value, "value");
  } catch {
    return textOf(value);
  }
  return boxedInside(value);
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value); // it has no prototype, or throws
  }
}

function mapValues(fields: Record<string, unknown>, map: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, map(value)]));
}

function builtInBase(error: Error): string {
  if (error instanceof AggregateError) return "AggregateError";
  if (error instanceof DOMException) return "DOMException";
  if (error instanceof MeshError) return "MeshError";
  for (let at = Object.getPrototypeOf(error); at; at = Object.getPrototypeOf(at)) {
    const name = at.constructor?.name;
    if (name && ERRORS[name]?.prototype === at) return name;
  }
  return "Error";
}

function reviveError(wire: ErrorWire): Error {
  const error = bareError(wire);
  const cause = wire.cause;
  if (cause) define(error, "cause", cause[0]);
  define(error, "stack", printableStack(wire.stack));
  if (!wire.id && error.name !== wire.name) define(error, "name", wire.name);
  if (error.message !== wire.message && wire.base !== "DOMException") define(error, "message", wire.message);
  for (const [key, value] of Object.entries(wire.fields)) {
    if (key === "name" && wire.base === "MeshError") continue;
    Object.defineProperty(error, key, { value, writable: true, enumerable: true, configurable: true });
  }
  return error;
}

/** Bun prints an error by its `stack` only when every frame has a name: otherwise it shows where it was revived. */
function printableStack(stack: string): string {
  return stack.replace(/^(\s+at (?:async )?)((?:\/|\w+:)[^()\n]*:\d+:\d+)$/gm, "$1<anonymous> ($2)");
}

function bareError(wire: ErrorWire): Error {
  if (wire.id) {
    const { id, fields, privates } = wire;
    return registry.reviveInstance({ id, properties: fields, ...(privates && { privates }) }) as Error;
  }
  if (wire.base === "AggregateError") return new AggregateError(wire.errors ?? [], wire.message);
  if (wire.base === "DOMException") return new DOMException(wire.message, wire.name);
  if (wire.base === "MeshError") return new MeshError(wire.fields.code as never, wire.message);
  return new (ERRORS[wire.base] ?? Error)(wire.message);
}

function define(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
}

extension<FunctionBox, unknown>(
  TAG_FUNCTION,
  (value) => value instanceof FunctionBox,
  ({ fn }) => {
    const { id, locals, env } = registry.describeFunction(fn);
    return [id, boxedInside(locals), boxedInside(env)];
  },
  (wire) => {
    const [id, locals, env] = wire as [string, unknown[], Record<string, unknown>];
    checkFinished(locals, id);
    checkFinished(env, id);
    return registry.reviveFunction({ id, locals, env });
  },
);

extension<URL, string>(
  TAG_URL,
  (value) => value instanceof URL,
  (url) => url.href,
  (href) => new URL(href),
);

extension<ArrayBufferView | ArrayBuffer, [string, Uint8Array]>(
  TAG_VIEW,
  isView,
  (view) => {
    const bytes = ArrayBuffer.isView(view)
      ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
      : new Uint8Array(view);
    return [view.constructor.name, bytes];
  },
  ([name, bytes]) => {
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    return NATIVE_VIEWS[name]?.(buffer) ?? bytes;
  },
);

extension<Handle, HandleWire>(
  TAG_HANDLE,
  isHandle,
  (handle) => handle[HANDLE](),
  ([kind, fields]) => {
    const revive = handles.get(kind);
    if (revive) return revive(fields as never);
    throw new MeshError("CANNOT_TRAVEL", `a ${kind} cannot travel here: this process runs no job that could use it`);
  },
);
