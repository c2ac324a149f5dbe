import fc from "fast-check";
import { expect, it } from "vitest";
import { DURATION_LIMIT_MS, parseDuration, parseSize, SIZE_LIMIT_BYTES } from "../../core/config/units.ts";

const KIB = 1024;

it.each([
  ["512M", 512 * KIB ** 2],
  ["1.5G", 1.5 * KIB ** 3],
  ["64MiB", 64 * KIB ** 2],
  ["200KB", 200 * KIB],
  ["1 T", KIB ** 4],
  [" 7b ", 7],
  ["1024T", SIZE_LIMIT_BYTES],
])("parseSize: %j is %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

it.each(["", "512", "M", "-1M", "1e3M", "1025T", "0M", "0.1B", "12X", "1M2K", "1,5G", "Infinity", "9".repeat(400)])(
  "parseSize: refuses %j as USAGE",
  (text) => {
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  },
);

it.each([
  ["500ms", 500],
  ["10s", 10_000],
  ["1.5h", 5_400_000],
  ["1h30m", 5_400_000],
  ["1h 30m", 5_400_000],
  ["2d", 172_800_000],
  ["1ms", 1],
])("parseDuration: %j is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each(["", "10", "s", "-1s", "1e3s", "25d", "0s", "0.1ms", "1y", "1h30", "s1", " ", "1 s"])(
  "parseDuration: refuses %j as USAGE",
  (text) => {
    expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  },
);

it("parseDuration, parseSize: any text gives a number within the limits or USAGE, quickly", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      for (const [parse, limit] of [
        [parseDuration, DURATION_LIMIT_MS],
        [parseSize, SIZE_LIMIT_BYTES],
      ] as const) {
        try {
          const number = parse(text);
          expect(Number.isInteger(number) && number >= 1 && number <= limit).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: "USAGE" });
        }
      }
    }),
  );
});
