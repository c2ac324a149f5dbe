// Source text to syntax tree. The only file that knows Babel's parser and its options.

import { type ParserPlugin, parse } from "@babel/parser";
import type { Diagnostic } from "./diagnostics.ts";
import type { Node } from "./syntax.ts";

export interface Parsed {
  tree: Node;
  /** Breaches of rules that leave the tree whole. Whether they matter is for the bundler to say. */
  doubts: Diagnostic[];
}

interface BabelError extends Error {
  loc?: { line: number; column: number };
}

/** Parses a file by its extension; a syntax error comes back as a diagnostic. */
export function parseSource(file: string, source: string): Parsed | Diagnostic {
  try {
    return parseWith(file, source, "decorators-legacy");
  } catch (error) {
    // Only older decorators may stand on parameters, only newer ones behind `export`: which are meant, the file shows.
    if (source.includes("@")) {
      try {
        return parseWith(file, source, ["decorators", { allowCallParenthesized: true }]);
      } catch {
        // What the first attempt says is as good.
      }
    }
    return diagnosticOf(file, error as BabelError);
  }
}

function parseWith(file: string, source: string, decorators: ParserPlugin): Parsed {
  const tree = parse(source, {
    sourceType: "module",
    errorRecovery: true,
    allowUndeclaredExports: true,
    plugins: [decorators, "decoratorAutoAccessors", "explicitResourceManagement", ...languagePlugins(file)],
  });
  const doubts = (tree.errors ?? []).map((error) => diagnosticOf(file, error as unknown as BabelError));
  return { tree: tree as unknown as Node, doubts };
}

function languagePlugins(file: string): ParserPlugin[] {
  if (/\.[cm]?ts$/.test(file)) return ["typescript"];
  return file.endsWith(".tsx") ? ["typescript", "jsx"] : ["jsx"];
}

function diagnosticOf(file: string, { loc, message }: BabelError): Diagnostic {
  return {
    file,
    line: loc?.line ?? 0,
    column: loc ? loc.column + 1 : 0,
    message: `cannot be parsed: ${message.replace(/ \(\d+:\d+\)$/, "")}`,
  };
}
