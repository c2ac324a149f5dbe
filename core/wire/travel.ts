// What the codec asks of whoever knows the job's code: how functions and class instances travel.
// core/job/registry.ts implements it; the codec knows nothing of bundles.
import { MeshError } from "../errors.ts";

/** Any function, whatever it takes. */
export type AnyFunction = (...args: never[]) => unknown;

/** A function as it travels: where its code stands in the bundle, and the values it needs from where it was made. */
export interface FunctionDescription {
  /** Stable id in the job's bundle, readable: "job.ts#helper" or "job.ts:12:30". */
  id: string;
  /** Values of the enclosing functions' variables, in the order the factory takes them. */
  locals: unknown[];
  /** Values of the script's top-level data it uses, itself or through what it calls, by variable name. */
  env: Record<string, unknown>;
}

/** An instance of one of the job's own classes as it travels. */
export interface InstanceDescription {
  /** Stable id of its class in the bundle: "job.ts#Counter". */
  id: string;
  /** Own enumerable data properties. */
  properties: Record<string, unknown>;
  /** Values of `#private` instance fields, by class id and name, when its classes have any. */
  privates?: Record<string, unknown>;
  /** As in FunctionDescription, for methods that use the script's top-level data. */
  env?: Record<string, unknown>;
}

/** The method that makes an object one that travels as a handle; see Handle. */
export const HANDLE: unique symbol = Symbol("mesh.handle");

/**
 * An object of the API that stands for something in some process: a pipe's end, a reference. It travels as its kind and what
 * the reviver of that kind (Codec.handles) needs to make one for the same thing elsewhere: plain data.
 */
export interface Handle {
  [HANDLE](): HandleWire;
}

export type HandleWire = [kind: string, fields: unknown];

/** Makes a handle of one kind from its fields. */
export type ReviveHandle = (fields: never) => object;

/** True for what has the method HANDLE. */
export function isHandle(value: object): value is Handle {
  return typeof (value as Partial<Handle>)[HANDLE] === "function";
}

export interface TravelRegistry {
  /** Throws CANNOT_TRAVEL with the reason and the next step when `fn` is not known to the bundle. */
  describeFunction(fn: AnyFunction): FunctionDescription;
  /** What the `locals` of a function are called, in their order, where that is known; for messages. */
  localNames?(fn: AnyFunction): readonly string[];
  reviveFunction(description: FunctionDescription): AnyFunction;
  /** Undefined when the instance's class is not one of the job's own. */
  describeInstance(instance: object): InstanceDescription | undefined;
  reviveInstance(description: InstanceDescription): object;
}

function unknownCode(what: string): never {
  throw new MeshError("CANNOT_TRAVEL", `${what} cannot travel here: this process runs no job`);
}

/** Knows no job: functions and instances are refused. */
export const emptyRegistry: TravelRegistry = {
  describeFunction: (fn) => unknownCode(`the function ${fn.name || "without a name"}`),
  reviveFunction: ({ id }) => unknownCode(`the function ${id}`),
  describeInstance: () => undefined,
  reviveInstance: ({ id }) => unknownCode(`an instance of ${id}`),
};
