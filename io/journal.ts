/**
 * A node's own messages, one event a line, as text for people or as JSON for programs.
 *
 *     2026-01-31T12:00:00.000Z INFO  hq     link is streaming link=hq-metro lsn=4096
 *     {"time":"2026-01-31T12:00:00.000Z","level":"info","node":"hq","message":"link is streaming",...}
 *
 * In JSON the fields stand beside `time`, `level`, `node` and `message`; one with such a name gets a
 * `_` behind it. Whatever a peer sent can be part of a line, so nothing in it may act on a terminal or look like a line of its own.
 *
 * @module
 */
import type { Journal, LogLevel } from "../core/ports.ts";

/** How lines look. */
export type JournalFormat = "text" | "json";

/** The levels, the least important first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** What a journal is made of. */
export interface JournalOptions {
  readonly node: string;
  readonly format: JournalFormat;
  readonly level: LogLevel;
  /** Only for text. */
  readonly colour: boolean;
  /** Takes a line with its line end. May throw: the line is then lost, and nothing else. */
  readonly sink: (line: string) => void;
  /** Wall clock, ms since 1970. */
  readonly nowMs: () => number;
}

type Fields = Record<string, string | number | boolean>;

const COLOURS: Readonly<Record<LogLevel, string>> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};
const PLAIN = "\x1b[0m";

/** A {@linkcode Journal} that writes lines. */
export class LineJournal implements Journal {
  /** May be changed while in use. */
  level: LogLevel;
  readonly #options: JournalOptions;
  #lost = 0;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.level = options.level;
  }

  write(level: LogLevel, message: string, fields: Fields = {}): void {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(this.level)) return;
    const { format, node, nowMs } = this.#options;
    const time = new Date(nowMs()).toISOString();
    const all = this.#lost === 0 ? fields : { ...fields, linesLost: this.#lost };
    const line = format === "json"
      ? jsonLine({ time, level, node, message }, all)
      : textLine({ time, level, node, message }, all, this.#options.colour);
    try {
      this.#options.sink(line);
      this.#lost = 0;
    } catch {
      // A node does not stop for want of a reader of its log; the next line tells what was lost.
      this.#lost += 1;
    }
  }
}

interface Head {
  readonly time: string;
  readonly level: LogLevel;
  readonly node: string;
  readonly message: string;
}

function jsonLine(head: Head, fields: Fields): string {
  const line: Fields = { ...head };
  for (const [key, value] of Object.entries(fields)) line[key in head ? `${key}_` : key] = value;
  return JSON.stringify(line) + "\n";
}

function textLine({ time, level, node, message }: Head, fields: Fields, colour: boolean): string {
  const name = level.toUpperCase().padEnd(5);
  const shown = colour ? `${COLOURS[level]}${name}${PLAIN}` : name;
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${textValue(value)}`);
  return `${time} ${shown} ${node} ${escapeControls(message)}${pairs.join("")}\n`;
}

function textValue(value: string | number | boolean): string {
  if (typeof value !== "string") return String(value);
  // deno-lint-ignore no-control-regex -- those are what is looked for
  if (value !== "" && !/[\s"=\\\x00-\x1f\x7f-\x9f]/.test(value)) return value;
  return escapeControls(JSON.stringify(value));
}

/** Control characters as JSON writes them, so that none reaches a terminal. */
export function escapeControls(text: string): string {
  // deno-lint-ignore no-control-regex -- those are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (found) => {
    return `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
