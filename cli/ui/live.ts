/**
 * A picture that is redrawn in its place on a terminal.
 *
 * @module
 */

/** Where a picture is drawn. */
export interface Screen {
  write(text: string): void;
  /** Its present size, which may change at any time. */
  size(): { columns: number; rows: number };
}

const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
const CLEAR_LINE_END = "\x1b[K";
const CLEAR_SCREEN_END = "\x1b[J";
/** The terminal shows what lies between these at once, if it knows of them: no flicker. */
const BEGIN_UPDATE = "\x1b[?2026h";
const END_UPDATE = "\x1b[?2026l";

/** Draws each picture over the one before. What is above on the terminal stays. */
export class LivePicture {
  readonly #screen: Screen;
  #drawnLines = 0;
  #columns = 0;
  #hidden = false;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** The width that the next picture may have. */
  get width(): number {
    return this.#screen.size().columns;
  }

  /** Draws `lines`, each no wider than {@linkcode width}. What does not fit in height is left out. */
  draw(lines: readonly string[]): void {
    const { columns, rows } = this.#screen.size();
    const shown = lines.slice(0, Math.max(1, rows - 1));
    // After a change of width the terminal has wrapped the old lines: where they began is unknown.
    const back = this.#columns === columns || this.#drawnLines === 0
      ? this.#toTop()
      : "\x1b[H" + CLEAR_SCREEN_END;
    const body = shown.map((line) => line + CLEAR_LINE_END + "\r\n").join("");
    const hide = this.#hidden ? "" : HIDE_CURSOR;
    this.#hidden = true;
    this.#screen.write(BEGIN_UPDATE + hide + back + body + CLEAR_SCREEN_END + END_UPDATE);
    this.#drawnLines = shown.length;
    this.#columns = columns;
  }

  /** Writes lines that stay, above the picture; draw again behind it. */
  say(text: string): void {
    this.#screen.write(this.#toTop() + CLEAR_SCREEN_END + text + "\r\n");
    this.#drawnLines = 0;
  }

  /** Leaves the last picture and gives the cursor back. Safe to call again. */
  end(): void {
    if (this.#hidden) this.#screen.write(SHOW_CURSOR);
    this.#hidden = false;
    this.#drawnLines = 0;
  }

  #toTop(): string {
    return this.#drawnLines === 0 ? "" : `\x1b[${this.#drawnLines}A\r`;
  }
}

/** Standard output as a screen, or null when it is no terminal that can be drawn on. */
export function terminalScreen(): Screen | null {
  if (!Deno.stdout.isTerminal() || Deno.env.get("TERM") === "dumb") return null;
  const encoder = new TextEncoder();
  return {
    write(text) {
      let rest = encoder.encode(text);
      while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
    },
    size: () => Deno.consoleSize(),
  };
}

/** The width for a picture that goes to a file or a pipe: wide enough for every column. */
export const PLAIN_WIDTH = 200;
