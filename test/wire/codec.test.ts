import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMeshError, MESH_ERROR_CODES, MeshError } from "../../core/errors.ts";
import { checkCbor } from "../../core/wire/cbor-check.ts";
import { Codec } from "../../core/wire/codec.ts";
import {
  type AnyFunction,
  type FunctionDescription,
  HANDLE,
  type Handle,
  type HandleWire,
  type InstanceDescription,
  type TravelRegistry,
} from "../../core/wire/travel.ts";

const codec = new Codec();

function there(value: unknown): unknown {
  return codec.decode(codec.encode(value));
}

/** The MeshError that `act` throws. */
function refusal(act: () => unknown): MeshError {
  try {
    act();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const numbers = [0, 1, -1, 23, 24, 255, 256, 65_535, 65_536, 2 ** 31, -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32];
const typedArrays = [
  ...[new Int8Array([-1, 2]), new Uint8Array([1, 255]), new Uint8ClampedArray([1, 255]), new Int16Array([-300, 2])],
  ...[new Uint16Array([60_000]), new Int32Array([-70_000]), new Uint32Array([2 ** 32 - 1]), new Float32Array([0.5])],
  ...[new Float64Array([0.1, -0, Number.NaN]), new BigInt64Array([-5n]), new BigUint64Array([2n ** 63n])],
  ...[new Float16Array([0.5, -2])],
];

describe("Codec: values arrive as what they were", () => {
  const table: [string, unknown][] = [
    ["null", null],
    ["undefined", undefined],
    ["booleans", [true, false]],
    ["whole numbers", [...numbers, ...numbers.map((n) => -n - 1), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]],
    ["fractions", [0.1, -1.5, 1e300, 5e-324, Number.MAX_VALUE]],
    ["numbers that are none", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
    ["strings", ["", "a", "é", "日本", "😀", "a\0b", "x".repeat(200), "é".repeat(70_000), "x".repeat(70_000)]],
    ["large integers", [0n, 1n, -1n, 2n ** 53n, 2n ** 63n, 2n ** 64n, -(2n ** 64n) - 1n, 2n ** 2_000n]],
    ["dates", [new Date(0), new Date(1_234_567_890_123), new Date(-1), new Date(8.64e15)]],
    ["regular expressions", [/a\/b/giu, /^$/m]],
    ["nested lists", [[], [[[]]], [1, [2, [3]]]]],
    ["objects", { a: 1, b: { c: [{ d: null }] }, "": 1, "1": 2 }],
    ["objects with undefined", { a: undefined }],
    [
      "a Map with any keys",
      new Map<unknown, unknown>([
        [1, "a"],
        ["b", { c: 1 }],
        [null, undefined],
        [NaN, []],
      ]),
    ],
    ["a Map in an object beside objects", { m: new Map([["a", { b: new Map([[1, 2]]) }]]), o: { a: 1 } }],
    ["Sets", new Set<unknown>([1, "a", new Date(5), new Set([2])])],
    ["a Buffer", Buffer.from("bytes")],
  ];
  it.each(table)("%s", (_name, value) => {
    expect(there(value)).toEqual(value);
  });

  it.each(typedArrays.map((array) => [array.constructor.name, array] as const))("%s", (_name, array) => {
    const back = there({ array }) as { array: typeof array };
    expect(back.array.constructor).toBe(array.constructor);
    expect(Object.is(back.array.length, array.length)).toBe(true);
    expect([...back.array]).toEqual([...array]);
  });

  it("a view of part of a larger buffer brings its part alone", () => {
    const large = new Uint8Array(1_000_000).fill(7);
    const bytes = codec.encode(large.subarray(10, 13));
    expect(bytes.length).toBeLessThan(20);
    expect(codec.decode(bytes)).toEqual(new Uint8Array([7, 7, 7]));
    expect(there(new Float64Array(large.buffer, 8, 2))).toEqual(new Float64Array(large.buffer, 8, 2));
  });

  it("ArrayBuffer, SharedArrayBuffer and DataView", () => {
    const { buffer } = new Uint8Array([1, 2, 3]);
    const back = there(buffer) as ArrayBuffer;
    expect(back).toBeInstanceOf(ArrayBuffer);
    expect(new Uint8Array(back)).toEqual(new Uint8Array([1, 2, 3]));
    expect((there(new SharedArrayBuffer(5)) as ArrayBuffer).byteLength).toBe(5);
    const view = there(new DataView(buffer, 1, 2)) as DataView;
    expect(view).toBeInstanceOf(DataView);
    expect([view.byteLength, view.getUint8(0), view.getUint8(1)]).toEqual([2, 2, 3]);
  });

  it("URL", () => {
    const url = there({ at: new URL("https://user@example.net:8443/a?b=1#c") }) as { at: URL };
    expect(url.at).toBeInstanceOf(URL);
    expect(url.at.href).toBe("https://user@example.net:8443/a?b=1#c");
  });

  it("an invalid Date stays an invalid Date", () => {
    expect((there(new Date(Number.NaN)) as Date).getTime()).toBeNaN();
  });

  it("objects with 70,000 keys, whole", () => {
    const many = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`key${i}`, i]));
    const back = there(many) as Record<string, number>;
    expect(Object.keys(back)).toHaveLength(70_000);
    expect(back.key69999).toBe(69_999);
    const map = there(new Map(Object.entries(many))) as Map<string, number>;
    expect(map.size).toBe(70_000);
  });

  it("keys named like members of every object", () => {
    const words = { constructor: 5, toString: 1, hasOwnProperty: 2, valueOf: null };
    expect(there(words)).toEqual(words);
    expect(there([{ constructor: "mason", fn: [words] }])).toEqual([{ constructor: "mason", fn: [words] }]);
  });

  it("a decoded value does not change with the bytes it came from", () => {
    const bytes = codec.encode({ data: new Uint8Array([1, 2, 3]), buffer: Buffer.from("abc") });
    const value = codec.decode(bytes) as { data: Uint8Array; buffer: Buffer };
    bytes.fill(0);
    expect(value.data).toEqual(new Uint8Array([1, 2, 3]));
    expect(value.buffer.toString()).toBe("abc");
  });

  it("property: any tree of plain data", () => {
    const data = fc.anything({ withBigInt: true, withMap: true, withSet: true, withTypedArray: true });
    fc.assert(
      fc.property(data, (value) => {
        expect(listed(there(value))).toStrictEqual(listed(changed(value)));
      }),
      { numRuns: 500 },
    );
  });

  // Seconds in a double: from the year 140,000 on they are right to within 1 ms.
  it("property: any date up to the year 9999", () => {
    fc.assert(
      fc.property(fc.date({ max: new Date("9999-12-31T23:59:59.999Z"), min: new Date("-009999-01-01") }), (date) => {
        expect((there(date) as Date).getTime()).toBe(date.getTime());
      }),
    );
  });
});

/**
 * The same with a list in place of every Map and Set: they arrive in the order they were sent in, and what compares
 * them without an order pairs entries wrongly where two keys are equal but not the same (two empty Sets).
 */
function listed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(listed);
  if (value instanceof Map) return { map: [...value].map(([key, entry]) => [listed(key), listed(entry)]) };
  if (value instanceof Set) return { set: [...value].map(listed) };
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, listed(field)]));
}

/** What PROTOCOL.md says arrives for a value. */
function changed(value: unknown): unknown {
  if (Object.is(value, -0)) return 0;
  if (Array.isArray(value)) return Array.from(value, changed);
  if (value instanceof Map) return new Map([...value].map(([key, entry]) => [changed(key), changed(entry)]));
  if (value instanceof Set) return new Set([...value].map(changed));
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return value;
  const fields = Object.entries(value).map(([key, field]) => [arrivingKey(key), changed(field)]);
  return Object.fromEntries(fields);
}

function arrivingKey(key: string): string {
  return key === "__proto__" ? "__proto_" : key;
}

describe("Codec: what is changed on the way, as PROTOCOL.md says", () => {
  it("-0 arrives as 0, except in typed arrays", () => {
    expect(Object.is(there(-0), 0)).toBe(true);
    expect(Object.is((there({ a: -0 }) as { a: number }).a, 0)).toBe(true);
    expect(Object.is((there(new Float64Array([-0])) as Float64Array)[0], -0)).toBe(true);
  });

  it("holes of a list arrive as undefined", () => {
    const holed = [1, 2, 3];
    delete holed[1];
    const back = there(holed) as unknown[];
    expect(back).toEqual([1, undefined, 3]);
    expect(1 in back).toBe(true);
  });

  it("half a surrogate pair arrives as one to three U+FFFD, in short and long strings and in keys", () => {
    expect(there("a\ud800b")).toMatch(/^a\ufffd{1,3}b$/);
    expect(there(`${"x".repeat(100)}\udc00`)).toMatch(/^x{100}\ufffd{1,3}$/);
    expect(Object.keys(there({ "\ud800": 1 }) as object)[0]).toMatch(/^\ufffd{1,3}$/);
    expect(there("😀")).toBe("😀");
  });

  it("a key __proto__ arrives as __proto_ and changes no prototype", () => {
    const bad = JSON.parse('{"__proto__": {"polluted": true}, "list": [{"__proto__": {"polluted": true}}]}');
    const back = there(bad) as { list: object[] };
    expect(Object.keys(back)).toEqual(["__proto_", "list"]);
    for (const object of [back, back.list[0]!, {}]) {
      expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
      expect("polluted" in object).toBe(false);
    }
  });

  it("a key __proto__ beside a function changes no prototype either", () => {
    const bad = JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>;
    const travel = new FakeRegistry();
    bad.f = travel.add("f", () => 1);
    const back = new Codec(travel).decode(new Codec(travel).encode(bad)) as object;
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(Object.keys(back)).toEqual(["__proto_", "f"]);
  });

  it("fields by symbol and accessors: the first stay behind, the second arrive as values", () => {
    const back = there({ [Symbol("s")]: 1, get a() { return 5; } }) as object; // biome-ignore format: short
    expect(Object.getOwnPropertyDescriptor(back, "a")).toMatchObject({ value: 5 });
    expect(Object.getOwnPropertySymbols(back)).toEqual([]);
  });

  it("objects without prototype and Array subclasses arrive plain", () => {
    expect(there(Object.assign(Object.create(null), { a: 1 }))).toEqual({ a: 1 });
    class List extends Array {}
    const back = there(List.from([1, 2])) as unknown[];
    expect([back.constructor, back]).toEqual([Array, [1, 2]]);
  });
});

describe("Codec: shared and cyclic values", () => {
  it("what is the same object there is the same object here", () => {
    const shared = { q: 1 };
    const date = new Date(5);
    const list = new Float64Array(2);
    const back = there({
      a: shared,
      b: [shared],
      map: new Map([[shared, shared]]),
      date,
      dates: [date],
      list,
      l: [list],
    });
    const { a, b, map, ...rest } = back as Record<string, unknown> & { b: unknown[]; map: Map<unknown, unknown> };
    expect(b[0]).toBe(a);
    expect([...map.entries()][0]).toEqual([a, a]);
    expect([...map.keys()][0]).toBe(a);
    expect((rest.dates as unknown[])[0]).toBe(rest.date);
    expect((rest.l as unknown[])[0]).toBe(rest.list);
  });

  it("lists, objects, Maps, Sets and errors that hold themselves", () => {
    const list: unknown[] = [1];
    list.push(list);
    const object: Record<string, unknown> = { list };
    object.self = object;
    const map = new Map<unknown, unknown>([["first", 1]]);
    map.set("self", map).set(map, "as key").set("last", 2);
    const set = new Set<unknown>(["first"]);
    set.add(set).add("last");
    const error = new Error("e") as Error & { self: unknown };
    error.self = error;
    error.cause = error;
    const back = there({ list, object, map, set, error }) as {
      list: unknown[];
      object: Record<string, unknown>;
      map: Map<unknown, unknown>;
      set: Set<unknown>;
      error: Error & { self: unknown };
    };
    expect(back.list[1]).toBe(back.list);
    expect(back.object.self).toBe(back.object);
    expect(back.object.list).toBe(back.list);
    expect(back.map.get("self")).toBe(back.map);
    expect([...back.map.keys()]).toEqual(["first", "self", back.map, "last"]);
    expect(back.set.has(back.set)).toBe(true);
    expect([...back.set]).toEqual(["first", back.set, "last"]);
    expect(back.error.self).toBe(back.error);
    expect(back.error.cause).toBe(back.error);
  });

  it("Maps that hold each other", () => {
    const a = new Map<string, unknown>();
    const b = new Map<string, unknown>([["a", a]]);
    a.set("b", b);
    const back = there([a, b]) as Map<string, Map<string, unknown>>[];
    expect(back[0]!.get("b")).toBe(back[1]);
    expect(back[1]!.get("a")).toBe(back[0]);
  });

  it("more objects met twice than references can name are refused, not mixed up", () => {
    const list = (count: number) => Array.from({ length: count }, (_, i) => ({ i })).flatMap((o) => [o, o]);
    const back = there(list(65_000)) as { i: number }[];
    expect(back.every((object, at) => object.i === at >> 1 && object === back[at & ~1])).toBe(true);
    const error = refusal(() => codec.encode(list(0x10001), "items"));
    expect(error.code).toBe("CANNOT_TRAVEL");
    expect(error.message).toMatch(/^items holds over 65536 objects more than once/);
  });

  it("a failure to encode or decode leaves nothing behind for the next value", () => {
    const shared = { q: 1 };
    const bad = [{ b: shared }, shared, Promise.resolve()];
    for (const hex of ["", "d81c", "d81d00", "d81c81d81d05", "d90103a1", "d90103", "9f01", "d81ca1", "d90102", "a1"]) {
      expect(refusal(() => codec.encode(bad)).code).toBe("CANNOT_TRAVEL");
      expect(refusal(() => codec.decode(Buffer.from(hex, "hex"))).code).toBe("PROTOCOL");
      const back = there({ a: shared, b: shared, m: new Map([[1, { c: 2 }]]) }) as Record<string, unknown>;
      expect(back).toEqual({ a: { q: 1 }, b: { q: 1 }, m: new Map([[1, { c: 2 }]]) });
      expect(back.a).toBe(back.b);
    }
  });
});

describe("Codec: errors", () => {
  const classes = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError];
  it.each(classes.map((type) => [type.name, type] as const))("%s with its chain of causes", (name, type) => {
    const error = new type("outer", { cause: new type("middle", { cause: { plain: [1] } }) });
    const back = there(error) as Error & { cause: Error };
    expect(back).toBeInstanceOf(type);
    expect([back.name, back.message]).toEqual([name, "outer"]);
    expect(back.cause).toBeInstanceOf(type);
    expect(back.cause.message).toBe("middle");
    expect(back.cause.cause).toEqual({ plain: [1] });
    expect(Object.keys(back)).toEqual([]);
  });

  it("no cause is no cause, and undefined is one", () => {
    expect("cause" in (there(new Error("x")) as Error)).toBe(false);
    expect("cause" in (there(new Error("x", { cause: undefined })) as Error)).toBe(true);
  });

  it("AggregateError with its errors", () => {
    const back = there(new AggregateError([new TypeError("a"), 5, { b: 1 }], "all")) as AggregateError;
    expect(back).toBeInstanceOf(AggregateError);
    expect(back.message).toBe("all");
    expect(back.errors[0]).toBeInstanceOf(TypeError);
    expect(back.errors.slice(1)).toEqual([5, { b: 1 }]);
  });

  it("DOMException with its name and code", () => {
    const back = there(new DOMException("stop", "AbortError")) as DOMException;
    expect(back).toBeInstanceOf(DOMException);
    expect([back.name, back.message, back.code]).toEqual(["AbortError", "stop", DOMException.ABORT_ERR]);
  });

  it.each(MESH_ERROR_CODES.map((code) => [code]))("MeshError %s", (code) => {
    const back = there(new MeshError(code, "why", { cause: new RangeError("deep") })) as MeshError;
    expect(back).toBeInstanceOf(MeshError);
    expect(isMeshError(back, code)).toBe(true);
    expect([back.message, (back.cause as Error).message]).toEqual(["why", "deep"]);
  });

  it("fields and a name of its own travel along", () => {
    const error = Object.assign(new TypeError("x"), { code: "E_CODE", details: { at: [1, new Date(5)] } });
    error.name = "OwnName";
    const back = there(error) as typeof error;
    expect(back).toBeInstanceOf(TypeError);
    expect([back.name, back.code]).toEqual(["OwnName", "E_CODE"]);
    expect(back.details).toEqual({ at: [1, new Date(5)] });
  });

  it("a class that is not the job's own arrives as the built-in one it extends", () => {
    class LibraryError extends RangeError {
      override name = "LibraryError";
      status = 404;
    }
    const back = there(new LibraryError("gone")) as LibraryError;
    expect(back).toBeInstanceOf(RangeError);
    expect([back.name, back.status]).toEqual(["LibraryError", 404]);
  });

  it("what hangs on an error and cannot travel comes as text", () => {
    const error = Object.assign(new Error("x", { cause: () => 1 }), {
      socket: new WeakMap(),
      symbol: Symbol("s"),
      deep: { promise: Promise.resolve() },
      stays: 1,
    });
    const back = there(error) as typeof error;
    expect(back.cause).toBe("() => 1");
    expect(back).toMatchObject({ socket: "[object WeakMap]", symbol: "Symbol(s)", deep: "[object Object]", stays: 1 });
  });

  it("what hangs on an error and has no text either does not keep the error from arriving", () => {
    const silent = Object.assign(Object.create(null), { f: () => 1 });
    const back = there(Object.assign(new Error("x"), { silent })) as Error & { silent: unknown };
    expect(back.message).toBe("x");
    expect(typeof back.silent).toBe("string");
  });

  it("its stack has the sender's lines, each with a name so that Bun prints them", () => {
    const error = new Error("x");
    error.stack = "Error: x\n    at f (/job/a.ts:1:2)\n    at /job/a.ts:3:4\n    at async /job/a.ts:5:6";
    expect((there(error) as Error).stack).toBe(
      "Error: x\n    at f (/job/a.ts:1:2)\n    at <anonymous> (/job/a.ts:3:4)\n    at async <anonymous> (/job/a.ts:5:6)",
    );
  });
});

describe("Codec: refusals name the path", () => {
  class Socket {}
  class Inventory extends Map {}
  const table: [string, unknown, RegExp][] = [
    ["a function", [{ a: [1, { f() {} }] }], /^args\[0\]\.a\[1\]\.f: the function f cannot travel/],
    ["a promise", { p: [Promise.resolve()] }, /^args\.p\[0\]: a Promise cannot travel: await it first/],
    ["a symbol", { s: Symbol("q") }, /^args\.s: a symbol cannot travel: Symbol\(q\)/],
    ["a boxed number", [Object(1)], /^args\[0\]: a Number cannot travel/],
    ["a boxed string", [Object("s")], /^args\[0\]: a String cannot travel/],
    ["a boxed boolean", [Object(true)], /^args\[0\]: a Boolean cannot travel/],
    ["a boxed BigInt", [Object(1n)], /^args\[0\]: a BigInt cannot travel/],
    ["a Blob", new Blob(["x"]), /^args: a Blob cannot travel/],
    ["a WeakMap", { w: new WeakMap() }, /^args\.w: a WeakMap cannot travel/],
    ["a generator", [(function* () {})()], /^args\[0\]: an object of an unknown class cannot travel/],
    ["a subclass of Map", { m: new Inventory() }, /^args\.m: an Inventory cannot travel/],
    ["an instance of a class nobody knows", [new Socket()], /^args\[0\]: a Socket cannot travel/],
    ["something in a Map", new Map([["k", Promise.resolve()]]), /^args\.get\(k\): a Promise/],
    ["something as a Map's key", new Map([[Promise.resolve(), 1]]), /^args, key \[object Promise\]: a Promise/],
    ["something in a Set", new Set([Promise.resolve()]), /^args, an element: a Promise/],
  ];
  it.each(table)("%s", (_name, value, message) => {
    const error = refusal(() => codec.encode(value, "args"));
    expect(error.code).toBe("CANNOT_TRAVEL");
    expect(error.message).toMatch(message);
  });

  it("a value nested too deeply", () => {
    let deep: unknown[] = [];
    for (let i = 0; i < 200_000; i++) deep = [deep];
    expect(refusal(() => codec.encode(deep, "args")).message).toBe("args is nested too deeply to be sent");
  });

  it("bytes that are no value", () => {
    for (const hex of ["", "0102", "1c", "5801", "81", "c2", "fb00", "d94d49"]) {
      expect([hex, refusal(() => codec.decode(Buffer.from(hex, "hex"))).code]).toEqual([hex, "PROTOCOL"]);
    }
  });
});

class TreeNode {
  parent: TreeNode | undefined;
  children: TreeNode[] = [];
  action: AnyFunction | undefined;
}
class OwnError extends TypeError {
  action: AnyFunction | undefined;
}

/** Knows functions by name, and the two classes above. */
class FakeRegistry implements TravelRegistry {
  readonly #functions = new Map<AnyFunction, FunctionDescription>();
  readonly #factories = new Map<string, (locals: unknown[], env: Record<string, unknown>) => AnyFunction>();
  /** What reviveFunction was handed. */
  readonly revived: FunctionDescription[] = [];

  add<F extends AnyFunction>(id: string, fn: F, locals: unknown[] = [], env: Record<string, unknown> = {}): F {
    this.#functions.set(fn, { id, locals, env });
    this.#factories.set(id, () => fn);
    return fn;
  }

  /** A function made anew on the other side from the values it captured. */
  made(id: string, fn: AnyFunction, locals: unknown[], make: (...locals: never[]) => AnyFunction): AnyFunction {
    this.#functions.set(fn, { id, locals, env: {} });
    this.#factories.set(id, (values) => make(...(values as never[])));
    return fn;
  }

  describeFunction(fn: AnyFunction): FunctionDescription {
    const known = this.#functions.get(fn);
    if (!known) throw new MeshError("CANNOT_TRAVEL", `${fn.name} is not known`);
    return known;
  }

  reviveFunction(description: FunctionDescription): AnyFunction {
    this.revived.push(description);
    return this.#factories.get(description.id)!(description.locals, description.env);
  }

  describeInstance(instance: object): InstanceDescription | undefined {
    if (instance instanceof TreeNode) return { id: "TreeNode", properties: { ...instance } };
    if (instance instanceof OwnError) return { id: "OwnError", properties: { ...instance } };
    return undefined;
  }

  reviveInstance({ id, properties }: InstanceDescription): object {
    return Object.assign(id === "TreeNode" ? new TreeNode() : new OwnError(), properties);
  }
}

describe("Codec: functions and instances of the job", () => {
  const travel = new FakeRegistry();
  const twice = travel.add("job.ts#twice", (x: number) => 2 * x, [7, { a: 1 }], { k: [3] });
  const job = new Codec(travel);
  const roundTrip = (value: unknown) => job.decode(job.encode(value));

  it("a function arrives by id, with its captured values", () => {
    travel.revived.length = 0;
    expect(roundTrip(twice)).toBe(twice);
    expect(travel.revived).toEqual([{ id: "job.ts#twice", locals: [7, { a: 1 }], env: { k: [3] } }]);
  });

  it("functions anywhere: lists, objects, Maps, Sets, fields of instances and errors", () => {
    const node = Object.assign(new TreeNode(), { action: twice });
    const error = Object.assign(new OwnError("own"), { action: twice });
    const back = roundTrip({
      list: [[twice]],
      object: { f: twice },
      map: new Map<unknown, unknown>([
        ["f", twice],
        [twice, 1],
      ]),
      set: new Set([twice]),
      node,
      error,
      plainError: Object.assign(new Error("plain"), { action: twice }),
    }) as Record<string, unknown>;
    expect((back.list as unknown[][])[0]![0]).toBe(twice);
    expect((back.object as { f: unknown }).f).toBe(twice);
    expect([...(back.map as Map<unknown, unknown>)]).toEqual([
      ["f", twice],
      [twice, 1],
    ]);
    expect((back.set as Set<unknown>).has(twice)).toBe(true);
    expect(back.node).toBeInstanceOf(TreeNode);
    expect((back.node as TreeNode).action).toBe(twice);
    expect(back.error).toBeInstanceOf(OwnError);
    expect((back.error as OwnError).action).toBe(twice);
    expect((back.error as OwnError).message).toBe("own");
    expect((back.plainError as { action: unknown }).action).toBe(twice);
  });

  it("functions among what a function captured", () => {
    travel.revived.length = 0;
    const outer = travel.add("job.ts#outer", () => {}, [twice], { helper: twice });
    expect(roundTrip([outer])).toEqual([outer]);
    expect(travel.revived.find(({ id }) => id === "job.ts#outer")).toMatchObject({
      locals: [twice],
      env: { helper: twice },
    });
  });

  it("what a function captured and cannot travel is named", () => {
    const bad = travel.add("job.ts#bad", () => {}, [Promise.resolve()], {});
    const worse = travel.add("job.ts#worse", () => {}, [], { socket: new WeakMap() });
    expect(refusal(() => job.encode([bad], "args")).message).toMatch(/^args\[0\] \(captured value 1\): a Promise/);
    expect(refusal(() => job.encode({ worse }, "args")).message).toMatch(/^args\.worse \(captured socket\): a WeakMap/);
    expect(refusal(() => job.encode([() => 1], "args")).message).toMatch(/^args\[0\]: {2}?is not known|^args\[0\]: /);
  });

  it("what an instance holds and cannot travel is named", () => {
    const node = Object.assign(new TreeNode(), { children: [{ x: Symbol("s") }] });
    expect(refusal(() => job.encode([node], "args")).message).toMatch(/^args\[0\]\.children\[0\]\.x: a symbol/);
  });

  it("a function that captured itself calls itself on the other side", () => {
    const locals: unknown[] = [];
    const make = (self: (n: number) => number) => (n: number) => (n < 2 ? 1 : n * self(n - 1));
    const factorial = travel.made("job.ts#factorial", () => 0, locals, make as never);
    locals.push(factorial);
    const back = roundTrip({ factorial, list: [factorial] }) as { factorial: (n: number) => number; list: unknown[] };
    expect(back.factorial(5)).toBe(120);
    expect(back.list[0]).toBe(back.factorial);
  });

  it("a function that captured the object it is in sees that object", () => {
    const locals: unknown[] = [];
    const make = (object: { n: number }) => () => object.n;
    const object = { n: 5, get: travel.made("job.ts#get", () => 0, locals, make as never) };
    locals.push(object);
    const back = roundTrip(object) as { n: number; get: () => number };
    back.n = 6;
    expect(back.get()).toBe(6);
  });

  it("a node with its parent, 40 levels deep: every link leads to the very object", () => {
    const root = new TreeNode();
    let at = root;
    for (let i = 0; i < 40; i++) {
      const child = Object.assign(new TreeNode(), { parent: at });
      at.children.push(child, Object.assign(new TreeNode(), { parent: at }));
      at = child;
    }
    let back = roundTrip(root) as TreeNode;
    expect(back.parent).toBeUndefined();
    for (let i = 0; i < 40; i++) {
      expect(back).toBeInstanceOf(TreeNode);
      for (const child of back.children) expect(child.parent).toBe(back);
      back = back.children[0]!;
    }
    expect(back.children).toEqual([]);
  });

  it("an instance that is its own parent, met from outside too", () => {
    const node = new TreeNode();
    node.parent = node;
    const back = roundTrip({ node, map: new Map([[node, node]]), set: new Set([node]) }) as {
      node: TreeNode;
      map: Map<unknown, unknown>;
      set: Set<unknown>;
    };
    expect(back.node.parent).toBe(back.node);
    expect(back.map.get(back.node)).toBe(back.node);
    expect(back.set.has(back.node)).toBe(true);
  });

  it("an instance inside what it captured for good is refused in words, not damaged", () => {
    const locals: unknown[] = [];
    const node = new TreeNode();
    node.action = travel.made("job.ts#useNode", () => 0, locals, ((n: unknown) => () => n) as never);
    locals.push(node);
    const error = refusal(() => roundTrip(node));
    expect(error.code).toBe("CANNOT_TRAVEL");
    expect(error.message).toContain("job.ts#useNode");
  });

  it("all of these pass the check of control messages", () => {
    for (const value of [
      twice,
      new OwnError("x"),
      new TreeNode(),
      [new URL("http://a/"), new DataView(new ArrayBuffer(1))],
    ]) {
      checkCbor(job.encode(value));
    }
  });
});

describe("Codec: handles", () => {
  class Door implements Handle {
    readonly place: { node: number; name: string };
    constructor(place: { node: number; name: string }) {
      this.place = place;
    }
    [HANDLE](): HandleWire {
      if (this.place.node < 0) throw new MeshError("CANNOT_TRAVEL", "a door that was taken out cannot travel");
      return ["door", [this.place.node, this.place.name]];
    }
  }
  const doors = new Codec();
  doors.handles.set("door", ([node, name]: [number, string]) => new Door({ node, name: `${name}, elsewhere` }));
  const elsewhere = <T>(value: T): T => doors.decode(doors.encode(value)) as T;
  const door = new Door({ node: 7, name: "front" });

  it("arrive as what their kind makes of them, nested anywhere", () => {
    const value = {
      list: [door],
      map: new Map([["d", new Set([door])]]),
      error: Object.assign(new Error("x"), { door }),
    };
    const back = elsewhere(value);
    for (const each of [back.list[0], [...back.map.get("d")!][0], back.error.door]) {
      expect(each).toBeInstanceOf(Door);
      expect((each as Door).place).toEqual({ node: 7, name: "front, elsewhere" });
    }
  });

  it("stay one where they are met twice", () => {
    const back = elsewhere([door, { door }] as const);
    expect(back[0]).toBe(back[1].door);
  });

  it("travel beside functions, and as what a function captured", () => {
    const registry = new FakeRegistry();
    const job = new Codec(registry);
    job.handles.set("door", ([node]: [number]) => new Door({ node, name: "again" }));
    const fn = registry.made("job.ts#open", () => 0, [door], ((d: Door) => () => d) as never);
    const back = job.decode(job.encode({ fn, door })) as { fn: () => Door; door: Door };
    expect([back.fn(), back.door].map((each) => each instanceof Door)).toEqual([true, true]);
  });

  it("that refuse are named by their path", () => {
    const gone = new Door({ node: -1, name: "gone" });
    expect(refusal(() => doors.encode({ a: [gone] }, "args[0]")).message).toBe(
      "args[0].a[0]: a door that was taken out cannot travel",
    );
  });

  it("of a kind that this process does not know are refused in words", () => {
    const error = refusal(() => codec.decode(doors.encode([door])));
    expect([error.code, error.message]).toEqual([
      "CANNOT_TRAVEL",
      expect.stringContaining("a door cannot travel here"),
    ]);
  });

  it("pass the check of control messages", () => {
    checkCbor(doors.encode({ door }));
  });
});

describe("Codec: typed arrays", () => {
  it("have memory of their own, exactly as much as they need", () => {
    for (const sent of typedArrays.slice(0, -1)) {
      const bytes = codec.encode([sent, sent.constructor === Uint8Array]);
      const [back] = codec.decode(bytes) as [typeof sent];
      bytes.fill(0);
      expect(back).toEqual(sent);
      expect(back.buffer.byteLength).toBe(sent.byteLength);
    }
  });
});
