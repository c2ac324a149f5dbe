// Installs, builds, and measures. Arguments go to bench/main.ts.
import { build } from "./build.mjs";
import { requireBun, run } from "./ground.mjs";

build();
run(requireBun(), ["bench/main.ts", ...process.argv.slice(2)]);
