/**
 * `status --watch`: look, show, rest, over and over, until a signal ends it in good order.
 *
 * @module
 */
import { paintFor } from "../output.ts";
import { jsonOf, type Report } from "../report.ts";
import { LivePicture, PLAIN_WIDTH, terminalScreen } from "./live.ts";
import { statusView } from "./status_view.ts";

const INTERVAL_MS_MIN = 100;

/** How to watch. */
export interface WatchOptions {
  readonly intervalMs: number;
  /** One JSON document a line instead of a picture. */
  readonly json: boolean;
}

/** Watches until Ctrl-C or SIGTERM. */
export async function watch(ask: () => Promise<Report>, options: WatchOptions): Promise<void> {
  const intervalMs = Math.max(INTERVAL_MS_MIN, options.intervalMs);
  const stop = stopSignal();
  const shower = options.json ? jsonShower() : pictureShower();
  try {
    let previous: Report | null = null;
    while (!stop.asked()) {
      const report = await Promise.race([ask(), stop.wait]);
      if (report === null) break;
      // A reader that went away (`| head`) ends it too.
      if (!shower.show(report, previous)) break;
      previous = report;
      await stop.waitAtMost(intervalMs - (Date.now() - report.atMs));
    }
  } finally {
    stop.end();
    shower.end();
  }
}

interface Shower {
  /** False when nobody reads any more. */
  show(report: Report, previous: Report | null): boolean;
  end(): void;
}

function jsonShower(): Shower {
  return { show: (report) => write(JSON.stringify(jsonOf(report)) + "\n"), end() {} };
}

/** Writes to stdout; false when its reader has gone. */
function write(text: string): boolean {
  let rest = new TextEncoder().encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw error;
  }
}

/** Redraws in place on a terminal; elsewhere writes one picture below the other. */
function pictureShower(): Shower {
  const screen = terminalScreen();
  const picture = screen === null ? null : new LivePicture(screen);
  const paint = paintFor(Deno.stdout);
  return {
    show(report, previous) {
      const width = picture?.width ?? PLAIN_WIDTH;
      // A first look shows the columns of rates as well, so that the picture does not jump.
      const lines = statusView(report, { width, paint, previous: previous ?? report });
      if (picture === null) return write(lines.join("\n") + "\n\n");
      picture.draw(lines);
      return true;
    },
    end: () => picture?.end(),
  };
}

/** Waits for Ctrl-C or SIGTERM, which end a watch. */
function stopSignal() {
  let asked = false;
  let wake: (value: null) => void = () => {};
  const wait = new Promise<null>((resolve) => wake = resolve);
  const onSignal = () => {
    asked = true;
    wake(null);
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
  return {
    wait,
    asked: () => asked,
    async waitAtMost(ms: number): Promise<void> {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<null>((resolve) => {
        timer = setTimeout(() => resolve(null), Math.max(0, ms));
      });
      await Promise.race([late, wait]);
      clearTimeout(timer);
    },
    end() {
      for (const signal of signals) Deno.removeSignalListener(signal, onSignal);
    },
  };
}
