import { assertEquals } from "@std/assert";
import { StateTeller } from "../../../core/link/state_teller.ts";
import { LINK_STATES } from "../../../core/status.ts";
import { MemoryJournal } from "../../support/small.ts";

Deno.test("a state is told once, and again when it or its reason changed", () => {
  const journal = new MemoryJournal();
  const teller = new StateTeller(journal, "a-b");
  for (let turn = 0; turn < 3; turn++) teller.tell("streaming", null);
  teller.tell("disconnected", "the peer closed the connection");
  teller.tell("disconnected", "the peer closed the connection");
  teller.tell("disconnected", "nobody answers");
  teller.tell("streaming", null);
  assertEquals(journal.lines.map(({ message, fields }) => [message, fields]), [
    ["link streaming", { link: "a-b" }],
    ["link disconnected", { link: "a-b", reason: "the peer closed the connection" }],
    ["link disconnected", { link: "a-b", reason: "nobody answers" }],
    ["link streaming", { link: "a-b" }],
  ]);
});

Deno.test("each state has its level", () => {
  const journal = new MemoryJournal();
  const teller = new StateTeller(journal, "a-b");
  for (const state of LINK_STATES) teller.tell(state, null);
  const loud = journal.lines.filter(({ level }) => level !== "info");
  assertEquals(loud.map(({ level, message }) => [level, message]), [
    ["warn", "link degraded"],
    ["error", "link overflowed"],
    ["warn", "link disconnected"],
    ["error", "link refused"],
  ]);
});
