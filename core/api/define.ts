// What a slot is told of a function before it runs it, with errors that name what cannot travel.
import { MeshError } from "../errors.ts";
import type { AnyFunction, FunctionDescription } from "../wire/travel.ts";
import { jobContext } from "./context.ts";
import type { Definition } from "./task-wire.ts";

/** Describes a function; `label` names the call it was handed to. Throws CANNOT_TRAVEL. */
export function describeTask(label: string, fn: AnyFunction): FunctionDescription {
  try {
    return jobContext().describeFunction(fn);
  } catch (error) {
    if (error instanceof MeshError)
      throw new MeshError(error.code, `${label}: ${error.message}`, { cause: error.cause });
    throw error;
  }
}

/** Encodes captured values and extra arguments, naming the one that cannot travel. */
export function encodeDefinition(label: string, fn: AnyFunction, definition: Definition): Uint8Array {
  const { node, localNames } = jobContext();
  const { codec } = node;
  try {
    return codec.encode(definition);
  } catch (error) {
    for (const [i, arg] of definition.args.entries()) codec.encode(arg, `${label}: args[${i}]`);
    for (const [name, value] of Object.entries(definition.fn.env)) codec.encode(value, `${label}: captured ${name}`);
    const names = localNames(fn);
    for (const [i, value] of definition.fn.locals.entries()) {
      codec.encode(value, `${label}: captured ${names[i] ?? `value ${i + 1} of ${definition.fn.id}`}`);
    }
    throw error;
  }
}
