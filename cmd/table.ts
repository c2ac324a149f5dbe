// Tables for people: columns of text that fit where they are shown. Plain ASCII of its own.
import { styleText } from "node:util";

export type Colour = "red" | "green" | "yellow" | "dim";

export interface Column<Row> {
  title: string;
  /** What goes first when there is no room: the highest; 0 never goes. */
  rank: number;
  align?: "right";
  /** It may be cut to what is left beside the others; for one column. */
  isCut?: true;
  /** A column whose cells are all empty is left out. */
  text(row: Row): string;
  colour?(row: Row): Colour | undefined;
}

export interface TableOptions {
  /** Columns of the terminal; undefined when there is no end to them. */
  width: number | undefined;
  colour: boolean;
}

interface Laid<Row> {
  column: Column<Row>;
  cells: string[];
  width: number;
}

const GAP = "  ";
/** A column is not cut to less: then others go first. */
const CUT_WIDTH = 16;

/** The lines of a table: titles, then one for each row. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], options: TableOptions): string[] {
  const laid = columns.map((column) => lay(column, rows)).filter(({ cells }) => cells.some((cell) => cell !== ""));
  const shown = fitting(laid, options.width);
  const paint = (colour: Colour | "bold" | undefined, text: string) =>
    options.colour && colour ? styleText(colour, text, { validateStream: false }) : text;
  const line = (cellOf: (laid: Laid<Row>) => string, colourOf: (column: Column<Row>) => Colour | "bold" | undefined) =>
    cutTo(
      shown
        .map((one) => paint(colourOf(one.column), padded(cellOf(one), one)))
        .join(GAP)
        .trimEnd(),
      options.width,
    );
  return [
    line(
      ({ column }) => column.title,
      () => "bold",
    ),
    ...rows.map((row, at) =>
      line(
        ({ cells }) => cells[at]!,
        (column) => column.colour?.(row),
      ),
    ),
  ];
}

/** Text that came from elsewhere, without what would move the cursor, hide or reorder. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
}

/** No wider than that, with "..." in place of what is left out. */
export function cutTo(text: string, width: number | undefined): string {
  if (width === undefined || Bun.stringWidth(text) <= width) return text;
  const dots = width > 3 ? "..." : "";
  // A letter that is two columns wide is taken whole, and some clusters count as less when cut than when measured.
  for (let room = width - dots.length; room > 0; room--) {
    const cut = Bun.sliceAnsi(text, 0, room) + dots;
    if (Bun.stringWidth(cut) <= width) return cut;
  }
  return dots;
}

function lay<Row>(column: Column<Row>, rows: readonly Row[]): Laid<Row> {
  const cells = rows.map((row) => printable(column.text(row)));
  return { column, cells, width: Math.max(column.title.length, ...cells.map((cell) => Bun.stringWidth(cell))) };
}

/** Those columns that there is room for. */
function fitting<Row>(laid: Laid<Row>[], width: number | undefined): Laid<Row>[] {
  const excess = widthOf(laid) - (width ?? Number.POSITIVE_INFINITY);
  if (excess <= 0) return laid;
  const cut = laid.find(({ column }) => column.isCut);
  if (cut && cut.width - excess >= CUT_WIDTH) {
    return laid.map((one) => (one === cut ? { ...one, width: one.width - excess } : one));
  }
  const highest = Math.max(...laid.map(({ column }) => column.rank));
  const last = laid.findLastIndex(({ column }) => column.rank === highest);
  return highest === 0 ? laid : fitting(laid.toSpliced(last, 1), width);
}

function widthOf<Row>(laid: readonly Laid<Row>[]): number {
  return laid.reduce((sum, { width }) => sum + width, GAP.length * (laid.length - 1));
}

function padded<Row>(cell: string, { column, width }: Laid<Row>): string {
  const text = cutTo(cell, width);
  const spaces = " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
  return column.align === "right" ? spaces + text : text + spaces;
}
