/**
 * How far an order of the tree is, while it is waited for: one line that is redrawn on a terminal, elsewhere a line for each
 * step. To stderr: what came of it is told on stdout.
 *
 * @module
 */
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";
import type { OrderProgress } from "../../core/tree/order_progress.ts";

/** Time between two lines of one step where nothing can be redrawn, ms. */
const REPEAT_MS = 10_000;
const CLEAR_LINE = "\r\x1b[K";

/** What is being done; `node`: the one that the order is of. */
export function progressText(progress: OrderProgress, node: string): string {
  const { step, from, bytesTotal, bytesLeft } = progress;
  const other = from ?? "the primary";
  switch (step) {
    case "asking":
      return "all nodes are asked how they stand";
    case "fetching":
      return `${other} has more than ${node}: it begins to reign, to hand on`;
    case "catching-up": {
      if (bytesTotal === null || bytesLeft === null || bytesTotal === 0) {
        return `${node} catches up with ${other}`;
      }
      const share = Math.floor((1 - bytesLeft / bytesTotal) * 100);
      const sizes = `${approximateSize(bytesLeft)} of ${approximateSize(bytesTotal)} to come`;
      return `${node} catches up with ${other}: ${share}%, ${sizes}`;
    }
    case "holding":
      return `clients of ${other} are held, and the last bytes come`;
    case "handing-over":
      return `${other} hands over to ${node}`;
    case "promoting":
      return `${node} begins to reign`;
  }
}

/** Where lines go. */
export interface ProgressOut {
  readonly isTerminal: boolean;
  columns(): number;
  write(text: string): void;
}

/** See the module's text. */
export class ProgressView {
  readonly #out: ProgressOut;
  readonly #node: string;
  #step: string | null = null;
  #toldAtMs = 0;
  #isDrawn = false;

  constructor(out: ProgressOut, node: string) {
    this.#out = out;
    this.#node = node;
  }

  show(progress: OrderProgress): void {
    const { step, forMs } = progress;
    const text = `${progressText(progress, this.#node)} (${approximateDuration(forMs)})`;
    if (this.#out.isTerminal) {
      this.#out.write(CLEAR_LINE + text.slice(0, Math.max(1, this.#out.columns() - 1)));
      this.#isDrawn = true;
      return;
    }
    if (step === this.#step && forMs - this.#toldAtMs < REPEAT_MS) return;
    this.#step = step;
    this.#toldAtMs = forMs;
    this.#out.write(`${text}\n`);
  }

  /** Nothing stays of it on a terminal. */
  end(): void {
    if (this.#isDrawn) this.#out.write(CLEAR_LINE);
    this.#isDrawn = false;
  }
}

/** Standard error. */
export function stderrOut(): ProgressOut {
  const encoder = new TextEncoder();
  return {
    isTerminal: Deno.stderr.isTerminal() && Deno.env.get("TERM") !== "dumb",
    columns: () => Deno.consoleSize().columns,
    write(text) {
      let rest = encoder.encode(text);
      while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
    },
  };
}
