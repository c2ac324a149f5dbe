// Source text to syntax tree. The only file that knows Babel's parser and its options.

import { type ParserPlugin, parse } from "@babel/parser";
import type { Diagnostic } from "./diagnostics.ts";
import type { Node } from "./syntax.ts";

/** Parses a file by its extension; a syntax error comes back as a diagnostic. */
export function parseSource(file: string, source: string): Node | Diagnostic {
  try {
    const tree = parse(source, {
      sourceType: "module",
      allowUndeclaredExports: true,
      allowReturnOutsideFunction: false,
      createParenthesizedExpressions: false,
      plugins: pluginsFor(file),
    });
    return tree as unknown as Node;
  } catch (error) {
    const { loc, message } = error as Error & { loc?: { line: number; column: number } };
    return {
      file,
      line: loc?.line ?? 0,
      column: loc ? loc.column + 1 : 0,
      message: `cannot be parsed: ${message.replace(/ \(\d+:\d+\)$/, "")}`,
    };
  }
}

function pluginsFor(file: string): ParserPlugin[] {
  // Bun follows TypeScript's older decorators; they alone may stand on parameters.
  const plugins: ParserPlugin[] = ["decorators-legacy", "decoratorAutoAccessors", "explicitResourceManagement"];
  if (/\.[cm]?ts$/.test(file)) plugins.push("typescript");
  else if (file.endsWith(".tsx")) plugins.push("typescript", "jsx");
  else plugins.push("jsx");
  return plugins;
}
