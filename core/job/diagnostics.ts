// What is wrong with a script, as data, and how it is shown. Knows nothing of how scripts are analysed.

import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { MeshError, type MeshErrorCode } from "../errors.ts";

/** One thing wrong at one place of the user's files. */
export interface Diagnostic {
  /** Absolute path. */
  file: string;
  /** From 1; 0 when the whole file is meant. */
  line: number;
  /** From 1, in UTF-16 units; 0 when the whole line is meant. */
  column: number;
  variable?: string;
  message: string;
}

/** Thrown when a script cannot be prepared; holds everything that is wrong with it, sorted by place. */
export class BuildError extends MeshError {
  readonly diagnostics: readonly Diagnostic[];

  /** `code` is CANNOT_TRAVEL when all that is wrong is functions that cannot travel, SCRIPT otherwise. */
  constructor(code: MeshErrorCode, diagnostics: readonly Diagnostic[], options?: ErrorOptions) {
    const sorted = sortDiagnostics(diagnostics);
    super(code, sorted.map(headline).join("\n"), options);
    this.diagnostics = sorted;
  }
}

/** Orders by file, line, column, and drops repetitions. */
function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const byPlace = [...diagnostics].sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  );
  const seen = new Set<string>();
  return byPlace.filter((diagnostic) => {
    const key = headline(diagnostic);
    return !seen.has(key) && seen.add(key);
  });
}

/** `job.ts:12:5: message`, with the path as seen from the current folder. */
export function headline(diagnostic: Diagnostic): string {
  const shown = relative(process.cwd(), diagnostic.file) || diagnostic.file;
  const path = shown.startsWith("..") ? diagnostic.file : shown;
  const place = diagnostic.line === 0 ? path : `${path}:${diagnostic.line}:${diagnostic.column}`;
  return `${place}: ${diagnostic.message}`;
}

/** Shows every diagnostic with its line of source and a caret under the column. */
export function formatDiagnostics(error: BuildError): string {
  return error.diagnostics.map(formatOne).join("\n\n");
}

function formatOne(diagnostic: Diagnostic): string {
  const source = sourceLine(diagnostic);
  if (source === undefined) return headline(diagnostic);
  const gutter = `${diagnostic.line} | `;
  // Tabs keep their width in front of the caret.
  const before = source.slice(0, Math.max(0, diagnostic.column - 1)).replace(/[^\t]/g, " ");
  return `${headline(diagnostic)}\n${gutter}${source}\n${" ".repeat(gutter.length)}${before}^`;
}

function sourceLine({ file, line }: Diagnostic): string | undefined {
  if (line === 0) return undefined;
  try {
    return readFileSync(file, "utf8")
      .replace(/^\uFEFF/, "")
      .split(/\r?\n/)[line - 1];
  } catch {
    return undefined; // the file is not there to be shown; the headline says all
  }
}
