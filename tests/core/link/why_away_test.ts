import { assertEquals } from "@std/assert";
import { whyAway } from "../../../core/link/why_away.ts";
import { makeLink } from "../../support/small.ts";

const NOTHING = { pausedWhy: null, refused: null, reason: null, listening: [], waitedMs: 10_000 };

Deno.test("who waits for a peer is told where it was waited for, and what to do", () => {
  const link = makeLink({ addresses: ["tcp://b:1"] });
  const waiting = { ...NOTHING, listening: ["tcp://10.0.0.1:7420", "unix:/a"] };
  assertEquals(
    whyAway({ ...link, dial: "to" }, waiting),
    "b did not connect to a at tcp://10.0.0.1:7420 or unix:/a within 10 s; " +
      "start b, or see what it says",
  );
  assertEquals(
    whyAway({ ...link, dial: "from" }, { ...NOTHING, reason: "nobody answers" }),
    "a could not connect to b at tcp://b:1 within 10 s (nobody answers); " +
      "start b, or see what it says",
  );
});

Deno.test("of a refused peer it is told why, and not that it was not there", () => {
  const refused = { ...NOTHING, refused: "the secret of a and of b differ" };
  assertEquals(whyAway(makeLink(), refused), "b is refused: the secret of a and of b differ");
});

Deno.test("of a paused link it is told how it goes on", () => {
  const link = makeLink();
  assertEquals(
    whyAway(link, { ...NOTHING, pausedWhy: "paused at a: a new router" }),
    "it is paused at a: a new router; `cascade resume --link a-b` lets it go on",
  );
  assertEquals(
    whyAway({ ...link, paused: true }, { ...NOTHING, pausedWhy: "paused by the topology" }),
    "it is paused by the topology; remove that there",
  );
});
