// The run-time half alone, as generated code and the codec use it.

import { describe, expect, test } from "vitest";
import { MeshError } from "../../core/errors.ts";
import { installRegistry, JobRegistry, REGISTRY_SYMBOL } from "../../core/job/registry.ts";

describe("JobRegistry", () => {
  test("installRegistry puts a fresh registry where generated code looks", () => {
    const registry = installRegistry();
    expect((globalThis as Record<symbol, unknown>)[REGISTRY_SYMBOL]).toBe(registry);
    expect(installRegistry()).not.toBe(registry);
  });

  test("fn returns the function itself and reads what it captures when it is described", () => {
    const registry = new JobRegistry();
    let k = 1;
    const f = () => k;
    expect(registry.fn(f, "job.ts:1:1", () => [k])).toBe(f);
    k = 2;
    expect(registry.describeFunction(f)).toEqual({ id: "job.ts:1:1", locals: [2], env: {} });
  });

  test("ref leaves other values and known functions alone", () => {
    const registry = new JobRegistry();
    const f = registry.top(() => 1, "lib.ts#f");
    expect(registry.ref([1], "x")).toEqual([1]);
    expect(registry.describeFunction(registry.ref(f, "job.ts:1:1#lib.f")).id).toBe("lib.ts#f");
  });

  test("reviveTask gives the named function itself; activate sets the data once for the same env", () => {
    const registry = new JobRegistry();
    const set: unknown[] = [];
    const f = registry.top(() => 1, "job.ts#f", ["k"]);
    registry.env({ k: [() => 0, (value) => set.push(value)] });
    const description = { id: "job.ts#f", locals: [], env: { k: 5 } };
    const [first, second] = [registry.reviveTask(description), registry.reviveTask(description)];
    expect(first.call).toBe(f);
    expect(set).toEqual([]);
    first.activate();
    first.activate();
    second.activate();
    expect(set).toEqual([5]);
    registry.reviveTask({ ...description, env: { k: 6 } }).activate();
    first.activate();
    expect(set).toEqual([5, 6, 5]);
  });

  test("a revived closure can be described again, with what it captured", () => {
    const registry = new JobRegistry();
    registry.factories({ "job.ts:1:1": (k) => () => k });
    registry.env({ d: [() => 9, () => {}] });
    const description = { id: "job.ts:1:1", locals: [4], env: { d: 9 } };
    const revived = registry.reviveFunction(description) as () => unknown;
    expect(revived()).toBe(4);
    expect(registry.describeFunction(revived)).toEqual(description);
  });

  test.each([
    ["function", () => new JobRegistry().reviveFunction({ id: "job.ts#gone", locals: [], env: {} })],
    ["class", () => new JobRegistry().reviveInstance({ id: "job.ts#gone", properties: {} })],
  ])("an id of another build: %s", (what, revive) => {
    expect(revive).toThrow(
      new MeshError(
        "CANNOT_TRAVEL",
        `the ${what} job.ts#gone is not in this process's bundle; both sides must run the same build of the script`,
      ),
    );
  });

  test.each<[string, (...args: never[]) => unknown, RegExp]>([
    [
      "named",
      Object.assign(() => 1, {}),
      /the bundle does not know its code; mark it where it is written: task\(\(x\) => …\)/,
    ],
    ["native", Math.max as never, /^max cannot travel: it is a native function/],
    ["bound", (() => 1).bind(null), /cannot travel: it was made by \.bind\(\)/],
    [
      "long",
      [(a: number) => a + 1111111111 + 2222222222 + 3333333333 + 4444444444 + 5555555555][0]!,
      /^.{61} cannot travel/,
    ],
  ])("an unknown function is refused by name or source: %s", (_kind, fn, message) => {
    expect(() => new JobRegistry().describeFunction(fn)).toThrow(message);
    expect(() => new JobRegistry().describeFunction(fn)).toThrow(expect.objectContaining({ code: "CANNOT_TRAVEL" }));
  });

  test("an error's class is revived to a real error without running its constructor", () => {
    const registry = new JobRegistry();
    class Odd extends TypeError {
      constructor(detail: string) {
        super(detail);
        throw new Error("must not run");
      }
    }
    class Many extends AggregateError {}
    registry.top(Odd, "job.ts#Odd");
    registry.top(Many, "job.ts#Many");
    const odd = registry.reviveInstance({ id: "job.ts#Odd", properties: { detail: "d" } });
    expect(odd).toBeInstanceOf(Odd);
    expect([Object.prototype.toString.call(odd), Object.entries(odd)]).toEqual(["[object Error]", [["detail", "d"]]]);
    expect(registry.reviveInstance({ id: "job.ts#Many", properties: {} })).toBeInstanceOf(Many);
  });

  test("instances of unknown classes, subclasses and plain objects are not its own", () => {
    const registry = new JobRegistry();
    class Known {}
    class Local extends Known {}
    registry.top(Known, "job.ts#Known");
    expect(registry.describeInstance(new Known())).toEqual({ id: "job.ts#Known", properties: {} });
    for (const other of [new Local(), {}, [], new Map(), Object.create(null)]) {
      expect(registry.describeInstance(other)).toBeUndefined();
    }
    expect(registry.classIdOf(Known.prototype)).toBe("job.ts#Known");
    expect(registry.classIdOf(Local.prototype)).toBeUndefined();
    expect(registry.classById("job.ts#Known")).toBe(Known);
  });
});
