import { describe, expect, it } from "vitest";
import { kill, processesOf } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

/** Processes of the mesh that run a shell's `sleep` of so many seconds. */
function sleepers(mesh: TestMesh, seconds: number): number[] {
  return processesOf(mesh.folder.marker)
    .filter(({ command }) => command[0]?.endsWith("sleep") && command[1] === String(seconds))
    .map(({ pid }) => pid);
}

describe("F89: mesh exec", () => {
  it("runs a command on hosts by name, range, pattern and tag, and says whose each line is", async () => {
    await using mesh = await TestMesh.start({ workers: { rack01: 1, rack02: 1 } });
    await mesh.startWorker("gpu1", ["--slots", "1", "--tag", "gpu"]);
    const ran = async (...args: string[]) => {
      const { stdout, stderr, status } = await mesh.mesh(["exec", ...args]);
      expect([stderr, status]).toEqual(["", 0]);
      return stdout.split("\n").sort().slice(1);
    };
    expect(await ran("--", "echo", "hi  there")).toEqual([
      "[gpu1] hi  there",
      "[rack01] hi  there",
      "[rack02] hi  there",
    ]);
    expect(await ran("rack[01-02]", "--", "echo", "a")).toEqual(["[rack01] a", "[rack02] a"]);
    expect(await ran("g*,rack01", "--", "echo", "a")).toEqual(["[gpu1] a", "[rack01] a"]);
    expect(await ran("--tag", "gpu", "echo", "a b; c")).toEqual(["a b; c"]);
    expect(await ran("gpu1", "echo $((1 + 2)) && cd / && pwd")).toEqual(["/", "3"]);
    expect(await ran("--all", "--no-prefix", "--", "echo", "x")).toEqual(["x", "x", "x"]);
  });

  it("passes bytes, both streams, input and the status of one host on as they are", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const shell = async (line: string, args: string[] = [], stdin?: Uint8Array) => {
      const { stdout, stderr, status } = await mesh.mesh(["exec", ...args, "w1", "--", "sh", "-c", line], {
        ...(stdin && { stdin }),
      });
      return [stdout, stderr, status];
    };
    expect(await shell("printf out; printf err >&2; exit 7")).toEqual(["out", "err", 7]);
    expect(await shell("kill -9 $$")).toEqual(["", "", 137]);
    expect(await shell("cat; echo end", [], Buffer.from("nobody reads this"))).toEqual(["end\n", "", 0]);
    const text = "line\n".repeat(400_000);
    const [counted] = await shell("wc -lc", ["-i"], Buffer.from(text));
    expect(String(counted).trim().split(/ +/)).toEqual(["400000", "2000000"]);
    const [numbers] = await shell("seq 300000");
    expect(numbers).toBe(`${Array.from({ length: 300_000 }, (_, at) => at + 1).join("\n")}\n`);
    expect((await mesh.mesh(["exec", "w1", "no-such-program", "x"])).status).toBe(127);
    expect((await mesh.mesh(["exec", "w1", "no-such-program", "x"])).stderr).toBe(
      "mesh: w1: no-such-program: command not found\n",
    );
  });

  it("sends a script and runs it by what its first line names", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    mesh.folder.write({
      "plain.sh": 'echo "plain $1 $#"; cat',
      "odd.txt": "#!/usr/bin/env -S awk -f\nBEGIN { print ARGV[1] }",
    });
    const ran = async (...args: string[]) => (await mesh.mesh(["exec", ...args], { stdin: "read\n" })).stdout;
    expect(await ran("-i", "--script", "plain.sh", "w1", "--", "a b", "c")).toBe("plain a b 2\nread\n");
    expect(await ran("--script", "odd.txt", "w1", "--", "word")).toBe("word\n");
    const { status, stderr } = await mesh.mesh(["exec", "--script", "none.sh", "w1"]);
    expect([status, stderr]).toEqual([2, expect.stringContaining("none.sh cannot be read")]);
  });

  it("ends with 3 and says which hosts failed; a lost one hides no other", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1, w2: 1, w3: 1 } });
    await using run = mesh.command(["exec", "--", "sh", "-c", "echo begun; read x < /dev/null; sleep 71; echo over"]);
    await until(() => sleepers(mesh, 71).length === 3, { what: "three commands" });
    kill(mesh.worker("w2").pid, "SIGKILL");
    await mesh.nodeIs("w2", (node) => node?.state === "down");
    for (const pid of sleepers(mesh, 71)) kill(pid, "SIGKILL");
    const { stdout, stderr, status } = await run.ended();
    expect(status).toBe(3);
    expect(stdout.split("\n").sort().slice(1)).toEqual(
      ["w1", "w2", "w3"]
        .flatMap((name) => (name === "w2" ? ["[w2] begun"] : [`[${name}] begun`, `[${name}] over`]))
        .sort(),
    );
    expect(stderr).toMatch(/mesh: 1 of 3 hosts failed: w2 was lost: /);
    const after = await mesh.mesh(["exec", "w2", "w1", "--", "echo", "here"]);
    expect([after.status, after.stdout]).toEqual([3, "[w1] here\n"]);
    expect(after.stderr).toMatch(/w2 is down/);
    const left = await mesh.mesh(["exec", "--all", "--", "true"]);
    expect([left.status, left.stderr]).toEqual([0, "mesh: left out, as they are down: w2\n"]);
  });

  it("tells what is wrong with hosts before anything runs", async () => {
    await using mesh = await TestMesh.start({ workers: { gpu1: 1 } });
    const refused = async (...args: string[]) => {
      const { status, stderr, stdout } = await mesh.mesh(["exec", ...args]);
      expect([status, stdout]).toEqual([2, ""]);
      return stderr;
    };
    expect(await refused("gpu2", "--", "true")).toContain('no worker is named "gpu2": did you mean "gpu1"?');
    expect(await refused("coordinator", "--", "true")).toContain(
      "coordinator is a coordinator: only workers run commands",
    );
    expect(await refused("--tag", "big", "--", "true")).toContain(
      "there is no worker with the tag big: workers of this mesh are gpu1",
    );
    expect(await refused("gpu[9-1]", "--", "true")).toContain("runs backwards");
    expect(await refused("gpu1")).toContain("there is no command to run");
    expect(await refused("--evil", "--", "true")).toContain("unknown option '--evil'");
  });

  it("reaches a worker that cannot be dialed: it is asked to dial", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    await mesh.startWorker("hidden", ["--slots", "1", "--advertise", "tcp://127.0.0.1:1"]);
    const { stdout, stderr, status } = await mesh.mesh(["exec", "hidden", "echo", "found"]);
    expect([stdout, stderr, status]).toEqual(["found\n", "", 0]);
    const { nodes } = await mesh.status();
    expect(nodes.map(({ name }) => name)).toEqual(["coordinator", "hidden"]);
  });

  it("prints JSON, a line for each line and one for each end", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const { stdout, status } = await mesh.mesh([
      "exec",
      "--json",
      "w1",
      "--",
      "sh",
      "-c",
      "echo a; echo b >&2; exit 4",
    ]);
    expect(status).toBe(4);
    const objects = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(objects).toContainEqual({ host: "w1", stream: "stdout", line: "a" });
    expect(objects).toContainEqual({ host: "w1", stream: "stderr", line: "b" });
    expect(objects.at(-1)).toEqual({ host: "w1", end: true, exitCode: 4 });
  });
});

describe("F95: mesh exec leaves nothing behind", () => {
  const tree = "(trap '' TERM INT; setsid sleep 72 & sleep 72) & sleep 72";

  it("after Ctrl-C, a time limit, and kill -9 of the command", async () => {
    await using mesh = await TestMesh.start();
    const begun = async (...args: string[]) => {
      const run = mesh.command(["exec", ...args, "--", "sh", "-c", `${tree}; wait`]);
      await until(() => sleepers(mesh, 72).length === 6, { what: "all commands" });
      return run;
    };
    const gone = () => until(() => sleepers(mesh, 72).length === 0, { what: "commands to end", timeoutMs: 15_000 });
    await using interrupted = await begun();
    interrupted.signal("SIGINT");
    expect((await interrupted.ended()).status).toBe(130);
    expect(sleepers(mesh, 72)).toEqual([]);
    await using limited = await begun("--timeout", "1s");
    expect((await limited.ended()).status).toBe(124);
    expect(sleepers(mesh, 72)).toEqual([]);
    await using killed = await begun();
    killed.signal("SIGKILL");
    await gone();
  });

  it("when its worker is stopped, with what it had started as a daemon", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    await using run = mesh.command(["exec", "w1", tree]);
    await until(() => sleepers(mesh, 72).length === 3, { what: "the command" });
    mesh.worker("w1").signal("SIGTERM");
    expect((await mesh.worker("w1").ended()).status).toBe(0);
    expect(sleepers(mesh, 72)).toEqual([]);
    expect((await run.ended()).status).not.toBe(0);
  });

  it("when the network between is gone: after downAfter on both sides", async () => {
    const config = '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\n';
    await using mesh = await TestMesh.start({ workers: { w1: 1 }, config });
    await using run = mesh.command(["exec", "w1", `trap '' HUP TERM; ${tree}`]);
    await until(() => sleepers(mesh, 72).length === 3, { what: "the command" });
    kill(run.pid, "SIGSTOP"); // its sockets stay open, and nothing comes from it
    await until(() => sleepers(mesh, 72).length === 0, { what: "the command to end" });
    kill(run.pid, "SIGCONT");
    const { status, stderr } = await run.ended();
    expect([status, stderr]).toEqual([5, expect.stringContaining("w1 was lost")]);
  });

  it("when the command ends itself, and when its worker is killed", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    const { status } = await mesh.mesh(["exec", "w1", `(${tree}) > /dev/null & exit 5`]);
    expect(status).toBe(5);
    expect(sleepers(mesh, 72)).toEqual([]);
    await using run = mesh.command(["exec", "w1", tree]);
    await until(() => sleepers(mesh, 72).length === 3, { what: "the command" });
    kill(mesh.worker("w1").pid, "SIGKILL");
    expect((await run.ended()).status).toBe(5);
    await until(() => sleepers(mesh, 72).length === 0, { what: "the command to end" });
  });

  it("and a command's daemon lives as long as the command, whatever job ends meanwhile", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    await using run = mesh.command(["exec", "w1", "(setsid sleep 73 &) ; sleep 74"]);
    await until(() => sleepers(mesh, 73).length + sleepers(mesh, 74).length === 2, { what: "the command" });
    expect(
      await mesh.resultOf(
        'import { pool } from "mesh"; console.log(JSON.stringify(await pool().map((x) => x + 1, [1])));',
      ),
    ).toEqual([2]);
    expect(sleepers(mesh, 73)).toHaveLength(1);
    run.signal("SIGTERM");
    expect((await run.ended()).status).toBe(143);
    expect([...sleepers(mesh, 73), ...sleepers(mesh, 74)]).toEqual([]);
  });
});
