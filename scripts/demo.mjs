// Installs, builds, and shows mesh at work: the words of thousands of files, counted on all cores and checked.
import { binary, build } from "./build.mjs";
import { run } from "./ground.mjs";

build();
run(binary, ["run", "examples/word-count.ts", "node_modules", "--check"]);
