/**
 * The demo as a whole: it ends well, and leaves nothing behind.
 */
import { assert, assertEquals } from "@std/assert";
import * as z from "zod";
import { cascadeArgs } from "../support/cascade_args.ts";
import { e2e } from "../support/e2e.ts";
import { run } from "../support/programs.ts";

const resultSchema = z.object({
  equal: z.boolean(),
  hops: z.array(z.object({
    link: z.string(),
    mode: z.string(),
    logBytes: z.number(),
    sentBytes: z.number(),
    deltas: z.number(),
  })),
});

e2e(
  "the demo ends with equal images; its periodic link carried less than was written",
  [],
  async () => {
    const args = ["demo", "--json", "--size", "64MiB", "--duration", "4s"];
    const { stdout } = await run(Deno.execPath(), cascadeArgs(...args));
    const { equal, hops } = resultSchema.parse(JSON.parse(stdout));
    assert(equal);
    assertEquals(hops.map(({ link, mode }) => [link, mode]), [
      ["hq-metro", "sync"],
      ["metro-dr1", "async"],
      ["metro-dr2", "periodic"],
    ]);
    const [, streamed, coalesced] = hops;
    assertEquals(streamed?.logBytes, coalesced?.logBytes);
    assertEquals(streamed?.deltas, 0);
    assert((coalesced?.deltas ?? 0) > 0);
    assert(
      (coalesced?.sentBytes ?? Infinity) < (streamed?.sentBytes ?? 0),
      "what is left goes once",
    );
  },
);
