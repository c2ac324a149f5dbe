// What a workload is made of, and how a contender in a process of its own is run.
import { join } from "node:path";

export const ROOT = join(import.meta.dir, "..");
export const MESH = join(ROOT, "dist/mesh");

export interface Contender {
  name: string;
  /** One measurement. */
  run(): Promise<number>;
}

/**
 * What the design asks: of mesh `ratio` times what `against` reached, or of contender `of` at most `limit`, or of mesh
 * `atLeast` so much.
 */
export type Bar = { text: string } & (
  | { against: string; ratio: number }
  | { of: string; limit: number }
  | { atLeast: number }
);

export interface Workload {
  title: string;
  unit: string;
  lessIsBetter: boolean;
  /** The contenders measure different things: no ratios. */
  unlike?: boolean;
  /** mesh first. */
  contenders: Contender[];
  bars: Bar[];
  /** Lets go of what the contenders needed. */
  end?(): unknown;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Runs a program whose last line is one number, or what `read` makes one of. */
export function program(name: string, command: string[], read: (line: string) => number = Number): Contender {
  return {
    name,
    run: async () => {
      const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit", cwd: ROOT });
      const text = await new Response(child.stdout).text();
      if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} ended with ${child.exitCode}`);
      return read(text.trim().split("\n").at(-1) ?? "");
    },
  };
}

/** The contender, if its program is on this machine. */
export function where(tool: string, contender: () => Contender): Contender[] {
  return Bun.which(tool) ? [contender()] : [];
}
