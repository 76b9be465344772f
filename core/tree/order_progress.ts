/**
 * How far an order is that a node carries out: told to whoever waits for it, while it waits.
 *
 * @module
 */
import * as z from "zod";

/** What is being done, in this order; an order need not come through all of them. */
export const ORDER_STEPS = [
  "asking",
  "fetching",
  "catching-up",
  "holding",
  "handing-over",
  "promoting",
] as const;
export type OrderStep = (typeof ORDER_STEPS)[number];

const bytes = z.number().int().nonnegative();

export const orderProgressSchema = z.object({
  order: z.enum(["promote", "migrate", "reparent", "resolve"]),
  step: z.enum(ORDER_STEPS).describe(
    "asking: all nodes, how they stand; fetching: the node that has more begins to reign, to hand on; catching-up: " +
      "what the primary has comes here; holding: clients wait, and the last of it comes; handing-over: the primary " +
      "hands on its role; promoting: the new reign is made durable",
  ),
  from: z.string().nullable().describe("which node takes part beside the one that is meant"),
  bytesTotal: bytes.nullable().describe(
    "of catching up: what was lacking; null: nothing is counted",
  ),
  bytesLeft: bytes.nullable(),
  forMs: z.number().nonnegative().describe("since the order was given"),
});
/** How far an order is. */
export type OrderProgress = z.infer<typeof orderProgressSchema>;
