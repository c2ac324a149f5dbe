// mesh help [COMMAND or TOPIC]. A subcommand's help is its own --help; what stands here are the topics beside them.
import { Command } from "@commander-js/extra-typings";
import { MeshError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import { EXIT } from "./exit.ts";
import type { ProgramContext } from "./program.ts";

const EXIT_CODES = `The exit status of mesh says what happened:

  ${pad(EXIT.ok)}everything asked for was done
  ${pad(EXIT.jobFailed)}the job failed: its script or one of its tasks threw, or a slot was lost
  ${pad(EXIT.usage)}usage or configuration: a wrong option, a wrong mesh.toml, a script that cannot be built
  ${pad(EXIT.partly)}partly: some of the hosts or jobs asked for, not all; each that failed is named
  ${pad(EXIT.authentication)}authentication: a login, a certificate or a host key was refused
  ${pad(EXIT.unreachable)}unreachable: a host, a node or the coordinator does not answer
  ${pad(EXIT.timeout)}a time limit passed
  ${pad(EXIT.interrupted)}interrupted (Ctrl-C, SIGINT)
  ${pad(EXIT.terminated)}terminated (SIGTERM)`;

const TOPICS: Record<string, string> = { "exit-codes": EXIT_CODES };

/** `mesh help`. */
export function command(context: ProgramContext) {
  return new Command("help")
    .description("Explain a subcommand or a topic.")
    .argument("[topic]", `a subcommand, or one of: ${Object.keys(TOPICS).join(", ")}`)
    .action(async (topic) => {
      if (topic === undefined) (await context.loadAll()).outputHelp();
      else console.log(await explain(topic, context));
    });
}

async function explain(topic: string, context: ProgramContext): Promise<string> {
  const text = Object.hasOwn(TOPICS, topic) ? TOPICS[topic] : undefined;
  if (text !== undefined) return text;
  const commands = (await context.loadAll()).commands.map((command) => command.name());
  const near = nearest(topic, [...commands, ...Object.keys(TOPICS)]);
  const advice = near ? `did you mean \`mesh help ${near}\`?` : "`mesh help` lists the subcommands";
  throw new MeshError("USAGE", `no subcommand or topic is named ${JSON.stringify(topic)}: ${advice}`);
}

function pad(status: number): string {
  return String(status).padEnd(6);
}
