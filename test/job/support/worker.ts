// The process that only loads the worker bundle: makes functions from descriptions and runs them.

import { installRegistry } from "../../../core/job/registry.ts";
import type { FunctionDescription } from "../../../core/wire/travel.ts";
import { fakeApi } from "./api.ts";
import { decode, decodeFunction, encode, encodeFunction } from "./travel.ts";

interface Request {
  id: number;
  fn: FunctionDescription;
  args: unknown[];
}

const registry = installRegistry();

async function call(description: FunctionDescription, args: unknown[]): Promise<unknown> {
  const task = registry.reviveTask(decodeFunction(registry, description));
  const decoded = args.map((arg) => decode(registry, arg));
  task.activate();
  if (!/^class\b/.test(Function.prototype.toString.call(task.call))) return await task.call(...decoded);
  const [method, ...rest] = decoded as [string, ...unknown[]];
  const instance = new (task.call as never as new () => Record<string, (...args: unknown[]) => unknown>)();
  return await instance[method]!(...rest);
}

// A shipped function that uses a pool itself: describe, copy, run, all here.
const nested = async (fn: unknown, args: unknown[]) => {
  const message = structuredClone({
    fn: encodeFunction(registry, fn as never),
    args: args.map((arg) => encode(registry, arg)),
  });
  return await call(message.fn, message.args);
};
const describe = (fn: unknown) => registry.describeFunction(fn as never);
Object.assign(globalThis, { [Symbol.for("mesh.api")]: fakeApi(nested, describe) });
await import(process.argv[2]!);

process.on("message", async ({ id, fn, args }: Request) => {
  try {
    process.send!({ id, value: encode(registry, await call(fn, args)) });
  } catch (error) {
    process.send!({ id, error: encode(registry, error) });
  }
});
process.on("disconnect", () => process.exit());
process.send!({ ready: true });
