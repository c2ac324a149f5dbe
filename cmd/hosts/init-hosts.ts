// The hosts that `mesh init` writes into mesh.toml: from the command line, or chosen from the aliases of ssh_config.
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { hasRange } from "../../core/config/ranges.ts";
import { chooseHosts } from "../../core/fleet/hosts.ts";

const TIMING = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };
const INCLUDE_DEPTH = 4;

/** A section of mesh.toml for each word: a destination of ssh, or a range of them. Throws USAGE for what is none. */
export function hostSections(words: readonly string[]): { names: string[]; text: string }[] {
  return words.map((word) => {
    const names = chooseHosts([word], [], TIMING).map(({ name }) => name);
    const key = hasRange(word) ? word.replace(/^.*@/, "") : names[0]!;
    const login = key === word ? "" : `ssh = ${JSON.stringify(word)}\n`;
    return { names, text: `\n[hosts.${/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key)}]\n${login}` };
  });
}

/** Names that the user's ssh_config gives to hosts, patterns left out. */
export function sshAliases(path = join(process.env.HOME ?? homedir(), ".ssh", "config"), depth = 0): string[] {
  if (!existsSync(path)) return [];
  const aliases = new Set<string>();
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [, keyword = "", rest = ""] = /^\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*$/.exec(line) ?? [];
    const values = rest.split(/\s+/).map((value) => value.replace(/^"(.*)"$/, "$1"));
    if (/^host$/i.test(keyword)) for (const value of values) if (!/[*?!]/.test(value)) aliases.add(value);
    if (!/^include$/i.test(keyword) || depth >= INCLUDE_DEPTH) continue;
    for (const file of values.flatMap(includedFiles))
      for (const alias of sshAliases(file, depth + 1)) aliases.add(alias);
  }
  return [...aliases];
}

/** Of ssh_config's Include: relative to ~/.ssh, with patterns. */
function includedFiles(pattern: string): string[] {
  const home = process.env.HOME ?? homedir();
  const path = pattern.replace(/^~(?=\/)/, home);
  const from = isAbsolute(path) ? "/" : join(home, ".ssh");
  return [...new Bun.Glob(isAbsolute(path) ? path.slice(1) : path).scanSync({ cwd: from, absolute: true, dot: true })];
}

/** Asks which of them; none when nothing is chosen. */
export async function chooseAliases(aliases: readonly string[]): Promise<string[]> {
  const { multiselect, isCancel } = await import("@clack/prompts");
  const chosen = await multiselect({
    message: "Which of the hosts in your ssh_config are to work for the mesh? (space chooses, enter goes on)",
    options: aliases.map((alias) => ({ value: alias, label: alias })),
    required: false,
    output: process.stderr,
  });
  return isCancel(chosen) ? [] : chosen;
}
