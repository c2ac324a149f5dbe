// Edits of one source text as data, and pieces of the edited text that can be put together in any order while the source map
// stays exact. Knows nothing of JavaScript.

import MagicString, { type DecodedSourceMap, type SourceMapSegment } from "magic-string";

interface Range {
  readonly start: number;
  readonly end: number;
}

interface Edit extends Range {
  readonly kind: "wrap" | "insert" | "replace";
  readonly before: string;
  readonly after: string;
}

/** Text made from a source file, with its map back to it. */
export interface Rendered {
  text: string;
  map: DecodedSourceMap;
}

/** An edited range of the source, or text of our own. */
export type Piece = { readonly text: string; readonly mappings: SourceMapSegment[][] } | string;

/** Collects edits of a source text, then renders ranges of it with the edits that lie inside. */
export class Edits {
  readonly #edits: Edit[] = [];
  readonly #source: string;
  readonly #lineStarts: readonly number[];

  constructor(source: string) {
    this.#source = source;
    this.#lineStarts = [0, ...Array.from(source.matchAll(/\n/g), ({ index }) => index + 1)];
  }

  get size(): number {
    return this.#edits.length;
  }

  wrap({ start, end }: Range, before: string, after: string): void {
    this.#edits.push({ kind: "wrap", start, end, before, after });
  }

  insert(at: number, text: string): void {
    this.#edits.push({ kind: "insert", start: at, end: at, before: text, after: "" });
  }

  replace({ start, end }: Range, text: string): void {
    this.#edits.push({ kind: "replace", start, end, before: text, after: "" });
  }

  /** Sorts so that inner edits come before those around them; call it once, after the last edit. */
  seal(): this {
    this.#edits.sort((a, b) => a.end - a.start - (b.end - b.start));
    return this;
  }

  /** The edited text of a range. `bare` leaves out what was added around exactly that range. */
  piece(range: Range, bare = false): Piece {
    const text = new MagicString(this.#source.slice(range.start, range.end));
    for (const edit of this.#edits) {
      if (edit.start < range.start || edit.end > range.end) continue;
      if (!bare || !isAround(edit, range)) apply(text, edit, range.start);
    }
    const { mappings } = text.generateDecodedMap({ hires: "boundary" });
    this.#shift(mappings, range.start);
    return { text: text.toString(), mappings };
  }

  /** Turns places counted from `offset` into places of the file. */
  #shift(mappings: SourceMapSegment[][], offset: number): void {
    const firstLine = this.#lineOf(offset);
    const firstColumn = offset - this.#lineStarts[firstLine]!;
    for (const segment of mappings.flat()) {
      if (segment.length === 1) continue;
      if (segment[2] === 0) segment[3] += firstColumn;
      segment[2] += firstLine;
    }
  }

  #lineOf(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function isAround(edit: Edit, range: Range): boolean {
  if (edit.kind === "wrap") return edit.start === range.start && edit.end === range.end;
  return edit.kind === "insert" && (edit.start === range.start || edit.start === range.end);
}

function apply(text: MagicString, { kind, start, end, before, after }: Edit, offset: number): void {
  switch (kind) {
    case "wrap":
      text.prependRight(start - offset, before).appendLeft(end - offset, after);
      break;
    case "insert":
      text.appendLeft(start - offset, before);
      break;
    case "replace":
      text.update(start - offset, end - offset, before);
      break;
  }
}

/** Joins pieces of one source file and plain strings to one text with one map. */
export function join(file: string, pieces: readonly Piece[]): Rendered {
  let text = "";
  let column = 0;
  const mappings: SourceMapSegment[][] = [[]];
  for (const piece of pieces) {
    const added = typeof piece === "string" ? piece : piece.text;
    if (typeof piece !== "string") append(mappings, piece.mappings, column);
    text += added;
    const lines = added.split("\n");
    const last = lines.at(-1)!.length;
    column = lines.length === 1 ? column + last : last;
    // A piece without a map of its own ends its lines unmapped.
    const wanted = typeof piece === "string" ? mappings.length + lines.length - 1 : mappings.length;
    while (mappings.length < wanted) mappings.push([]);
  }
  return { text, map: { sources: [file], names: [], mappings } };
}

function append(mappings: SourceMapSegment[][], added: SourceMapSegment[][], column: number): void {
  for (const segment of added[0] ?? []) segment[0] += column;
  mappings.at(-1)!.push(...(added[0] ?? []));
  for (const line of added.slice(1)) mappings.push(line);
}
