// A stand-in for the codec: values as JSON-like data in which functions, instances and errors are replaced by their
// descriptions, so that nothing but descriptions crosses between the two processes.

import type { JobRegistry } from "../../../core/job/registry.ts";
import type { FunctionDescription, InstanceDescription } from "../../../core/wire/travel.ts";

interface Tagged {
  $tag: "function" | "instance" | "error" | "other";
  value: unknown;
}

export function encode(registry: JobRegistry, value: unknown): unknown {
  if (typeof value === "function") {
    return { $tag: "function", value: encodeFunction(registry, value as () => unknown) };
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => encode(registry, item));
  const prototype = Object.getPrototypeOf(value);
  if (value instanceof Error) {
    const own = Object.fromEntries(Object.keys(value).map((key) => [key, (value as never)[key]]));
    const { name, message, stack } = value;
    return { $tag: "error", value: { id: registry.classIdOf(prototype), name, message, stack, own } };
  }
  if (prototype === Object.prototype || prototype === null) return encodeFields(registry, value as never);
  const instance = registry.describeInstance(value);
  if (!instance) return { $tag: "other", value };
  return { $tag: "instance", value: encodeFields(registry, instance as never) };
}

export function encodeFunction(registry: JobRegistry, fn: (...args: never[]) => unknown): FunctionDescription {
  const { id, locals, env } = registry.describeFunction(fn);
  return { id, locals: locals.map((local) => encode(registry, local)), env: encodeFields(registry, env) as never };
}

function encodeFields(registry: JobRegistry, fields: Record<string, unknown>): unknown {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, encode(registry, value)]));
}

export function decode(registry: JobRegistry, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => decode(registry, item));
  if (!("$tag" in value)) {
    const prototype = Object.getPrototypeOf(value);
    return prototype === Object.prototype || prototype === null ? decodeFields(registry, value as never) : value;
  }
  const tagged = value as Tagged;
  switch (tagged.$tag) {
    case "function":
      return registry.reviveFunction(decodeFunction(registry, tagged.value as FunctionDescription));
    case "instance":
      return registry.reviveInstance(decodeFields(registry, tagged.value as never) as unknown as InstanceDescription);
    case "error":
      return decodeError(registry, tagged.value as never);
    case "other":
      return tagged.value;
  }
}

export function decodeFunction(registry: JobRegistry, description: FunctionDescription): FunctionDescription {
  return decodeFields(registry, description as never) as unknown as FunctionDescription;
}

function decodeFields(registry: JobRegistry, fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, decode(registry, value)]));
}

interface EncodedError {
  id: string | undefined;
  name: string;
  message: string;
  stack: string;
  own: object;
}

function decodeError(registry: JobRegistry, { id, name, message, stack, own }: EncodedError): Error {
  const error = new Error(message);
  if (id) Object.setPrototypeOf(error, registry.classById(id).prototype);
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  Object.defineProperty(error, "stack", { value: stack, configurable: true });
  return Object.assign(error, own);
}
