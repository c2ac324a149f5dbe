// Where in the text of mesh.toml a value stands. Loaded only when there is something wrong to point at.
import { type AST, parseTOML } from "toml-eslint-parser";
import { dotted, type LocatedProblem, type Position, type Problem } from "./problems.ts";

type Places = Map<string, { key: Position; value: Position }>;

/** Finds the places of `problems` in `source`; tells them in the order of the file, each only once. */
export function locate(problems: Problem[], source: string, file: string): LocatedProblem[] {
  const find = locator(source);
  const located = problems.map((problem) => {
    return { file, ...find?.(problem), key: dotted(problem.path), message: problem.message };
  });
  located.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
  const same = (a: LocatedProblem, b: LocatedProblem) => a.key === b.key && a.message === b.message;
  return located.filter((own, index) => located.findIndex((other) => same(own, other)) === index);
}

/**
 * Makes a function that finds the places of problems in `source`, which must be valid TOML. A path that is not in the file
 * (a key that is missing) gives the place of the table it belongs to. Undefined when the parser gives up.
 */
function locator(source: string): ((problem: Problem) => Position) | undefined {
  const places: Places = new Map();
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(source);
  } catch {
    // It overflows the stack on a string of 1 MB that toml itself reads; the problems are told without places then.
    return undefined;
  }
  for (const entry of program.body[0].body) readEntry(entry, [], places);
  return (problem) => {
    for (let length = problem.path.length; length > 0; length--) {
      const place = places.get(nameOf(problem.path.slice(0, length)));
      if (place) return length === problem.path.length ? place[problem.at] : place.key;
    }
    return { line: 1, column: 1 };
  };
}

type Path = (string | number)[];

function readEntry(entry: AST.TOMLKeyValue | AST.TOMLTable, parent: Path, places: Places): void {
  if (entry.type === "TOMLTable") {
    const own = entry.resolvedKey;
    addKeys(entry.key.keys, own, positionOf(entry), places);
    for (const inner of entry.body) readEntry(inner, own, places);
    return;
  }
  const path = [...parent, ...entry.key.keys.map(wordOf)];
  addKeys(entry.key.keys, path, positionOf(entry.value), places);
  readContent(entry.value, path, places);
}

/** Notes the place of each part of a dotted key; the first mention of a table is the one that counts. */
function addKeys(keys: AST.TOMLKey["keys"], path: Path, value: Position, places: Places): void {
  // Of [[a.b]] the path is a, b, 0: one longer than the keys that are written.
  const words = path.filter((part) => typeof part === "string").length;
  let written = keys.length - words;
  for (const [index, part] of path.entries()) {
    if (typeof part === "string") written++;
    const key = keys[written - 1];
    const name = nameOf(path.slice(0, index + 1));
    if (!key || places.has(name)) continue;
    places.set(name, { key: positionOf(key), value: index === path.length - 1 ? value : positionOf(key) });
  }
}

function readContent(node: AST.TOMLContentNode, path: Path, places: Places): void {
  if (node.type === "TOMLInlineTable") for (const entry of node.body) readEntry(entry, path, places);
  if (node.type !== "TOMLArray") return;
  for (const [index, element] of node.elements.entries()) {
    const own = [...path, index];
    places.set(nameOf(own), { key: positionOf(element), value: positionOf(element) });
    readContent(element, own, places);
  }
}

function wordOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === "TOMLBare" ? key.name : key.value;
}

function nameOf(path: Path): string {
  return JSON.stringify(path);
}

function positionOf(node: { loc: { start: Position } }): Position {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}
