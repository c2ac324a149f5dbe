// mesh rotate: a new certificate authority for the mesh.
import { Command, Option } from "@commander-js/extra-typings";
import { momentWords, parseOverlap } from "../amounts.ts";
import { jsonOption, meshOption, parsed } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { print, surroundingsOfProcess, withClient } from "../surroundings.ts";
import { ask } from "./asking.ts";

/** `mesh rotate`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("rotate")
    .description("Replace the mesh's CA. Nodes get new certificates while they run; the old CA is trusted for a while.")
    .addOption(
      new Option(
        "--overlap <time>",
        'how long that is, such as "30d"; 0 when the key of the old one was stolen',
      ).argParser(parsed(parseOverlap)),
    )
    .addOption(jsonOption("{ overlapUntil }: ms since 1970, or null"))
    .addOption(meshOption())
    .action(({ overlap, json, mesh }) =>
      withClient(around, { mesh }, async (client) => {
        const body = overlap === undefined ? {} : { overlapMs: overlap };
        const { overlapUntil } = await ask<{ overlapUntil: number | null }>(client, { type: "rotateCa", body });
        await print(around, json ? JSON.stringify({ overlapUntil }) : wordsOf(client.mesh, overlapUntil));
        return 0;
      }),
    );
}

function wordsOf(mesh: string, overlapUntil: number | null): string {
  const done = `the mesh ${mesh} has a new CA`;
  if (overlapUntil === null) return `${done}; the old one is trusted no more: nodes that are away must join again`;
  return `${done}; the old one is trusted until ${momentWords(overlapUntil)}, nodes renew by themselves before`;
}
