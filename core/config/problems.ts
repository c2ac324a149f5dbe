// What is wrong with a mesh.toml, where it stands in the file, and how that is told.

/** One thing that is wrong with a value, by its place in the data. */
export interface Problem {
  path: (string | number)[];
  /** What the message is about: the key itself, or the value behind it. */
  at: "key" | "value";
  message: string;
}

/** A place in the file; both count from 1, columns in characters as editors count them. */
export interface Position {
  line: number;
  column: number;
}

/** A problem as it is told; a file that could not be read has no position. */
export interface LocatedProblem extends Partial<Position> {
  file: string;
  /** The dotted path of the key: hosts.gpu1.slots. */
  key?: string;
  message: string;
}

interface Issue {
  code: string;
  path: PropertyKey[];
  message: string;
  keys?: string[];
}

/** Turns zod's issues into problems: a message that begins with "expected" gets what was found instead. */
export function problemsOf(issues: readonly Issue[], data: unknown, unknownKey: UnknownKeyAdvice): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((key) => (typeof key === "number" ? key : String(key)));
    if (issue.code === "unrecognized_keys") return (issue.keys ?? []).map((key) => unknownKey(path, key));
    const found = path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], data);
    return [{ path, at: "value" as const, message: `${issue.message}, ${describe(found)}` }];
  });
}

type UnknownKeyAdvice = (path: (string | number)[], key: string) => Problem;

function describe(found: unknown): string {
  if (found === undefined) return "but it is missing";
  if (found instanceof Date) return `got the date ${found.toISOString()}`;
  if (Array.isArray(found)) return found.length === 0 ? "got an empty list" : "got a list";
  if (typeof found === "object") return "got a table";
  const shown = JSON.stringify(found) ?? String(found);
  return `got ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}`;
}

/** The path as it would be written in the file: hosts."rack[01-16]".tags[0]. */
export function dotted(path: readonly (string | number)[]): string {
  return path
    .map((key, index) => {
      if (typeof key === "number") return `[${key}]`;
      const written = /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key);
      return index === 0 ? written : `.${written}`;
    })
    .join("");
}

/** Puts a problem into lines: where and what, then the line of the file with a caret under the place. */
export function render(problem: LocatedProblem, source: string): string {
  const { file, line, column, key, message } = problem;
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  const head = `${place}: ${key === undefined || key === "" ? "" : `${key}: `}${message}`;
  const text = line === undefined ? undefined : source.split(/\r?\n/, line)[line - 1];
  if (text === undefined || text.trim() === "") return head;
  const { shown, before } = clip(text, (column ?? 1) - 1);
  const margin = " ".repeat(Math.max(0, Bun.stringWidth(before)));
  return `${head}\n    ${shown}\n    ${margin}^`;
}

const SHOWN_CHARACTERS = 100;

/** The part of a long line around `offset`, safe to print: control characters become visible, tabs one blank. */
function clip(text: string, offset: number): { shown: string; before: string } {
  const start = offset < SHOWN_CHARACTERS - 20 ? 0 : offset - SHOWN_CHARACTERS / 2;
  const end = start + SHOWN_CHARACTERS;
  const lead = start > 0 ? "…" : "";
  const shown = `${lead}${printable(text.slice(start, end))}${end < text.length ? "…" : ""}`;
  return { shown, before: `${lead}${printable(text.slice(start, offset))}` };
}

function printable(text: string): string {
  return text.replaceAll("\t", " ").replace(/\p{Cc}/gu, "\u{fffd}");
}
