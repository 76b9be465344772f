/**
 * The JSON Schema of a topology file, for editors: completion, hover texts and squiggles.
 *
 * @module
 */
import * as z from "zod";
import { topologySchema } from "./schema.ts";

/** JSON Schema (draft 7, which editors know best) of what a user may write. */
export function topologyJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(topologySchema, {
    io: "input",
    target: "draft-7",
  });
  return {
    $schema,
    title: "Cascade topology",
    description: "Nodes, volumes and links of one cascade",
    ...schema,
    // The user's own, to hang anchors on.
    patternProperties: { "^x-": {} },
  };
}
