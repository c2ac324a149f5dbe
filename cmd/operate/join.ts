// `mesh join`: lets this machine's user run jobs and commands in a mesh whose coordinator is elsewhere.
import { hostname } from "node:os";
import { Command } from "@commander-js/extra-typings";
import { MeshError } from "../../core/errors.ts";
import { joinAs, nameOf, tokenFrom } from "../roles/joining.ts";
import { COORDINATOR_WORDS, nameOption, tokenFileOption } from "../roles/member-options.ts";

export function command() {
  return new Command("join")
    .description(
      "Let this user run jobs and commands in a mesh from here. A token of `mesh token --role head` is needed, in MESH_TOKEN " +
        "or --token-file. (`mesh worker --join` lends this host's slots instead.)",
    )
    .argument("<address...>", COORDINATOR_WORDS)
    .addOption(nameOption("the host's name"))
    .addOption(tokenFileOption())
    .action(async (addresses, { name, tokenFile }) => {
      const token = tokenFrom(tokenFile);
      if (!token) {
        const message =
          "a token is needed: run `mesh token --role head` where the coordinator runs, and give it in MESH_TOKEN or --token-file";
        throw new MeshError("AUTHENTICATION", message);
      }
      const { meshName, identity } = await joinAs("head", name ?? nameOf(hostname()), addresses, token);
      console.error(
        `mesh: ${identity.name} is in the mesh ${meshName} now: \`mesh run\` here uses it, \`mesh status\` shows it`,
      );
    });
}
