/**
 * The scalars of a topology as Zod schemas. The `error` of each is the phrase that follows
 * "expected" in a problem, so that a person reads the same words for the same mistake everywhere.
 *
 * @module
 */
import * as z from "zod";
import { ADMIN_EXPECTED, parseAdminUrl, parseStreamAddress, STREAM_EXPECTED } from "./address.ts";
import type { Endpoint, EndpointResult } from "./address.ts";
import type { Hook } from "../config.ts";
import {
  CRON_EXPECTED,
  cronExpected,
  isCron,
  parseWindow,
  TIMEZONE_EXPECTED,
  timezoneExpected,
  WINDOW_EXPECTED,
} from "./cron.ts";
import { NAME_PATTERN } from "./name_pattern.ts";
import { nearest } from "./nearest.ts";
import { quote } from "./problem.ts";
import { parseDuration, parseSize, type UnitResult } from "./units.ts";

const NAME_EXPECTED =
  "a name of up to 63 letters, digits, dots, dashes and underscores that begins with a letter or digit";
const PATH_LENGTH_MAX = 4096;
const ADDRESSES_MAX = 16;

/** A name; see {@linkcode NAME_PATTERN}. */
export const nameSchema = z.string({ error: NAME_EXPECTED }).regex(NAME_PATTERN, {
  error: NAME_EXPECTED,
});

/** True or false. */
export const flagSchema = z.boolean({ error: "true or false" });

function quantity(expected: string, parse: (text: string) => UnitResult) {
  return z.union([z.string(), z.number()], { error: expected }).transform((input, context) => {
    const result = parse(String(input));
    if (result.ok) return result.value;
    context.addIssue({ code: "custom", message: result.expected });
    return z.NEVER;
  });
}

/** A text that stays as it is; `fault` says what was expected in its place, if it is wrong. */
function checked(expected: string, fault: (text: string) => string | null) {
  return z.string({ error: expected }).superRefine((text, context) => {
    const message = fault(text);
    if (message !== null) context.addIssue({ code: "custom", message });
  });
}

/** A size, to bytes. */
export const sizeSchema = quantity("a size such as 10GiB, 512MiB, 10GB or 4096 (bytes)", parseSize);

/** A duration, to milliseconds. */
export const durationSchema = quantity(
  "a duration such as 500ms, 30s, 15m, 1h30m or 7d",
  parseDuration,
);

/** A path, as it is written: resolved later. */
export const pathSchema = z.string({ error: "a path" }).transform((path, context) => {
  const expected = path.startsWith("~")
    ? "a path; ~ is not expanded here, write the folder out"
    : path === "" || path.includes("\0") || path.length > PATH_LENGTH_MAX
    ? "a path"
    : null;
  if (expected === null) return path;
  context.addIssue({ code: "custom", message: expected });
  return z.NEVER;
});

/** Where a secret comes from, as it is written. */
export type SecretText =
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "file"; readonly path: string };

const SECRET_EXPECTED = "the path of a file that holds the secret, or env:NAME";

/** A secret's place: a file, or `env:NAME`. Never the secret itself. */
export const secretSchema = z.string({ error: SECRET_EXPECTED })
  .transform((text, context): SecretText => {
    const name = /^env:(.*)$/s.exec(text)?.[1];
    if (name === undefined && text !== "" && !/[\0\n]/.test(text) && !text.startsWith("~")) {
      return { kind: "file", path: text };
    }
    if (name !== undefined && /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return { kind: "env", name };
    context.addIssue({ code: "custom", message: SECRET_EXPECTED });
    return z.NEVER;
  });

/** One address of a stream, or a list of them; always a list afterwards. */
export const addressesSchema = z
  .union([z.string(), z.array(z.string())], { error: `${STREAM_EXPECTED}, or a list of them` })
  .transform((input, context) => {
    const endpoints: Endpoint[] = [];
    if (Array.isArray(input) && input.length > ADDRESSES_MAX) {
      context.addIssue({ code: "custom", message: `at most ${ADDRESSES_MAX} addresses` });
      return z.NEVER;
    }
    for (const [index, text] of (Array.isArray(input) ? input : [input]).entries()) {
      const result = parseStreamAddress(text);
      if (result.ok) endpoints.push(result.endpoint);
      else {
        context.addIssue({
          code: "custom",
          message: result.expected,
          path: Array.isArray(input) ? [index] : [],
        });
      }
    }
    return endpoints;
  });

/** The URL of an admin side. */
export const adminSchema = z.string({ error: ADMIN_EXPECTED }).transform((text, context) => {
  const result: EndpointResult = parseAdminUrl(text);
  if (result.ok) return result.endpoint;
  context.addIssue({ code: "custom", message: result.expected });
  return z.NEVER;
});

/** A cron time, as it is written. */
export const cronSchema = checked(CRON_EXPECTED, cronExpected);

/** A daily window, to minutes of the day. */
export const windowSchema = z.string({ error: WINDOW_EXPECTED }).transform((text, context) => {
  const window = parseWindow(text);
  if (window !== null) return window;
  context.addIssue({ code: "custom", message: WINDOW_EXPECTED });
  return z.NEVER;
});

/** The name of a time zone. */
export const timezoneSchema = checked(TIMEZONE_EXPECTED, timezoneExpected);

const OFTEN_EXPECTED = 'daily, weekly, a duration such as 12h, or a cron time such as "0 3 * * 0"';
const DAY_MS = 86_400_000;
const OFTEN_WORDS: ReadonlyMap<string, number> = new Map([["daily", DAY_MS], [
  "weekly",
  7 * DAY_MS,
]]);

/** How often: a word, a duration or a cron time. */
export const oftenSchema = z.union([z.string(), z.number()], { error: OFTEN_EXPECTED })
  .transform((input, context): { everyMs: number | null; cron: string | null } => {
    const text = String(input).trim();
    const word = OFTEN_WORDS.get(text);
    if (word !== undefined) return { everyMs: word, cron: null };
    const duration = parseDuration(text);
    if (duration.ok) return { everyMs: duration.value, cron: null };
    if (isCron(text)) return { everyMs: null, cron: text };
    const meant = nearest(text, [...OFTEN_WORDS.keys()]);
    const hint = meant === null ? "" : `. Did you mean ${quote(meant)}?`;
    context.addIssue({ code: "custom", message: OFTEN_EXPECTED + hint });
    return z.NEVER;
  });

const HOOK_EXPECTED =
  'a command such as "lvcreate --snapshot ...", or a list: a program and its arguments';
const HOOK_WORDS_MAX = 64;

/** What may carry a link. */
export const TRANSPORTS = ["tcp", "unix", "tls", "quic", "exec"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** One transport, or a list in order of preference; always a list afterwards. */
export const transportsSchema = z.union([z.enum(TRANSPORTS), z.array(z.enum(TRANSPORTS))])
  .transform((input, context): readonly Transport[] => {
    const kinds = typeof input === "string" ? [input] : input;
    if (kinds.length > 0 && new Set(kinds).size === kinds.length) return kinds;
    context.addIssue({ code: "custom", message: "a list of different transports: [quic, tls]" });
    return z.NEVER;
  });

/** A command: one text for the shell, or a program and its arguments; always a list afterwards. */
export const hookSchema = z.union([z.string(), z.array(z.string())], { error: HOOK_EXPECTED })
  .transform((input, context): Hook => {
    const words = typeof input === "string" ? [input] : input;
    const isGood = words.length >= 1 && words.length <= HOOK_WORDS_MAX && words[0]?.trim() !== "" &&
      words.every((word) => word.length <= PATH_LENGTH_MAX && !word.includes("\0"));
    if (isGood) return typeof input === "string" ? ["/bin/sh", "-c", input] : input;
    context.addIssue({ code: "custom", message: HOOK_EXPECTED });
    return z.NEVER;
  });
