// Turns what Bun's bundler complains about into diagnostics at the user's own lines.

import { readdirSync } from "node:fs";
import { basename, dirname, parse, resolve } from "node:path";
import { nearest } from "../nearest.ts";
import type { Diagnostic } from "./diagnostics.ts";
import type { Rendered } from "./edits.ts";
import type { OwnFiles } from "./own-files.ts";
import type { Role } from "./rewrite.ts";

type BundlerMessage = BuildMessage | ResolveMessage;

export function messageDiagnostics(messages: readonly BundlerMessage[], files: OwnFiles, role: Role): Diagnostic[] {
  return messages
    .filter((message) => message.level === "error")
    .map((message) => (isResolve(message) ? unresolved(message, files, role) : other(message, files, role)));
}

function isResolve(message: BundlerMessage): message is ResolveMessage {
  return message.name === "ResolveMessage";
}

function unresolved(message: ResolveMessage, files: OwnFiles, role: Role): Diagnostic {
  const place = placeOf(message, files, role);
  const { specifier } = message;
  const exact = files.findImport(place.file, specifier);
  return { ...place, ...exact, message: `cannot find "${specifier}": ${suggestion(specifier, place.file)}` };
}

function suggestion(specifier: string, importer: string): string {
  if (/^[./]/.test(specifier)) {
    const wanted = resolve(dirname(importer), specifier);
    const near = neighbour(wanted);
    return near
      ? `did you mean "${specifier.slice(0, specifier.length - basename(specifier).length)}${near}"?`
      : `there is no ${wanted}`;
  }
  const scoped = specifier.startsWith("@");
  const name = specifier.split("/", scoped ? 2 : 1).join("/");
  return `if it is a package, run \`npm install ${name}\` in ${dirname(importer)}; if it is a file, write "./${specifier}"`;
}

/** The file of a folder whose name is nearest to a path that does not exist. */
export function neighbour(path: string): string | undefined {
  const { dir, base } = parse(path);
  try {
    const names = readdirSync(dir);
    const sameStem = names.find((name) => parse(name).name === base || parse(name).name === parse(base).name);
    return sameStem ?? closestFile(base, names);
  } catch {
    return undefined; // the folder is not there either
  }
}

function closestFile(base: string, names: string[]): string | undefined {
  const stems = new Map(names.map((name) => [parse(base).ext ? name : parse(name).name, name]));
  const near = nearest(base, stems.keys());
  return near === undefined ? undefined : stems.get(near);
}

function other(message: BundlerMessage, files: OwnFiles, role: Role): Diagnostic {
  return { ...placeOf(message, files, role), message: message.message };
}

function placeOf(message: BundlerMessage, files: OwnFiles, role: Role): Pick<Diagnostic, "file" | "line" | "column"> {
  const { position } = message;
  if (!position) return { file: (message as ResolveMessage).referrer ?? "", line: 0, column: 0 };
  const { file, line, column } = position;
  const map = files.loaded(file, role)?.map;
  return { file, ...(map ? original(map, line, column) : { line, column }) };
}

/** The place in the user's text of a place (both from 1) in ours. */
function original(map: Rendered["map"], line: number, column: number): { line: number; column: number } {
  const segments = map.mappings[line - 1] ?? [];
  const segment = segments.findLast((candidate) => candidate[0] <= column - 1 && candidate.length > 1);
  if (!segment || segment.length === 1) return { line: 0, column: 0 };
  return { line: segment[2] + 1, column: segment[3] + 1 + (column - 1 - segment[0]) };
}
