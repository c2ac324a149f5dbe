// From the command to the end of the process.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Contender, MESH, median, ROOT, type Workload } from "./contender.ts";

/** The time of one command in ms: the median of several runs. */
function command(name: string, line: string[], runs: number): Contender {
  return {
    name,
    run: async () => {
      const times: number[] = [];
      for (let i = 0; i < runs; i++) {
        const start = performance.now();
        const child = Bun.spawn(line, { stdout: "ignore", stderr: "inherit" });
        if ((await child.exited) !== 0) throw new Error(`${line.join(" ")} ended with ${child.exitCode}`);
        times.push(performance.now() - start);
      }
      return median(times);
    },
  };
}

/** A program that says hello, compiled as mesh is. */
function compiledHello(): string {
  const folder = mkdtempSync(join(tmpdir(), "bench-hello-"));
  const source = join(folder, "hello.ts");
  const binary = join(folder, "hello");
  writeFileSync(source, 'console.log("hello");\n');
  const build = ["build", "--compile", "--minify", "--bytecode", "--format=esm", source, "--outfile", binary];
  const { exitCode } = Bun.spawnSync([process.execPath, ...build], { stdout: "ignore", cwd: folder });
  if (exitCode !== 0) throw new Error("the hello program was not compiled");
  process.on("exit", () => rmSync(folder, { recursive: true }));
  return binary;
}

export async function coldStart(): Promise<Workload> {
  const version = command("mesh version", [MESH, "version"], 11);
  const hello = command("compiled hello world", [compiledHello()], 11);
  const job = command("mesh run examples/hello.ts", [MESH, "run", join(ROOT, "examples/hello.ts")], 5);
  return {
    title: "cold start",
    unit: "ms",
    lessIsBetter: true,
    contenders: [version, hello, job],
    bars: [
      { text: "mesh version at most 2 times a compiled hello world", against: "compiled hello world", ratio: 0.5 },
      { text: "mesh run examples/hello.ts at most 250 ms", of: "mesh run examples/hello.ts", limit: 250 },
    ],
  };
}
