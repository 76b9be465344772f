/**
 * The shape of a reign in everything that is read from outside: messages, files.
 *
 * @module
 */
import * as z from "zod";

/** See `history.ts`. */
export const epochSchema = z.object({
  number: z.number().int().positive().max(0xffff_ffff),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  firstLsn: z.number().int().nonnegative(),
  node: z.string().min(1).max(128),
});
