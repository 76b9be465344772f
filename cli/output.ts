/**
 * Where a command's words go: results to stdout, everything else to stderr, colour only on a
 * terminal that wants it.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Writes `text` to stdout as it is. A reader that went away (`| head`) is not an error. */
export function print(text: string): void {
  writeAll(Deno.stdout, text);
}

/** Writes `text` and a line end to stdout. */
export function printLine(text = ""): void {
  print(text + "\n");
}

/** Writes one JSON document to stdout. */
export function printJson(document: unknown): void {
  printLine(JSON.stringify(document, null, 2));
}

/** Writes `text` and a line end to stderr. */
export function tell(text = ""): void {
  writeAll(Deno.stderr, text + "\n");
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let rest = encoder.encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** The few ways in which text is made to stand out; each returns it unchanged when off. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Paint for a stream: plain when it is not a terminal, or `NO_COLOR` is set, or TERM is `dumb`. */
export function paintFor(stream: { isTerminal(): boolean }): Paint {
  return paint(stream.isTerminal() && !Deno.noColor && Deno.env.get("TERM") !== "dumb");
}

/** Paint that is on or off. */
export function paint(on: boolean): Paint {
  const sgr = (open: number, close: number) => (text: string) =>
    on ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: sgr(1, 22),
    dim: sgr(2, 22),
    red: sgr(31, 39),
    green: sgr(32, 39),
    yellow: sgr(33, 39),
    cyan: sgr(36, 39),
  };
}
