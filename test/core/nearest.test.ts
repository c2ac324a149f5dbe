import { expect, it } from "vitest";
import { nearest } from "../../core/nearest.ts";

const KEYS = ["ssh", "slots", "slotMemory", "tags", "provider"];

it.each([
  ["slosts", "slots"],
  ["slot", "slots"],
  ["tgas", "tags"],
  ["SSH", "ssh"],
  ["slot_memory", "slotMemory"],
  ["zzzz", undefined],
  ["x".repeat(1_000_000), undefined],
])("nearest (F88): %j", (name, candidate) => {
  expect(nearest(name, KEYS)).toBe(candidate);
});
