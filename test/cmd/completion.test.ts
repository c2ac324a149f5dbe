import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { execute, MESH, mesh, temporaryFolder } from "./mesh.ts";

function complete(words: string[], cwd?: string): string[] {
  const answer = mesh(["complete", "--", ...words], cwd === undefined ? {} : { cwd });
  expect(answer).toMatchObject({ status: 0, stderr: "" });
  const lines = answer.stdout.trimEnd().split("\n");
  expect(lines.at(-1)).toMatch(/^:\d+$/);
  return lines.slice(0, -1).map((line) => line.split("\t")[0]!);
}

it("mesh complete (F88): subcommands, nested ones, flags, choices, topics; never the hidden ones", () => {
  expect(complete([""])).toEqual(expect.arrayContaining(["run", "init", "config", "completion", "version", "help"]));
  for (const hidden of ["slot", "head", "fork", "complete"]) expect(complete([""])).not.toContain(hidden);
  expect(complete(["co"])).toEqual(["coordinator", "config", "completion"]);
  expect(complete(["config", ""])).toEqual(["check", "schema"]);
  expect(complete(["run", "--slo"])).toEqual(["--slots", "--slot-memory"]);
  expect(complete(["completion", ""])).toEqual(["bash", "zsh", "fish", "powershell"]);
  expect(complete(["help", "exit"])).toEqual(["exit-codes"]);
});

it("mesh complete (F88): scripts for run, TOML files for config check", () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "jobs"));
  mkdirSync(join(folder.path, "node_modules"));
  for (const name of ["a.ts", "jobs/b.mts", "jobs/c.d.ts", "node_modules/d.ts", "e.txt", ".f.ts", "mesh.toml"]) {
    folder.write(name, "");
  }
  expect(complete(["run", ""], folder.path).sort()).toEqual(["a.ts", "jobs/b.mts"]);
  expect(complete(["run", "jobs/"], folder.path)).toEqual(["jobs/b.mts"]);
  expect(complete(["run", "./a"], folder.path)).toEqual(["./a.ts"]);
  expect(complete(["run", `${folder.path}/a`], folder.path)).toEqual([`${folder.path}/a.ts`]);
  expect(complete(["run", "no/such/"], folder.path)).toEqual([]);
  expect(complete(["config", "check", "m"], folder.path)).toEqual(["mesh.toml"]);
});

it("mesh complete (F88 F98): hosts of mesh.toml for up, down and doctor", () => {
  using folder = temporaryFolder();
  folder.write("mesh.toml", '[hosts."rack[1-2]"]\n[hosts.gpu]\nssh = "alice@10.0.0.5"\n');
  for (const command of ["up", "down", "doctor"])
    expect(complete([command, ""], folder.path)).toEqual(["rack1", "rack2", "gpu"]);
  expect(complete(["doctor", "g"], folder.path)).toEqual(["gpu"]);
});

it("mesh completion bash (F88): what a shell that sources it offers", () => {
  // The part of the package bash-completion that the script needs, so that the test does not.
  const script = `
    _get_comp_words_by_ref() { cur="\${COMP_WORDS[COMP_CWORD]}"; words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
    PATH="${dirname(MESH)}:$PATH"; compopt() { :; }
    source <(mesh completion bash)
    COMP_WORDS=(mesh co); COMP_CWORD=1; __mesh_complete; echo "\${COMPREPLY[*]}"
    COMP_WORDS=(mesh run --slo); COMP_CWORD=2; __mesh_complete; echo "\${COMPREPLY[*]}"
    complete -p mesh`;
  const answer = execute(["bash", "-c", script]);
  expect(answer).toMatchObject({ status: 0, stderr: "" });
  expect(answer.stdout.split("\n").map((line) => line.trim())).toEqual([
    "coordinator config completion",
    "--slots --slot-memory",
    "complete -F __mesh_complete mesh",
    "",
  ]);
});

it.each(["bash", "zsh", "fish", "powershell"])(
  "mesh completion %s prints a script that asks `mesh complete`",
  (shell) => {
    const answer = mesh(["completion", shell]);
    expect(answer).toMatchObject({ status: 0, stderr: "" });
    expect(answer.stdout).toContain("mesh complete");
  },
);
