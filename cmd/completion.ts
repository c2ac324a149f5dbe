// Shell completions: `mesh completion SHELL` prints the script a shell sources, which asks `mesh complete` at each tab.
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Complete, Argument as TabArgument, Option as TabOption } from "@bomb.sh/tab";
import { Argument, Command } from "@commander-js/extra-typings";
import { checkConfig, findConfig } from "../core/config/mod.ts";
import { type LiveValue, liveValues, meshNames } from "./live-values.ts";
import type { ProgramContext } from "./program.ts";
import { surroundingsOfProcess } from "./surroundings.ts";

const SHELLS = ["bash", "zsh", "fish", "powershell"] as const;

const HOW_TO = `
To have completions in every new shell (bash needs the package bash-completion):
  bash        mesh completion bash > ~/.local/share/bash-completion/completions/mesh
  zsh         mesh completion zsh > ~/.zsh-completions/_mesh   (a folder of your $fpath)
  fish        mesh completion fish > ~/.config/fish/completions/mesh.fish
  powershell  mesh completion powershell >> $PROFILE`;

/** `mesh completion`. */
export function command() {
  return new Command("completion")
    .description("Print the completion script of a shell.")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .addHelpText("after", HOW_TO)
    .action(async (shell) => {
      const { script } = await import("@bomb.sh/tab");
      script(shell, "mesh", "mesh");
    });
}

/** `mesh complete -- WORD…`, for the scripts above: prints what the last word may become. */
export async function main(args: string[], context: ProgramContext, around = surroundingsOfProcess()): Promise<number> {
  const words = args[0] === "--" ? args.slice(1) : args;
  const { default: createTab } = await import("@bomb.sh/tab/commander");
  const tab = createTab((await context.loadAll()) as Parameters<typeof createTab>[0]);
  tab.commands.delete("complete"); // the package adds its own; ours is hidden
  const partial = words.at(-1) ?? "";
  const run = tab.commands.get("run");
  // The script only: what follows is the script's own, and only it knows.
  run?.arguments.clear();
  run?.argument("script", (add) => {
    for (const path of scriptsNear(partial)) add(path, "");
  });
  tab.commands.get("config check")?.argument("file", (add) => {
    for (const path of filesNear(partial, /\.toml$/)) add(path, "");
  });
  tab.commands.get("help")?.argument("topic", (add) => {
    for (const name of [...tab.commands.keys(), "exit-codes"]) if (!name.includes(" ")) add(name, "");
  });
  const meshes = meshNames();
  for (const { options } of tab.commands.values()) offer(options.get("mesh"), meshes);
  const asked = tab.commands.get(words[0] ?? "");
  const live = await liveValues(words, around);
  for (const name of LIVE_ARGUMENTS) offer(asked?.arguments.get(name), live);
  offer(asked?.options.get("host"), live);
  if (words[0] !== undefined && HOST_COMMANDS.includes(words[0]))
    offer(asked?.arguments.get("hosts"), words.includes("--path") ? live : await hostsOfConfig());
  tab.parse([...words]);
  return 0;
}

/** Arguments that name jobs or nodes. */
const LIVE_ARGUMENTS = ["job", "targets", "name", "names", "words"];

/** Commands whose hosts need not be in the mesh yet. */
const HOST_COMMANDS = ["up", "down", "doctor"];
const HOSTS_SHOWN = 200;

async function hostsOfConfig(): Promise<LiveValue[]> {
  const file = findConfig();
  const result = file === undefined ? undefined : await checkConfig(file);
  const hosts = result && "config" in result ? result.config.hosts : [];
  return hosts.slice(0, HOSTS_SHOWN).map(({ name, ssh }) => ({ value: name, description: ssh === name ? "" : ssh }));
}

function offer(to: TabOption | TabArgument | undefined, values: readonly LiveValue[]): void {
  if (!to) return;
  to.handler = (complete: Complete) => {
    for (const { value, description } of values) complete(value, description);
  };
}

const FOLDERS_DEEP = 2;
const FILES_SHOWN = 200;

function scriptsNear(partial: string): string[] {
  return filesNear(partial, /(?<!\.d)\.[cm]?[jt]sx?$/);
}

/** The files that `partial` may be the beginning of, down to FOLDERS_DEEP folders below its own. */
function filesNear(partial: string, pattern: RegExp): string[] {
  const folder = partial.endsWith("/") ? partial : dirname(partial);
  const prefix = folder === "." && !partial.startsWith("./") ? "" : join(folder, "/");
  const found: string[] = [];
  const search = (under: string, depth: number) => {
    for (const entry of entriesOf(join(folder, under))) {
      if (found.length >= FILES_SHOWN || entry.name.startsWith(".") || entry.name === "node_modules") continue;
      const name = `${under}${entry.name}`;
      if (entry.isDirectory() && depth > 0) search(`${name}/`, depth - 1);
      else if (!entry.isDirectory() && pattern.test(name)) found.push(`${prefix}${name}`);
    }
  };
  search("", FOLDERS_DEEP);
  const dotted = partial.startsWith("./") ? found.map((path) => `./${path.replace(/^\.\//, "")}`) : found;
  return dotted.filter((path) => path.startsWith(partial));
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // no such folder, or not ours to read: nothing to offer
  }
}
