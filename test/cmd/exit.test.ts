import { expect, it } from "vitest";
import { describeError, exitStatusOf } from "../../cmd/exit.ts";
import { MESH_ERROR_CODES, MeshError } from "../../core/errors.ts";

it.each([
  ["USAGE", 2],
  ["CONFIG", 2],
  ["SCRIPT", 2],
  ["TASK_FAILED", 1],
  ["SLOT_LOST", 1],
  ["TIMEOUT", 124],
  ["CANCELLED", 130],
  ["AUTHENTICATION", 4],
  ["UNREACHABLE", 5],
] as const)("exitStatusOf: %s is %d", (code, status) => {
  expect(exitStatusOf(new MeshError(code, "x"))).toBe(status);
});

it("exitStatusOf: every code has a status that is not success", () => {
  for (const code of MESH_ERROR_CODES) expect(exitStatusOf(new MeshError(code, "x"))).toBeGreaterThan(0);
});

it("exitStatusOf: SIGTERM is 143, what is no MeshError 1", () => {
  expect(exitStatusOf(new MeshError("CANCELLED", "x", { cause: { signal: "SIGTERM" } }))).toBe(143);
  for (const thrown of [new Error("x"), "x", null, undefined, 3]) expect(exitStatusOf(thrown)).toBe(1);
});

it("describeError: message and causes without stacks; with debug, stacks", () => {
  const error = new MeshError("UNREACHABLE", "cannot reach gpu1", { cause: new Error("connect refused") });
  expect(describeError(error)).toBe("error: cannot reach gpu1\n  because: Error: connect refused");
  expect(describeError(error, { debug: true })).toMatch(/\n +at /);
});

it("describeError: a plain error is a bug, with its stack", () => {
  expect(describeError(new TypeError("oops"))).toMatch(/^error: this is a bug in mesh.*oops.*\n +at /s);
  expect(describeError(undefined)).toContain("undefined");
});

it("describeError: causes in a circle end", () => {
  const error = new MeshError("TIMEOUT", "outer");
  error.cause = new MeshError("TIMEOUT", "inner", { cause: error });
  expect(describeError(error)).toBe("error: outer\n  because: inner");
});
