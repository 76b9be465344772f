/**
 * A delta that is taken in place: until it ends, the node's volumes are no image that existed. Kept in
 * the node's state file.
 *
 * @module
 */
import * as z from "zod";
import { deltaHeaderSchema, deltaTrailerSchema } from "./delta_format.ts";

const count = z.number().int().nonnegative();

/** See the module's text. */
export const inPlaceSchema = z.object({
  header: deltaHeaderSchema,
  /** What is durable of the body. */
  position: count,
  cursor: z.object({ pass: count, volume: count, offset: count }),
  /** All of it is in the volumes, durably: only the log has to follow. */
  trailer: deltaTrailerSchema.nullable(),
});
export type InPlace = z.infer<typeof inPlaceSchema>;
