import { openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { execute, MESH, mesh, temporaryFolder } from "./mesh.ts";

describe("mesh, its subcommands and their statuses", () => {
  it("without arguments prints help on standard error and ends with 2; --help ends with 0", () => {
    const bare = mesh([]);
    expect(bare).toMatchObject({ status: 2, stdout: "" });
    expect(bare.stderr).toContain("Usage: mesh COMMAND");
    const asked = mesh(["--help"]);
    expect(asked).toMatchObject({ status: 0, stderr: "" });
    expect(asked.stdout).toBe(bare.stderr);
    expect(mesh(["help"]).stdout).toContain("Usage: mesh COMMAND");
  });

  it("help shows no role that only hosts start", () => {
    expect(mesh(["--help"]).stdout).not.toMatch(/^ {2}(slot|head|fork|complete) /m);
  });

  it("help exit-codes tells each status; help COMMAND is COMMAND --help", () => {
    const text = mesh(["help", "exit-codes"]).stdout;
    for (const status of [0, 1, 2, 3, 4, 5, 124, 130, 143]) expect(text).toMatch(new RegExp(`^ +${status} `, "m"));
    expect(mesh(["help", "run"]).stdout).toBe(mesh(["run", "--help"]).stdout);
    expect(mesh(["help", "exit-code"])).toMatchObject({ status: 2 });
    expect(mesh(["help", "exit-code"]).stderr).toContain("did you mean `mesh help exit-codes`?");
  });

  it.each([
    [["rnu"], "Did you mean run?"],
    [["run", "--slosts", "3", "x.ts"], "Did you mean --slots?"],
    [["config", "chekc"], "Did you mean check?"],
    [["init", "--forse"], "Did you mean --force?"],
    [["frobnicate"], "unknown command 'frobnicate'"],
    [["run"], "missing required argument 'script'"],
    [["run", "--slots"], "argument missing"],
    [["run", "--slots", "0", "x.ts"], "1 to 4096"],
    [["run", "--timeout", "10", "x.ts"], "a time such as"],
    [["run", "--slot-memory", "lots", "x.ts"], "a size such as"],
    [["version", "--jsno"], "Did you mean --json?"],
    [["version", "x"], "too many arguments"],
    [["completion", "tcsh"], "Allowed choices are bash, zsh, fish, powershell"],
    [["--nonsense"], "unknown option '--nonsense'"],
    [["config", "check", "/nowhere/mesh.toml"], "does not exist"],
  ])("usage errors end with 2 and say what is near (F88): %j", (args, told) => {
    const answer = mesh(args);
    expect(answer).toMatchObject({ status: 2, stdout: "" });
    expect(answer.stderr).toContain(told);
    expect(answer.stderr).not.toMatch(/\n\s+at /);
  });

  it("version, as a line and as JSON (F87)", () => {
    expect(mesh(["version"]).stdout).toMatch(/^mesh \d+\.\d+\.\d+ \(\S+, bun \S+, \w+-\w+, protocol \d+\)\n$/);
    expect(mesh(["--version"]).stdout).toBe(mesh(["version"]).stdout);
    const { version, commit, bun, platform, protocol } = JSON.parse(mesh(["version", "--json"]).stdout);
    expect(mesh(["version"]).stdout).toBe(
      `mesh ${version} (${commit}, bun ${bun}, ${platform}, protocol ${protocol})\n`,
    );
  });

  it("a pipe gets no colours, unless FORCE_COLOR asks for them; NO_COLOR wins on nothing (F87)", () => {
    expect(mesh(["rnu"]).stderr).not.toContain("\u001b");
    expect(mesh(["rnu"], { env: { FORCE_COLOR: "1" } }).stderr).toContain("\u001b[31merror:");
    expect(mesh(["rnu"], { env: { NO_COLOR: "1" } }).stderr).not.toContain("\u001b");
  });

  it("ends quietly when the reader of its output is gone", () => {
    const answer = execute(["bash", "-c", `"${MESH}" config schema | head -c 1; echo "\${PIPESTATUS[0]}"`]);
    expect(answer).toEqual({ status: 0, stdout: "{0\n", stderr: "" });
  });

  it("a full disk or closed output is no hang", () => {
    const full = Bun.spawnSync([MESH, "config", "schema"], { stdout: openSync("/dev/full", "w"), timeout: 10_000 });
    expect(full.signalCode ?? null).toBeNull();
    expect(execute(["bash", "-c", `"${MESH}" config schema >&-; echo done`]).stdout).toBe("done\n");
  });

  it("works from a folder that is gone", () => {
    const script = `d=$(mktemp -d); cd "$d"; rmdir "$d"; "${MESH}" version && "${MESH}" config schema | wc -c`;
    expect(execute(["bash", "-c", script]).stdout).toMatch(/^mesh .*\n\d+\n$/);
  });
});

describe("mesh config (F87, F88)", () => {
  it("check: right, wrong, none, and the same as JSON", () => {
    using folder = temporaryFolder();
    expect(mesh(["config", "check"], { cwd: folder.path })).toMatchObject({ status: 2, stdout: "" });
    expect(mesh(["config", "check"], { cwd: folder.path }).stderr).toContain("no mesh.toml in");
    folder.write("mesh.toml", "[hosts.a]\n[hosts.b]\n");
    expect(mesh(["config", "check"], { cwd: folder.path })).toMatchObject({ status: 0, stderr: "" });
    expect(mesh(["config", "check"], { cwd: folder.path }).stdout).toMatch(/mesh\.toml: right; 2 hosts\n$/);
    folder.write("mesh.toml", "[hosts.a]\nslosts = 1\n[mesh]\nslots = 0\n");
    const wrong = mesh(["config", "check"], { cwd: folder.path });
    expect(wrong).toMatchObject({ status: 2, stdout: "" });
    expect(wrong.stderr).toBe(
      "error: mesh.toml:2:1: hosts.a.slosts: unknown key: did you mean `slots`?\n    slosts = 1\n    ^\n" +
        "mesh.toml:4:9: mesh.slots: expected a whole number of 1 to 4096, got 0\n    slots = 0\n            ^\n",
    );
    const json = mesh(["config", "check", "--json"], { cwd: folder.path });
    expect(json).toMatchObject({ status: 2, stderr: "" });
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: false,
      problems: [
        { line: 2, column: 1, key: "hosts.a.slosts" },
        { line: 4, column: 9, key: "mesh.slots" },
      ],
    });
  });

  it("schema: a JSON Schema that knows every key", () => {
    const schema = JSON.parse(mesh(["config", "schema"]).stdout);
    expect(schema.$schema).toContain("draft-07");
    expect(Object.keys(schema.properties)).toEqual([
      "mesh",
      "coordinator",
      "rendezvous",
      "hosts",
      "transport",
      "plugins",
    ]);
    expect(schema.properties.hosts.additionalProperties.properties.slots).toMatchObject({ maximum: 4096 });
  });
});
