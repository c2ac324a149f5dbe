// The process that runs the driver bundle; what the script gives to `out(...)` is written to stdout as JSON at the end.

import { installRegistry } from "../../../core/job/registry.ts";
import { fakeApi } from "./api.ts";
import { decode, encode, encodeFunction } from "./travel.ts";

const [, , driver, worker] = process.argv as [string, string, string, string];
const registry = installRegistry();
const pending = new Map<number, PromiseWithResolvers<unknown>>();
const ready = Promise.withResolvers<void>();

interface Answer {
  ready?: boolean;
  id: number;
  value?: unknown;
  error?: unknown;
}

const child = Bun.spawn([process.execPath, `${import.meta.dir}/worker.ts`, worker], {
  stdio: ["ignore", "inherit", "inherit"],
  serialization: "advanced",
  ipc({ ready: isReady, id, value, error }: Answer) {
    if (isReady) return ready.resolve();
    const { resolve, reject } = pending.get(id)!;
    try {
      if (error !== undefined) reject(decode(registry, error));
      else resolve(decode(registry, value));
    } catch (undecodable) {
      reject(undecodable);
    }
  },
  onExit: (_child, code) => ready.reject(new Error(`the worker ended with ${code}`)),
});

let next = 0;
async function run(fn: unknown, args: unknown[]): Promise<unknown> {
  // Described at the time of the call, before anything is awaited.
  const message = { fn: encodeFunction(registry, fn as never), args: args.map((arg) => encode(registry, arg)) };
  await ready.promise;
  const id = next++;
  const answer = Promise.withResolvers<unknown>();
  pending.set(id, answer);
  child.send({ id, ...message });
  return await answer.promise;
}

const results: unknown[] = [];
Object.assign(globalThis, {
  [Symbol.for("mesh.api")]: fakeApi(run, (fn) => registry.describeFunction(fn as never)),
  out: (...values: unknown[]) => results.push(...values),
});
try {
  await ready.promise;
  await import(driver);
  await Bun.write(Bun.stdout, JSON.stringify(results));
} finally {
  child.kill();
}
