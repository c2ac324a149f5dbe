import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BASE_VERSION, baseOf } from "../../core/binary/bases.ts";
import { deafen } from "../../core/binary/deafen.ts";
import { PLATFORMS, platformName } from "../../core/binary/platform.ts";
import { root } from "../support/mesh.ts";

const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));

describe("baseOf", () => {
  test("F97: is of the Bun that this build is made with", () => {
    expect(BASE_VERSION).toBe(Bun.version);
  });

  test.each(PLATFORMS.map((platform) => [platformName(platform), platform] as const))(
    "F8: knows what %s is made from",
    (_, platform) => {
      const base = baseOf(platform)!;
      expect(Buffer.from(base.integrity, "base64")).toHaveLength(64);
      // npm's lock file has all but the builds for old processors.
      const locked = lock.packages[`node_modules/@oven/${base.name}`];
      if (platform.isBaseline) expect(locked).toBeUndefined();
      else expect(locked).toMatchObject({ version: base.version, integrity: `sha512-${base.integrity}` });
    },
  );
});

describe("deafen", () => {
  test("refuses what is no Bun", () => {
    expect(() => deafen(Buffer.from("\0BUN_OPTIONS\0 BUN"))).toThrow("exactly once");
  });
});
