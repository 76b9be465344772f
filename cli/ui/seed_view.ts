/**
 * What is shown of a seed: a bar on a terminal, and one line at the end.
 *
 * @module
 */
import type { SeedState } from "../../core/seed/seed.ts";
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";
import { LivePicture, type Screen } from "./live.ts";

const REDRAW_MS = 200;
const BAR_WIDTH = 24;
/** Of a terminal that does not know its own width. */
const WIDTH_DEFAULT = 80;

/** What is drawn of a seed, of whatever kind. */
export interface BarState
  extends Pick<SeedState, "doneBytes" | "verifiedBytes" | "zeroBytes" | "equalBytes"> {
  phase: string;
}

/** What the pictures are drawn from, beside the state. */
export interface SeedFigures {
  readonly sizeBytes: number;
  /** Where this run began. */
  readonly start: number;
  readonly tookMs: number;
}

/** The bar: share, bytes, rate, time left, bytes skipped. */
export function seedBar(state: BarState, figures: SeedFigures, width: number): string {
  const { sizeBytes, tookMs } = figures;
  const isVerifying = state.phase === "verifying";
  const done = isVerifying ? state.verifiedBytes : state.doneBytes;
  const share = sizeBytes === 0 ? 1 : done / sizeBytes;
  const made = done - (isVerifying ? 0 : figures.start);
  const rate = tookMs > 0 ? made / tookMs * 1000 : 0;
  const parts = [
    `${String(Math.floor(share * 100)).padStart(3)}%`,
    `${approximateSize(done)} of ${approximateSize(sizeBytes)}`,
  ];
  if (state.phase === "flushing") parts.push("waiting for the disk");
  else if (rate > 0) {
    parts.push(`${approximateSize(rate)}/s`);
    parts.push(`${approximateDuration((sizeBytes - done) / rate * 1000)} left`);
  }
  parts.push(`skipped ${approximateSize(state.zeroBytes + state.equalBytes)}`);
  const words = parts.join("  ");
  // The bar takes what the words leave; on a narrow terminal it goes first.
  const room = Math.min(BAR_WIDTH, width - words.length - state.phase.length - 2);
  const full = Math.floor(share * Math.max(0, room));
  const bar = room < 1 ? "" : "█".repeat(full) + "░".repeat(room - full) + " ";
  return `${state.phase} ${bar}${words}`.slice(0, width);
}

/** One line about a seed that is done. */
export function seedSummary(
  state: SeedState,
  { start, tookMs, verified }: { start: number; tookMs: number; verified: boolean },
): string {
  const parts = [`${approximateSize(state.writtenBytes)} written`];
  if (state.zeroBytes > 0) parts.push(`${approximateSize(state.zeroBytes)} zero`);
  if (state.equalBytes > 0) parts.push(`${approximateSize(state.equalBytes)} equal`);
  if (start > 0) parts.push(`${approximateSize(start)} done before`);
  return `seeded: ${parts.join(", ")}, flushed${verified ? ", verified" : ""}, ` +
    `in ${approximateDuration(tookMs)}`;
}

/** A bar on the terminal of stderr, which redraws itself. */
export class SeedBar {
  readonly #picture: LivePicture;
  readonly #timer: ReturnType<typeof setInterval>;

  private constructor(screen: Screen, state: BarState, sizeBytes: () => number) {
    this.#picture = new LivePicture(screen);
    let start = state.doneBytes;
    // Each phase has a rate of its own.
    let phase = state.phase;
    let began = performance.now();
    this.#timer = setInterval(() => {
      if (phase !== state.phase) {
        [phase, began, start] = [state.phase, performance.now(), state.doneBytes];
      }
      const figures = { sizeBytes: sizeBytes(), start, tookMs: performance.now() - began };
      this.#picture.draw([
        seedBar(state, figures, (this.#picture.width || WIDTH_DEFAULT) - 1),
      ]);
    }, REDRAW_MS);
  }

  /** Null when stderr is no terminal that can be drawn on. */
  static onTerminal(state: BarState, sizeBytes: () => number): SeedBar | null {
    if (!Deno.stderr.isTerminal() || Deno.env.get("TERM") === "dumb") return null;
    const encoder = new TextEncoder();
    const screen: Screen = {
      write(text) {
        let rest = encoder.encode(text);
        while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
      },
      size: () => Deno.consoleSize(),
    };
    return new SeedBar(screen, state, sizeBytes);
  }

  /** Takes the bar away. */
  end(): void {
    clearInterval(this.#timer);
    this.#picture.draw([]);
    this.#picture.end();
  }
}
