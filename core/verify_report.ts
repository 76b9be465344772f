/**
 * What a verification of a link found: printed by `cascade verify --json`, sent by the admin side. Fields
 * are only ever added.
 *
 * @module
 */
import * as z from "zod";

const bytes = z.number().int().nonnegative();

/** A range that differs between the two ends of a link. */
export const differenceSchema = z.object({
  volume: z.string(),
  offset: bytes,
  length: bytes.describe("bytes, in whole blocks"),
  firstByte: bytes.nullable().describe(
    "offset of the first byte that differs; null: not looked up",
  ),
});

/** See the module's text. */
export const verifyReportSchema = z.object({
  link: z.string(),
  comparedBytes: bytes.describe("bytes of the volumes that were compared, holes included"),
  busyBytes: bytes.describe(
    "bytes of blocks that were written again and again, so that no moment was found to compare them",
  ),
  differentBytes: bytes.describe("of those, bytes of blocks that differed"),
  repairedBytes: bytes.describe("of those, what was the same once it had been sent again"),
  differences: z.array(differenceSchema).describe("the first thousand ranges"),
  durationMs: z.number().nonnegative(),
});

export type Difference = z.infer<typeof differenceSchema>;
export type VerifyReport = z.infer<typeof verifyReportSchema>;

/** What can verify its links: a node that runs. */
export interface Verifier {
  /**
   * Compares both ends of a link; with `repair`, what differs is sent once more. Throws `not-found`, `usage`
   * (nothing to compare with), `unreachable`, `connection-lost`, `locked` (it is being verified already).
   */
  verify(link: string, repair: boolean): Promise<VerifyReport>;
}
