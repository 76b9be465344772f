/**
 * What an operator has set on the links of this node, in place of what the topology says: pauses and limits.
 * It is kept across restarts and changes of the topology, until the operator takes it back.
 *
 * @module
 */
import * as z from "zod";
import type { NodeState } from "../state.ts";
import { ByLink } from "./by_link.ts";
import { Pauses } from "./pauses.ts";

/** A limit that an operator has set. */
export const limitSchema = z.object({
  link: z.string(),
  /** Bytes a second; null: no limit. */
  rate: z.number().positive().nullable(),
});

/** See the module's text. */
export class ByHand {
  readonly pauses: Pauses;
  readonly limits: ByLink<z.infer<typeof limitSchema>>;

  /** `save` makes a change durable. */
  constructor(
    { paused, limited }: Pick<NodeState, "paused" | "limited">,
    save: (change: Partial<NodeState>) => Promise<void>,
  ) {
    this.pauses = new Pauses(paused, (list) => save({ paused: [...list] }));
    this.limits = new ByLink(limited, (list) => save({ limited: [...list] }));
  }
}
