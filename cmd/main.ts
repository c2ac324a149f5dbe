// The composition root: the table of subcommands, each loaded only when it is asked for, and the way out of the process.
// The command line parser is loaded only for what needs it: `mesh version`, slots and workers start without.
import type { Command } from "commander";
import type { ProgramContext } from "./program.ts";
import { versionLine } from "./version.ts";

/** A subcommand in the parser's words. Its action resolves when the process should end, with `process.exitCode` set. */
interface CommandModule {
  // The typed Command of extra-typings differs for each subcommand; the parser's own is what they share.
  command(context: ProgramContext): unknown | Promise<unknown>;
}

/**
 * A role that hosts start by the thousand: no parser, no help. Resolves with its exit status when the process should end,
 * or with undefined when it will end by itself once nothing is left to do.
 */
interface RoleModule {
  main(args: string[], context: ProgramContext): Promise<number | undefined>;
}

interface Row<Module> {
  name: string;
  summary: string;
  load(): Promise<Module>;
}

// The paths are literals because the compiler bundles only what it can read.
const COMMANDS: Row<CommandModule>[] = [
  { name: "run", summary: "run a script across the mesh", load: () => import("./run.ts") },
  { name: "up", summary: "start workers on hosts, over SSH", load: () => import("./hosts/up.ts") },
  { name: "down", summary: "end them again", load: () => import("./hosts/down.ts") },
  { name: "status", summary: "show the nodes of the mesh and its jobs", load: () => import("./operate/status.ts") },
  { name: "jobs", summary: "list the last jobs and how they ended", load: () => import("./operate/jobs.ts") },
  { name: "logs", summary: "print what a job printed", load: () => import("./operate/logs.ts") },
  { name: "attach", summary: "follow a job to its end", load: () => import("./operate/attach.ts") },
  { name: "exec", summary: "run a command on hosts of the mesh", load: () => import("./operate/exec.ts") },
  { name: "cp", summary: "copy files to and from hosts of the mesh", load: () => import("./operate/cp.ts") },
  { name: "doctor", summary: "tell what is wrong with hosts, and the fix", load: () => import("./hosts/doctor.ts") },
  { name: "kill", summary: "end jobs or nodes", load: () => import("./operate/kill.ts") },
  { name: "token", summary: "let a machine join the mesh", load: () => import("./operate/token.ts") },
  { name: "revoke", summary: "take back the certificates of a node", load: () => import("./operate/revoke.ts") },
  { name: "rotate", summary: "replace the CA of the mesh", load: () => import("./operate/rotate.ts") },
  { name: "worker", summary: "lend this host's slots to a mesh", load: () => import("./roles/worker.ts") },
  { name: "join", summary: "use a mesh from this machine", load: () => import("./operate/join.ts") },
  { name: "coordinator", summary: "be the coordinator of a mesh", load: () => import("./roles/coordinator.ts") },
  { name: "rendezvous", summary: "be where nodes behind routers meet", load: () => import("./roles/rendezvous.ts") },
  { name: "init", summary: "set this folder up for job scripts", load: () => import("./hosts/init.ts") },
  { name: "config", summary: "check mesh.toml, print its schema", load: () => import("./config.ts") },
  { name: "completion", summary: "print the completion script of a shell", load: () => import("./completion.ts") },
  { name: "version", summary: "print version, commit and platform", load: () => import("./version.ts") },
  { name: "help", summary: "explain a subcommand or a topic", load: () => import("./help.ts") },
];

const ROLES: Row<RoleModule>[] = [
  { name: "slot", summary: "run job code for a node", load: () => import("./roles/slot.ts") },
  { name: "head", summary: "be the node of one job", load: () => import("./roles/head.ts") },
  { name: "fork", summary: "be a node beside a head", load: () => import("./roles/fork.ts") },
  { name: "host", summary: "start and end workers for mesh up", load: () => import("./roles/host.ts") },
  { name: "binary", summary: "make the binary for another platform", load: () => import("./roles/binary.ts") },
  { name: "tether", summary: "carry connections of hosts that cannot dial", load: () => import("./roles/tether.ts") },
  { name: "complete", summary: "answer a shell that completes a line", load: () => import("./completion.ts") },
];

/**
 * What the runtime, or a library in it, obeys from the environment and mesh does not want to. Removed before anything
 * is loaded, so that neither TLS in this process nor a child sees it. Pass `env: process.env` to children:
 * Bun.spawn without `env` gives them the environment this process was started with.
 */
const UNWANTED_ENVIRONMENT = /^(BUN_(?!INSTALL)|NODE_TLS_REJECT_UNAUTHORIZED$)/;

function cleanEnvironment(): void {
  for (const name of Object.keys(process.env)) if (UNWANTED_ENVIRONMENT.test(name)) delete process.env[name];
}

const context: ProgramContext = { loadAll: () => build("*") };

/** Builds the program with one subcommand loaded and the others known by name, or with all of them loaded. */
async function build(wanted: string | undefined): Promise<Command> {
  const { createProgram, mount } = await import("./program.ts");
  const program = createProgram();
  for (const row of COMMANDS) {
    const chosen = wanted === row.name || wanted === "*";
    mount(program, row, chosen ? await (await row.load()).command(context) : undefined);
  }
  return program;
}

/** Prints the version if that is all that was asked for; returns whether it was. */
function answerVersion([name, ...args]: string[]): boolean {
  const plain = name === "version" && args.length === 0;
  const json = name === "version" && args.length === 1 && args[0] === "--json";
  if (!plain && !json && name !== "--version" && name !== "-V") return false;
  console.log(versionLine(json));
  return true;
}

/** Runs the command line and returns its exit status. */
async function main(args: string[]): Promise<number | undefined> {
  try {
    const role = ROLES.find((row) => row.name === args[0]);
    if (role) return await (await role.load()).main(args.slice(1), context);
    endQuietlyWithoutReader();
    const { parse } = await import("./program.ts");
    return await parse(build, args);
  } catch (error) {
    const { exitStatusOf, printError } = await import("./exit.ts");
    printError(error);
    return exitStatusOf(error);
  }
}

/** When the reader of a pipe goes away (`mesh logs | head`) nobody is left to write for. Bun raises no SIGPIPE. */
function endQuietlyWithoutReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  }
}

/** Ends the process once what was written has left it: `process.exit` alone loses what a pipe has not taken yet. */
async function leave(status: number | undefined): Promise<void> {
  if (status === undefined) return;
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((done) => stream.write("", done));
  }
  process.exit(status);
}

cleanEnvironment();
const args = process.argv.slice(2);
if (!answerVersion(args)) await leave(await main(args));
