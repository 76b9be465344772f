/**
 * Running the demo and showing it: the live view on a terminal, lines elsewhere, a summary at the end.
 *
 * @module
 */
import { CascadeError } from "../../core/errors.ts";
import { approximateSize } from "../../core/topology/units.ts";
import { EXIT, ExitWith } from "../exit.ts";
import { type Paint, paintFor, printJson, printLine, tell } from "../output.ts";
import { LivePicture, PLAIN_WIDTH, terminalScreen } from "../ui/live.ts";
import { statusView } from "../ui/status_view.ts";
import { failoverLines, summaryLines } from "./summary.ts";
import { LOAD_VOLUME_BYTES_MIN } from "./load.ts";
import { type FailoverResult, tellFailover } from "./failover.ts";
import type { DemoView } from "./stage.ts";
import { type DemoResult, tellStory } from "./story.ts";

const VOLUME_ALIGN_BYTES = 4096;

/** The stories that can be told. */
export type StoryName = "cascade" | "failover";

/** What the command line asked for. */
export interface DemoRequest {
  readonly story: StoryName;
  readonly input: string | null;
  readonly sizeBytes: number;
  readonly durationMs: number;
  readonly json: boolean;
}

/** Runs the demo. Ends with exit code 1 if an image differs, or a step fails. */
export async function showDemo({ story: name, input, sizeBytes, durationMs, json }: DemoRequest) {
  if (sizeBytes < LOAD_VOLUME_BYTES_MIN) {
    const least = approximateSize(LOAD_VOLUME_BYTES_MIN);
    throw new CascadeError("usage", `--size is too small for the load; expected ${least} or more`);
  }
  if (name === "failover" && input !== null) {
    throw new CascadeError("usage", "--input goes with the story of the cascade alone");
  }
  const inputBytes = input === null ? 0 : await imageBytes(input);
  const view = json ? quietView() : demoView();
  if (name === "failover") {
    const options = { loadMs: durationMs, sizeBytes };
    const result = await tellFailover(options, view).finally(() => view.end());
    if (json) printJson(result);
    else summariseFailover(result);
    return;
  }
  const story = { loadMs: durationMs, sizeBytes: inputBytes === 0 ? sizeBytes : inputBytes, input };
  const result = await tellStory(story, view).finally(() => view.end());
  if (json) printJson(jsonOf(result));
  else summarise(result);
  if (differs(result)) throw new ExitWith(EXIT.failed);
}

/** The size of a user's image as a volume: rounded up to whole blocks. */
async function imageBytes(path: string): Promise<number> {
  try {
    const { size, isFile } = await Deno.stat(path);
    if (isFile && size > 0) return Math.ceil(size / VOLUME_ALIGN_BYTES) * VOLUME_ALIGN_BYTES;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
  }
  throw new CascadeError("usage", `--input ${path}: there is no such file, or it is empty`);
}

/** The live view on a terminal; elsewhere only the lines that say what happens. */
function demoView(): DemoView {
  const screen = terminalScreen();
  const paint = paintFor(Deno.stdout);
  if (screen === null) return { ...toldBy(printLine, paint), show() {}, end() {} };
  const picture = new LivePicture(screen);
  let previous: Parameters<typeof statusView>[0] | null = null;
  let drawn: string[] = [];
  const stay = (text: string) => {
    for (const line of text.split("\n")) picture.say(line);
    picture.draw(drawn);
  };
  return {
    ...toldBy(stay, paint),
    say: (text) => stay(`${paint.cyan(">")} ${text}`),
    show(report, load) {
      const written = `load: ${load.writes} writes, ${
        approximateSize(load.bytes)
      }, ${load.flushes} flushes`;
      const options = { width: picture.width, paint, previous };
      drawn = ["", ...statusView(report, options), "", paint.dim(written)];
      picture.draw(drawn);
      previous = report;
    },
    end: () => picture.end(),
  };
}

function quietView(): DemoView {
  return { ...toldBy(tell, paintFor(Deno.stderr)), show() {}, end() {} };
}

/** What is told in lines, whichever way a line is told. */
function toldBy(line: (text: string) => void, paint: Paint) {
  return {
    say: (text: string) => line(text),
    act: (title: string) => line(`\n${paint.bold(title)}`),
    command(text: string, output: string) {
      line(paint.cyan(`$ ${text}`));
      for (const each of output === "" ? [] : output.split("\n")) line(each && `  ${each}`);
    },
  };
}

function differs(result: DemoResult): boolean {
  return [...result.differences.values()].some((offset) => offset !== null);
}

function jsonOf(result: DemoResult) {
  return {
    ...result,
    differences: Object.fromEntries(result.differences),
    equal: !differs(result),
  };
}

function summarise(result: DemoResult): void {
  printLine();
  const width = terminalScreen()?.size().columns ?? PLAIN_WIDTH;
  for (const line of summaryLines(result, paintFor(Deno.stdout), width)) printLine(line);
  printLine();
  if (differs(result)) return;
  printLine("Next:");
  printLine("  cascade init            write a topology of your own");
  printLine("  cascade plan            draw it");
  printLine("  cascade serve --node hq run its first node");
}

function summariseFailover(result: FailoverResult): void {
  printLine();
  for (const line of failoverLines(result, paintFor(Deno.stdout))) printLine(line);
}
