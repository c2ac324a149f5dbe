// Run with Bun: `npm run vitest`, or `node scripts/bun.mjs --bun vitest run test/config` for a part.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/fixtures/**"],
    globalSetup: "test/support/build.ts",
    // Each file in a process of its own, because tests start servers and change folders.
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
  resolve: { alias: { mesh: new URL("./core/mod.ts", import.meta.url).pathname } },
});
