// What is said of a file that is not TOML: the place from toml's own error, the words from Bun's parser, which are plainer.
import type { LocatedProblem, Position } from "./problems.ts";

/** Turns the error of the `toml` package for `source` into a problem. */
export function grammarProblem(error: unknown, source: string): Omit<LocatedProblem, "file"> {
  const own = error as { location?: { start: Position }; line?: number; column?: number; message: string };
  // Errors of the grammar carry `location`; there, `line` and `column` are Bun's, of the throw inside the parser.
  const { line, column } = own.location?.start ?? { line: own.line ?? 1, column: own.column ?? 1 };
  return { line, column, message: wordsOfBun(source) ?? own.message };
}

function wordsOfBun(source: string): string | undefined {
  try {
    Bun.TOML.parse(source);
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return "nested too deeply";
    return error instanceof Error ? error.message.replace(/^TOML Parse error: /, "") : undefined;
  }
}
