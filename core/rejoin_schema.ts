/**
 * What the state file says of a node that leaves an abandoned epoch; see rejoin.ts.
 *
 * @module
 */
import * as z from "zod";

const lsn = z.number().int().nonnegative();

export const rejoinSchema = z.object({
  /** Where the histories part: the log ends here until the delta is taken that leads on. */
  forkLsn: lsn,
  /** What the volumes are until then: the image at this LSN of the abandoned epoch. */
  endLsn: lsn,
  /** Number of the abandoned epoch. */
  epoch: z.number().int().nonnegative(),
  /** The folder that keeps the abandoned records, or null: the log did not reach back so far. */
  kept: z.string().nullable(),
  /** The log does not reach back to the fork in one piece: it is emptied. */
  wipes: z.boolean(),
  /** The log was cut, or emptied. */
  isCut: z.boolean(),
});

/** See {@linkcode rejoinSchema}. */
export type Rejoin = z.infer<typeof rejoinSchema>;
