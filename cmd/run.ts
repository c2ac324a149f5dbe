// Placeholder until `mesh run` is written.
import { Command } from "@commander-js/extra-typings";
import { MeshError } from "../core/errors.ts";

export function command() {
  return new Command("run")
    .description("Run a script across the mesh.")
    .argument("<script>", "the TypeScript file to run")
    .argument("[args...]", "arguments of the script")
    .option("--slots <count>", "how many slots to use")
    .passThroughOptions()
    .action(() => {
      throw new MeshError("USAGE", "mesh run is not there yet");
    });
}
