// Runs the Bun of node_modules with the given arguments.
import { requireBun, run } from "./ground.mjs";

run(requireBun(), process.argv.slice(2));
