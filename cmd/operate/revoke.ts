// mesh revoke: a node's certificates are worth nothing from now on.
import { Command } from "@commander-js/extra-typings";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import { checkName } from "../../core/identity/names.ts";
import { nearest } from "../../core/nearest.ts";
import { jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { print, type Surroundings, say, surroundingsOfProcess, withClient } from "../surroundings.ts";
import { ask, askStatus } from "./asking.ts";

/** `mesh revoke`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("revoke")
    .description("Take back the certificates of a node: its sessions end, and it joins again only with a new token.")
    .argument("<name>", "the name of the node")
    .addOption(jsonOption("{ name, version }: version of the list of the revoked"))
    .addOption(meshOption())
    .action((name, { json, mesh }) => {
      checkName(name, "the name of a node");
      return withClient(around, { mesh }, async (client) => {
        await checkTarget(around, client, name);
        const { version } = await ask<{ version: number }>(client, { type: "revoke", body: { name } });
        const words = `${name} is revoked: its sessions end, and it joins again only with a new token (\`mesh token\`)`;
        await print(around, json ? JSON.stringify({ name, version }) : words);
        return 0;
      });
    });
}

/** A node that is away now can be revoked; its name may as well be a slip. */
async function checkTarget(around: Surroundings, client: MeshClient, name: string): Promise<void> {
  const { nodes, mesh } = await askStatus(client);
  if (name === mesh.coordinator.name) {
    const message = `${name} is the coordinator, who revokes: \`mesh rotate\` replaces what it signs with`;
    throw new MeshError("USAGE", message);
  }
  if (nodes.some((node) => node.name === name)) return;
  const near = nearest(
    name,
    nodes.map((node) => node.name),
  );
  const advice = near === undefined ? "`mesh status` lists those that are" : `did you mean ${near}?`;
  await say(around, `no node named ${name} is in the mesh now, ${advice}`);
}
