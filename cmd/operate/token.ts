// mesh token: a one-time token, by which a machine without SSH joins.
import { Command, Option } from "@commander-js/extra-typings";
import { parseDuration } from "../../core/config/units.ts";
import type { Token } from "../../core/coordinator/answers.ts";
import type { IssueToken } from "../../core/coordinator/bodies.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { momentWords, spanWords } from "../amounts.ts";
import { jsonOption, meshOption, nodeName, parsed } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { print, type Surroundings, say, surroundingsOfProcess, withClient } from "../surroundings.ts";
import { ask, askStatus } from "./asking.ts";

const ROLES = ["worker", "head", "rendezvous"] as const;
/** What joins with a token of a role. */
const COMMANDS: Record<(typeof ROLES)[number], string> = {
  worker: "mesh worker --join",
  head: "mesh join",
  rendezvous: "mesh rendezvous --join",
};

/** `mesh token`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("token")
    .description("Make a token with which one node may join, once. It is the last line on stdout.")
    .addOption(
      new Option("--role <role>", "what joins with it; a head is a user elsewhere")
        .choices(ROLES)
        .makeOptionMandatory(),
    )
    .addOption(new Option("--name <name>", "only a node of this name may").argParser(nodeName))
    .addOption(new Option("--ttl <time>", 'how long it is good, such as "1h"').argParser(parsed(parseDuration)))
    .addOption(jsonOption("{ token, role, name, expiresAt }"))
    .addOption(meshOption())
    .action(({ role, name, ttl, json, mesh }) => {
      const body = { role, ...(name !== undefined && { name }), ...(ttl !== undefined && { ttlMs: ttl }) };
      return withClient(around, { mesh }, async (client) => {
        const made = await ask<Token>(client, { type: "issueToken", body });
        if (!json) await explain(around, client, body, made);
        const { token, expiresAt } = made;
        await print(around, json ? JSON.stringify({ token, role, name: name ?? null, expiresAt }) : token);
        return 0;
      });
    });
}

async function explain(
  around: Surroundings,
  client: MeshClient,
  body: IssueToken & { role: (typeof ROLES)[number] },
  { expiresAt }: Token,
): Promise<void> {
  const { role, name } = body;
  const who = name === undefined ? `one ${role}` : `the ${role} ${name}`;
  const left = spanWords((expiresAt - around.now()) / 1_000);
  await say(
    around,
    `with this token ${who} may join the mesh ${client.mesh}, once, until ${momentWords(expiresAt)} (${left})`,
  );
  await say(around, "whoever has it can join: keep it secret, and never put it on a command line");
  const line = `${COMMANDS[role]} ${await addressOf(client)}${name === undefined ? "" : ` --name ${name}`}`;
  await say(around, `on the machine that joins, with the token in MESH_TOKEN or a --token-file: ${line}`);
}

/** Where others reach the coordinator, as far as it knows. */
async function addressOf(client: MeshClient): Promise<string> {
  try {
    const { addresses } = (await askStatus(client)).mesh.coordinator;
    return addresses.find((address) => !/\/\/(127\.|localhost|\[::1\])/.test(address)) ?? addresses[0] ?? "ADDRESS";
  } catch {
    return "ADDRESS"; // the token is there, and is what was asked for
  }
}
