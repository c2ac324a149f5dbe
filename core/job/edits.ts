// Edits of one source text as data, and pieces of the edited text that can be put together in any order while the source map
// stays exact. Knows nothing of JavaScript.

import MagicString, { Bundle, type DecodedSourceMap } from "magic-string";

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

/** Collects edits of a source text, then renders ranges of it with the edits that lie inside. */
export class Edits {
  readonly #edits: Edit[] = [];
  readonly #source: string;
  readonly #file: string;

  constructor(file: string, source: string) {
    this.#file = file;
    this.#source = source;
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

  /** The edited text of a range. `bare` leaves out what was added around exactly that range or right after it. */
  piece(range: Range, bare = false): MagicString {
    const text = new MagicString(this.#source, { filename: this.#file });
    for (const edit of this.#edits) {
      if (edit.start < range.start || edit.end > range.end) continue;
      if (bare && isAround(edit, range)) continue;
      apply(text, edit);
    }
    if (range.start > 0) text.remove(0, range.start);
    if (range.end < this.#source.length) text.remove(range.end, this.#source.length);
    return text;
  }
}

function isAround(edit: Edit, range: Range): boolean {
  if (edit.kind === "wrap") return edit.start === range.start && edit.end === range.end;
  return edit.kind === "insert" && edit.start === range.end;
}

function apply(text: MagicString, edit: Edit): void {
  switch (edit.kind) {
    case "wrap":
      text.prependRight(edit.start, edit.before).appendLeft(edit.end, edit.after);
      break;
    case "insert":
      text.appendLeft(edit.start, edit.before);
      break;
    case "replace":
      text.update(edit.start, edit.end, edit.before);
      break;
  }
}

/** Joins pieces of the source and plain strings to one text with one map. */
export function join(pieces: readonly (MagicString | string)[]): Rendered {
  const bundle = new Bundle({ separator: "" });
  for (const piece of pieces) {
    if (typeof piece === "string") bundle.append(piece);
    else bundle.addSource(piece);
  }
  return { text: bundle.toString(), map: bundle.generateDecodedMap({ hires: "boundary", includeContent: false }) };
}
