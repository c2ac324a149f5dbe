// Many names in one: "rack[01-16]" is rack01, rack02, … rack16.
import { MeshError } from "../errors.ts";

/** How many names one pattern may stand for. */
export const RANGE_LIMIT = 10_000;

/**
 * Expands every `[…]` of a pattern: numbers and ranges, separated by commas, as in "rack[01-16]", "n[1,3,5-7]" or
 * "r[1-2]n[01-10]" (the last group counts fastest). The first number's leading zeros set the width.
 * A pattern without brackets is its own only name. Throws USAGE for a malformed group, for a range that runs backwards,
 * and above RANGE_LIMIT names.
 */
export function expandRanges(pattern: string): string[] {
  let names = [""];
  for (const part of split(pattern)) {
    const choices = part.group === undefined ? [part.text] : expandGroup(part.group, pattern);
    if (names.length * choices.length > RANGE_LIMIT) throw tooMany(pattern);
    names = names.flatMap((name) => choices.map((choice) => name + choice));
  }
  return names;
}

/** Tells whether a name holds a range. */
export function hasRange(pattern: string): boolean {
  return pattern.includes("[");
}

type Part = { text: string; group?: undefined } | { group: string };

function split(pattern: string): Part[] {
  const parts: Part[] = [];
  for (let rest = pattern; rest !== ""; ) {
    const open = rest.indexOf("[");
    const text = open < 0 ? rest : rest.slice(0, open);
    if (text.includes("]")) throw malformed(pattern, 'a "]" has no "[" before it');
    if (text !== "") parts.push({ text });
    if (open < 0) break;
    const close = rest.indexOf("]", open);
    if (close < 0) throw malformed(pattern, 'a "[" has no "]" after it');
    parts.push({ group: rest.slice(open + 1, close) });
    rest = rest.slice(close + 1);
  }
  return parts;
}

function expandGroup(group: string, pattern: string): string[] {
  const names: string[] = [];
  for (const item of group.split(",")) {
    const [, first, last = first] = /^ *(\d{1,9})(?:-(\d{1,9}))? *$/.exec(item) ?? [];
    if (first === undefined || last === undefined) {
      throw malformed(pattern, `[${group}] should hold numbers and ranges, as in [01-16] or [1,3,5-7]`);
    }
    const from = Number(first);
    const to = Number(last);
    if (to < from) throw malformed(pattern, `the range ${item.trim()} runs backwards`);
    if (names.length + to - from + 1 > RANGE_LIMIT) throw tooMany(pattern);
    for (let number = from; number <= to; number++) names.push(String(number).padStart(first.length, "0"));
  }
  return names;
}

function malformed(pattern: string, reason: string): MeshError {
  return new MeshError("USAGE", `${JSON.stringify(pattern)}: ${reason}`);
}

function tooMany(pattern: string): MeshError {
  return malformed(pattern, `it stands for more than ${RANGE_LIMIT.toLocaleString("en")} names`);
}
