import { expect, it } from "vitest";
import { expandRanges, RANGE_LIMIT } from "../../core/config/ranges.ts";

it.each([
  ["gpu1", ["gpu1"]],
  ["rack[08-11]", ["rack08", "rack09", "rack10", "rack11"]],
  ["n[1,3,5-7].lan", ["n1.lan", "n3.lan", "n5.lan", "n6.lan", "n7.lan"]],
  ["r[1-2]n[01-02]", ["r1n01", "r1n02", "r2n01", "r2n02"]],
  ["n[9-11]", ["n9", "n10", "n11"]],
  ["n[07]", ["n07"]],
  ["", [""]],
])("expandRanges: %j", (pattern, names) => {
  expect(expandRanges(pattern)).toEqual(names);
});

it.each([
  ["n[3-1]", "runs backwards"],
  ["n[1-", 'no "]" after it'],
  ["n1-2]", 'no "[" before it'],
  ["n[]", "should hold numbers"],
  ["n[a-c]", "should hold numbers"],
  ["n[1-2-3]", "should hold numbers"],
  ["n[[1-2]", "should hold numbers"],
  ["n[-1]", "should hold numbers"],
  ["n[1,]", "should hold numbers"],
  ["n[1-10001]", "more than 10,000 names"],
  ["n[1-200]m[1-200]", "more than 10,000 names"],
  ["n[0-999999999]", "more than 10,000 names"],
  ["n[1-99999999999]", "should hold numbers"],
  ["[1-9]".repeat(200), "more than 10,000 names"],
])("expandRanges: refuses %j, because it %s", (pattern, reason) => {
  expect(() => expandRanges(pattern)).toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(() => expandRanges(pattern)).toThrow(reason);
});

it("expandRanges: the limit itself is allowed", () => {
  expect(expandRanges("n[1-10000]")).toHaveLength(RANGE_LIMIT);
});
