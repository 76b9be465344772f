/**
 * Tables in plain columns: aligned, painted, and narrowed to the width that there is.
 *
 * @module
 */

/** One cell. Painting comes after aligning, since colours have no width. */
export interface Cell {
  readonly text: string;
  readonly paint?: (text: string) => string;
}

/** One column. */
export interface Column {
  readonly title: string;
  readonly align: "left" | "right";
  /** Columns of the highest rank go first when the width does not suffice; 0 stays. */
  readonly rank: number;
  /** At least this wide, so that a live picture does not jump; 0 if left out. */
  readonly min?: number;
}

const GAP = "  ";

/** Draws a table as lines of at most `width` characters, the titles first. */
export function drawTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
  paintTitle: (text: string) => string,
): string[] {
  const all = [columns.map(({ title }): Cell => ({ text: title, paint: paintTitle })), ...rows];
  const widths = columns.map(({ min = 0 }, index) => {
    return Math.max(min, ...all.map((row) => row[index]?.text.length ?? 0));
  });
  const shown = fit(columns, widths, width);
  return all.map((row) => drawRow(row, columns, widths, shown, width));
}

/** The places of the columns that fit. */
function fit(columns: readonly Column[], widths: readonly number[], width: number): number[] {
  let shown = columns.map((_, index) => index);
  const total = () => shown.reduce((sum, index) => sum + widths[index]! + GAP.length, -GAP.length);
  while (total() > width) {
    const worst = Math.max(...shown.map((index) => columns[index]!.rank));
    if (worst === 0) break;
    const drop = shown.findLast((index) => columns[index]!.rank === worst);
    shown = shown.filter((index) => index !== drop);
  }
  return shown;
}

function drawRow(
  row: readonly Cell[],
  columns: readonly Column[],
  widths: readonly number[],
  shown: readonly number[],
  width: number,
): string {
  let line = "";
  let left = width;
  shown.forEach((index, place) => {
    const { text, paint } = row[index] ?? { text: "" };
    const { align } = columns[index]!;
    const padding = " ".repeat(widths[index]! - text.length);
    const last = place === shown.length - 1;
    const gap = place === 0 ? "" : GAP;
    const before = gap + (align === "right" ? padding : "");
    const after = align === "left" && !last ? padding : "";
    const clipped = clip(text, Math.max(0, left - before.length));
    line += before + (paint === undefined ? clipped : paint(clipped)) + after;
    left -= before.length + text.length + after.length;
  });
  return line.trimEnd();
}

/** Cuts a text to a width, and shows that it did. */
export function clip(text: string, width: number): string {
  if (text.length <= width) return text;
  return width <= 0 ? "" : `${text.slice(0, width - 1)}…`;
}
