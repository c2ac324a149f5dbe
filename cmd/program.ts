// The parser's side of the command line: how all subcommands report errors, and what becomes of a parse that fails.
import { styleText } from "node:util";
import { Command, CommanderError } from "commander";
import { EXIT } from "./exit.ts";

/** What a subcommand may ask of the program it belongs to. */
export interface ProgramContext {
  /** The program with every subcommand loaded, so with all options and arguments: for help and completions. */
  loadAll(): Promise<Command>;
}

interface Row {
  name: string;
  summary: string;
}

/** Creates the program with what all subcommands share. */
export function createProgram(): Command {
  const program = new Command("mesh")
    .description("Run TypeScript across machines as if they were one process.")
    .usage("COMMAND [options]")
    .helpCommand(false)
    .enablePositionalOptions()
    .option("-V, --version", "print version, commit and platform")
    .addHelpText("after", "\n`mesh help COMMAND` explains one, `mesh help exit-codes` what the exit status says.");
  return share(program);
}

/** Adds a subcommand: the loaded one, or its name and summary when none is given. */
export function mount(program: Command, row: Row, loaded: unknown): void {
  const command = loaded === undefined ? new Command(row.name) : (loaded as Command);
  program.addCommand(shareAll(command.summary(row.summary)));
}

/**
 * Parses and runs the command line; returns the exit status. `build` makes the program, with the named subcommand loaded.
 * `mesh help COMMAND` is `mesh COMMAND --help`.
 */
export async function parse(build: (wanted?: string) => Promise<Command>, args: string[]): Promise<number> {
  const known = await build();
  const asked = args[0] === "help" && known.commands.some((command) => command.name() === args[1]);
  const line = asked ? [...args.slice(1), "--help"] : args;
  if (line.length === 0) {
    known.outputHelp({ error: true });
    return EXIT.usage;
  }
  const wanted = line.find((word) => !word.startsWith("-"));
  try {
    await (await build(wanted)).parseAsync(line, { from: "user" });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    // The parser has printed already, be it help or what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    throw error;
  }
}

/** Settings that the parser does not hand down to commands made elsewhere. */
function share(command: Command): Command {
  const paint = (text: string) => text.replace(/^error:/, styleText("red", "error:", { stream: process.stderr }));
  return command
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${paint(text)}${adviceFor(command)}`) });
}

function shareAll(command: Command): Command {
  for (const inner of command.commands) shareAll(inner);
  return share(command);
}

function adviceFor(command: Command): string {
  const path: string[] = [];
  for (let at: Command | null = command; at; at = at.parent) path.unshift(at.name());
  return `Try \`${path.join(" ")} --help\`.\n`;
}
