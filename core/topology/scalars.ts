/**
 * The scalars of a topology as Zod schemas. The `error` of each is the phrase that follows
 * "expected" in a problem, so that a person reads the same words for the same mistake everywhere.
 *
 * @module
 */
import { z } from "zod";
import { ADMIN_EXPECTED, parseAdminUrl, parseStreamAddress, STREAM_EXPECTED } from "./address.ts";
import type { Endpoint, EndpointResult } from "./address.ts";
import { CRON_EXPECTED, isCron, isWindow, WINDOW_EXPECTED } from "./cron.ts";
import { parseDuration, parseRate, parseSize, type UnitResult } from "./units.ts";

/** Names of the cluster, of nodes, volumes and links. */
export const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
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

/** A size, to bytes. */
export const sizeSchema = quantity("a size such as 10GiB, 512MiB, 10GB or 4096 (bytes)", parseSize);

/** A duration, to milliseconds. */
export const durationSchema = quantity(
  "a duration such as 500ms, 30s, 15m, 1h30m or 7d",
  parseDuration,
);

/** A rate, to bytes a second. */
export const rateSchema = quantity("a rate such as 20MiB/s or 500kB/s", parseRate);

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
export const cronSchema = z.string({ error: CRON_EXPECTED }).refine(isCron, {
  error: CRON_EXPECTED,
});

/** A daily window, as it is written. */
export const windowSchema = z.string({ error: WINDOW_EXPECTED }).refine(isWindow, {
  error: WINDOW_EXPECTED,
});
