// Run with Bun: `npm run vitest`, or `node scripts/bun.mjs --bun vitest run test/config` for a part.
import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // Bun's `with { type: "text" }`, for the scripts that hosts run.
  plugins: [
    {
      name: "shell-scripts",
      enforce: "pre",
      load: (id) => (id.endsWith(".sh") ? `export default ${JSON.stringify(readFileSync(id, "utf8"))};` : undefined),
    },
  ],
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
