/**
 * What a benchmark run gives: the document, and the tables that are drawn from it.
 *
 * @module
 */

/** The most memory that each process of one contender had resident during a row, in bytes. */
export type Peaks = Readonly<Record<string, number>>;

/** One contender's figure in a row. */
export interface Figure {
  readonly median: number;
  /** Every round, in order. */
  readonly runs: readonly number[];
  readonly peaks: Peaks;
}

/** One row that several contenders took part in. */
export interface ComparedRow {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly figures: Readonly<Record<string, Figure>>;
  readonly required: {
    readonly factor: number;
    /** Who is to be beaten: a contender, or the better of all. */
    readonly against: string;
  };
  readonly factor: number;
  readonly pass: boolean;
}

/** One row about Cascade alone. */
export interface OwnRow {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly value: number;
  /** What else was seen, by name with its unit. */
  readonly details: Readonly<Record<string, number>>;
  readonly peaks: Peaks;
}

/** The whole run. */
export interface BenchDocument {
  readonly startedAt: string;
  readonly machine: { readonly cpus: number; readonly model: string; readonly memoryBytes: number };
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: {
    readonly rounds: number;
    readonly seconds: number;
    /** Bytes of a volume, and of the writes that filled it before. */
    readonly volume: number;
    readonly fill: number;
  };
  readonly compared: ComparedRow[];
  readonly own: OwnRow[];
}

/** The middle of some numbers; the mean of the two in the middle when they are even in number. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Draws the document as two tables. */
export function draw(document: BenchDocument): string {
  const parts: string[] = [];
  if (document.compared.length > 0) parts.push(drawCompared(document.compared));
  if (document.own.length > 0) parts.push(drawOwn(document.own));
  return parts.join("\n");
}

function drawCompared(rows: readonly ComparedRow[]): string {
  const table = [["work", "unit", "cascade", "others", "required", "measured", "", "peak memory"]];
  for (const row of rows) {
    const others = Object.entries(row.figures).filter(([name]) => !name.startsWith("cascade"));
    const own = Object.entries(row.figures).find(([name]) => name.startsWith("cascade"))?.[1];
    table.push([
      row.title,
      row.unit,
      own === undefined ? "-" : round(own.median),
      others.map(([name, figure]) => `${name} ${round(figure.median)}`).join("  "),
      `${row.required.factor} x ${row.required.against}`,
      `${row.factor.toFixed(2)} x`,
      row.pass ? "ok" : "BELOW",
      drawPeaks(own?.peaks ?? {}),
    ]);
  }
  return align(table);
}

function drawOwn(rows: readonly OwnRow[]): string {
  const table = [["cascade alone", "value", "unit", "seen", "peak memory"]];
  for (const row of rows) {
    const details = Object.entries(row.details).map(([name, value]) => `${name} ${round(value)}`);
    table.push([row.title, round(row.value), row.unit, details.join("  "), drawPeaks(row.peaks)]);
  }
  return align(table);
}

function drawPeaks(peaks: Peaks): string {
  return Object.entries(peaks).map(([name, bytes]) => `${name} ${Math.round(bytes / 1e6)} MB`)
    .join("  ");
}

function round(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2);
}

function align(table: readonly (readonly string[])[]): string {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  "));
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "));
  return lines.map((line) => line.trimEnd()).join("\n") + "\n";
}
