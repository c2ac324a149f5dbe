// The run-time half of functions that travel: what the generated code of a bundle registers here, and how functions and
// instances of the job's classes are described for the wire and made again from it. No parser, no I/O: every slot loads it.

import { MeshError } from "../errors.ts";
import type { FunctionDescription, InstanceDescription, TravelRegistry } from "../wire/travel.ts";

/** Where generated code finds the registry of its process. */
export const REGISTRY_SYMBOL = Symbol.for("mesh.registry");

// biome-ignore lint/complexity/noBannedTypes: functions and classes of any signature are registered
type AnyFunction = Function;
type Factory = (...locals: unknown[]) => AnyFunction;
type EnvAccess = [get: () => unknown, set?: (value: unknown) => void];
type Falsy = 0 | undefined;

/** How to reach what lies hidden in the instances of one class; made by a static block inside its body. */
interface Slots {
  /** Values of `#private` fields and auto-accessors by name. */
  read(instance: object): Record<string, unknown>;
  write(instance: object, values: Record<string, unknown>): void;
  /** Public fields whose initialiser is a function: the initialiser makes them again, they do not travel. */
  own: readonly string[];
  /** Why instances cannot be made again, if so. */
  refused?: string;
}

interface FunctionRecord {
  id: string;
  locals: (() => unknown[]) | Falsy;
  env: readonly string[] | Falsy;
  /** Why it cannot travel, as found at build time. */
  reason: string | Falsy;
  /** What `locals` are called, in their order. */
  localNames?: readonly string[] | Falsy;
}

interface ClassRecord extends FunctionRecord {
  type: AnyFunction;
}

/** What instances of a class are made of, over all classes of its chain. */
interface Shape {
  /** Most derived first; `prefix` goes before the names of hidden fields on the wire. */
  slots: (Slots & { prefix: string })[];
  own: Set<string>;
  refused: string | undefined;
}

/** A task's function, ready to be called in this process. */
export interface RevivedTask {
  /** The function itself: nothing stands between the caller and the user's code. */
  call: (...args: unknown[]) => unknown;
  /** Puts the script's top-level data in place; call it before each run. */
  activate(): void;
}

/** Knows the functions and classes of the job's bundle in this process. One per process, see `installRegistry`. */
export class JobRegistry implements TravelRegistry {
  /** The class whose instance is being made without its constructor's body; read by guards in generated constructors. */
  reviving: AnyFunction | undefined;

  readonly #records = new WeakMap<AnyFunction, FunctionRecord>();
  readonly #named = new Map<string, AnyFunction>();
  readonly #factories = new Map<string, Factory>();
  readonly #classes = new WeakMap<object, ClassRecord>();
  readonly #slots = new WeakMap<AnyFunction, Slots>();
  readonly #env = new Map<string, EnvAccess>();
  readonly #shapes = new WeakMap<AnyFunction, Shape>();
  #activated: Record<string, unknown> | undefined;

  // Called by generated code.

  /** Registers a module-level function or class under its name. */
  top<F>(value: F, id: string, env?: readonly string[] | Falsy, reason?: string | Falsy): F {
    if (typeof value !== "function") return value;
    const record = { id, locals: 0 as const, env, reason };
    this.#records.set(value, record);
    this.#named.set(id, value);
    if (isClass(value)) this.#classes.set(value.prototype, { ...record, type: value });
    restoreName(value, id.slice(id.lastIndexOf("#") + 1));
    return value;
  }

  /** Gives a function made where it is handed over its id and a way to read what it captures, later. */
  fn<F>(
    value: F,
    id: string,
    locals?: (() => unknown[]) | Falsy,
    env?: readonly string[] | Falsy,
    localNames?: readonly string[] | Falsy,
  ): F {
    if (typeof value === "function") this.#records.set(value, { id, locals, env, reason: 0, localNames });
    return value;
  }

  /** Gives a function that an expression such as `path.basename` yields an id, unless it has one. */
  ref<F>(value: F, id: string): F {
    if (typeof value === "function" && !this.#records.has(value)) {
      this.#records.set(value, { id, locals: 0, env: 0, reason: 0 });
    }
    return value;
  }

  /** Registers what makes the extracted functions from their captured values. */
  factories(factories: Record<string, Factory>): void {
    for (const [id, factory] of Object.entries(factories)) this.#factories.set(id, factory);
  }

  /** Registers how the script's top-level data is read and, in a worker, set. */
  env(accesses: Record<string, EnvAccess>): void {
    for (const [name, access] of Object.entries(accesses)) this.#env.set(name, access);
  }

  /** Registers how to reach the hidden fields of a class's instances. */
  slots(type: AnyFunction, slots: Slots): void {
    this.#slots.set(type, slots);
  }

  /** Arguments for `super(...)` while an instance is made without constructor bodies; none for a foreign base class. */
  blanks(id: string): unknown[] {
    const own = this.#named.get(id);
    const parent = own && Object.getPrototypeOf(own);
    return parent && this.#records.has(parent) ? BLANKS : [];
  }

  // Called by the codec and the slots.

  /** Says how `fn` travels; reads its captured values now. Throws CANNOT_TRAVEL when the bundle does not know it. */
  describeFunction(fn: (...args: never[]) => unknown): FunctionDescription {
    const record = this.#records.get(fn);
    if (!record) throw unknownFunction(fn);
    if (record.reason) throw new MeshError("CANNOT_TRAVEL", `${nameOf(fn)} cannot travel: ${record.reason}`);
    return { id: record.id, locals: readLocals(record, fn), env: this.#readEnv(record) };
  }

  /** What the captured values of a function are called, in the order of `locals`; for messages. */
  localNames(fn: (...args: never[]) => unknown): readonly string[] {
    return this.#records.get(fn)?.localNames || [];
  }

  /** Makes the described function of this process's bundle, and remembers it so that it can travel on. */
  reviveFunction(description: FunctionDescription): (...args: never[]) => unknown {
    this.#applyEnv(description.env);
    return this.#make(description) as (...args: never[]) => unknown;
  }

  /** Like `reviveFunction`, but leaves the top-level data alone until `activate` is called. */
  reviveTask(description: FunctionDescription): RevivedTask {
    const call = this.#make(description) as RevivedTask["call"];
    return { call, activate: () => this.#applyEnv(description.env) };
  }

  /** Says how an instance of one of the job's classes travels; undefined when its class is not one of them. */
  describeInstance(instance: object): InstanceDescription | undefined {
    const prototype = Object.getPrototypeOf(instance);
    const record = prototype && this.#classes.get(prototype);
    if (!record) return undefined;
    const shape = this.#shapeOf(record.type);
    const refused = record.reason || shape.refused;
    if (refused) throw new MeshError("CANNOT_TRAVEL", `a ${record.id} cannot travel: ${refused}`);
    const description: InstanceDescription = { id: record.id, properties: readProperties(instance, shape) };
    if (shape.slots.length > 0) description.privates = readPrivates(instance, shape);
    if (record.env && record.env.length > 0) description.env = this.#readEnv(record);
    return description;
  }

  /**
   * Makes an instance without running constructor bodies. Field initialisers run only when a class of the chain has
   * `#private` members, accessors or fields that hold functions, which nothing else can make; what travelled then
   * replaces their values.
   */
  reviveInstance(description: InstanceDescription): object {
    const type = this.classById(description.id);
    const shape = this.#shapeOf(type);
    if (description.env) this.#applyEnv(description.env);
    const instance = shape.slots.length === 0 ? bareInstance(type) : this.#constructBlank(type);
    if (shape.slots.length > 0) removeOthers(instance, description.properties, shape);
    for (const [name, value] of Object.entries(description.properties)) define(instance, name, value);
    if (description.privates) writePrivates(instance, description.privates, shape);
    return instance;
  }

  /** The id of the registered class whose prototype this is; for errors, whose fields the codec carries itself. */
  classIdOf(prototype: object): string | undefined {
    return this.#classes.get(prototype)?.id;
  }

  /** The class registered under `id`. Throws CANNOT_TRAVEL when this bundle has none. */
  classById(id: string): new (...args: never[]) => object {
    const type = this.#named.get(id);
    if (!type || !this.#classes.has(type.prototype)) throw notInBundle("class", id);
    return type as new (
      ...args: never[]
    ) => object;
  }

  #make(description: FunctionDescription): AnyFunction {
    const { id, locals } = description;
    const named = this.#named.get(id);
    if (named) return named;
    const factory = this.#factories.get(id);
    if (!factory) throw notInBundle("function", id);
    const made = factory(...locals);
    if (typeof made === "function" && !this.#records.has(made)) {
      this.#records.set(made, { id, locals: () => locals, env: Object.keys(description.env), reason: 0 });
    }
    return made;
  }

  #readEnv(record: FunctionRecord): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const name of record.env || []) {
      const access = this.#env.get(name);
      if (access) values[name] = access[0]();
    }
    return values;
  }

  #applyEnv(env: Record<string, unknown>): void {
    if (env === this.#activated) return;
    const names = Object.keys(env);
    if (names.length === 0) return;
    for (const name of names) this.#env.get(name)?.[1]?.(env[name]);
    this.#activated = env;
  }

  #shapeOf(type: AnyFunction): Shape {
    let shape = this.#shapes.get(type);
    if (!shape) {
      shape = this.#findShape(type);
      this.#shapes.set(type, shape);
    }
    return shape;
  }

  #findShape(type: AnyFunction): Shape {
    const shape: Shape = { slots: [], own: new Set(), refused: engineBase(type) };
    for (let at = type; typeof at === "function"; at = Object.getPrototypeOf(at)) {
      const slots = this.#slots.get(at);
      if (!slots) continue;
      shape.slots.push({ ...slots, prefix: `${this.#records.get(at)?.id ?? at.name}.` });
      for (const name of slots.own) shape.own.add(name);
      shape.refused ??= slots.refused;
    }
    return shape;
  }

  #constructBlank(type: new (...args: never[]) => object): object {
    const outer = this.reviving;
    this.reviving = type;
    try {
      return Reflect.construct(type, BLANKS);
    } finally {
      this.reviving = outer;
    }
  }
}

/** Creates the registry of this process and puts it where generated code finds it; call it before importing a bundle. */
export function installRegistry(): JobRegistry {
  const registry = new JobRegistry();
  Object.defineProperty(globalThis, REGISTRY_SYMBOL, { value: registry, configurable: true });
  return registry;
}

// Stands for any argument while a constructor's parameters are bound and its body is skipped: it survives destructuring of
// any shape, and as it is not undefined no default value is computed.
const BLANK: unknown = new Proxy(() => undefined, {
  get: (_target, key) =>
    key === Symbol.iterator ? () => BLANKS.values() : key === Symbol.toPrimitive ? () => 0 : BLANK,
  apply: () => BLANK,
  construct: () => BLANK as object,
});
const BLANKS: unknown[] = Array.from({ length: 32 }, () => BLANK);

function define(target: object, name: string, value: unknown): void {
  // "__proto__" as an own property must stay one.
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

function isClass(value: AnyFunction): boolean {
  const prototype = Object.getOwnPropertyDescriptor(value, "prototype");
  return prototype !== undefined && prototype.writable === false;
}

function isNative(fn: AnyFunction): boolean {
  return /\[native code\]\s*\}$/.test(Function.prototype.toString.call(fn));
}

function isErrorClass(type: AnyFunction): boolean {
  return type === Error || type.prototype instanceof Error;
}

function readProperties(instance: object, { own }: Shape): Record<string, unknown> {
  const properties: Record<string, unknown> = {};
  for (const name of Object.keys(instance)) {
    const value = (instance as Record<string, unknown>)[name];
    if (typeof value !== "function" || !own.has(name)) define(properties, name, value);
  }
  return properties;
}

/** Removes what initialisers put there and the original did not have (it may have deleted it). */
function removeOthers(instance: object, kept: Record<string, unknown>, { own }: Shape): void {
  for (const name of Object.keys(instance)) {
    if (!Object.hasOwn(kept, name) && !own.has(name)) delete (instance as Record<string, unknown>)[name];
  }
}

function readPrivates(instance: object, shape: Shape): Record<string, unknown> {
  const privates: Record<string, unknown> = {};
  for (const { prefix, read } of shape.slots) {
    for (const [name, value] of Object.entries(read(instance))) privates[prefix + name] = value;
  }
  return privates;
}

function writePrivates(instance: object, privates: Record<string, unknown>, shape: Shape): void {
  for (const { prefix, write } of shape.slots) {
    const values: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(privates)) {
      if (key.startsWith(prefix)) values[key.slice(prefix.length)] = value;
    }
    write(instance, values);
  }
}

/** Why instances of a class that extends a built-in one cannot travel, if so. */
function engineBase(type: AnyFunction): string | undefined {
  const base = nativeBase(type);
  if (!base || isErrorClass(base)) return undefined;
  return `it extends ${base.name}, whose contents only the engine can reach; keep a ${base.name} in a field instead`;
}

/** The built-in class a class extends, by whatever way; undefined for those that extend none. */
function nativeBase(type: AnyFunction): AnyFunction | undefined {
  let base = type;
  while (base !== null && !isNative(base)) base = Object.getPrototypeOf(base);
  return base === null || base === Function.prototype ? undefined : base;
}

/** An object of a class that no code of the class has touched; for errors one that the engine takes for an error. */
function bareInstance(type: AnyFunction): object {
  const base = nativeBase(type);
  if (!base || !isErrorClass(base)) return Object.create(type.prototype);
  const args = base === AggregateError ? [[]] : [];
  return Reflect.construct(base, args, type as new () => object);
}

/** Gives back the written name when the bundler had to rename a declaration (`helper2`). */
function restoreName(value: AnyFunction, name: string): void {
  const own = Object.getOwnPropertyDescriptor(value, "name");
  if (!own?.configurable || typeof own.value !== "string" || own.value === name) return;
  const renamed = own.value.startsWith(name) && /^\d+$/.test(own.value.slice(name.length));
  if (renamed || /^\$mesh\d*_default\d*$/.test(own.value)) {
    Object.defineProperty(value, "name", { value: name, configurable: true });
  }
}

function readLocals(record: FunctionRecord, fn: AnyFunction): unknown[] {
  if (!record.locals) return [];
  try {
    return record.locals();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError(
      "CANNOT_TRAVEL",
      `${nameOf(fn)} (${record.id}) was handed over before a variable it captures had a value: ${why}; ` +
        "move the variable's declaration above the call",
      { cause },
    );
  }
}

function unknownFunction(fn: AnyFunction): MeshError {
  if (fn.name.startsWith("bound ")) {
    return new MeshError(
      "CANNOT_TRAVEL",
      `${nameOf(fn)} cannot travel: it was made by .bind(), and what it is bound to cannot be seen; ` +
        "write a lambda that calls it instead: task((x) => object.method(x))",
    );
  }
  if (isNative(fn)) {
    return new MeshError(
      "CANNOT_TRAVEL",
      `${nameOf(fn)} cannot travel: it is a native function without code of its own; ` +
        "write a lambda that calls it instead: task((x) => f(x))",
    );
  }
  return new MeshError(
    "CANNOT_TRAVEL",
    `${nameOf(fn)} cannot travel: the bundle does not know its code; mark it where it is written: task((x) => …)`,
  );
}

function notInBundle(what: string, id: string): MeshError {
  return new MeshError(
    "CANNOT_TRAVEL",
    `the ${what} ${id} is not in this process's bundle; both sides must run the same build of the script`,
  );
}

function nameOf(fn: AnyFunction): string {
  if (fn.name) return fn.name;
  const source = Function.prototype.toString.call(fn).replace(/\s+/g, " ");
  return source.length > 60 ? `${source.slice(0, 60)}…` : source;
}
