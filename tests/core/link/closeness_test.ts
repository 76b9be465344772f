import { assertEquals } from "@std/assert";
import { Closeness } from "../../../core/link/closeness.ts";
import { BEHIND_BYTES } from "../../../core/link/link_limits.ts";

Deno.test("a link that has caught up is close until it is far behind, and then when it has again", () => {
  const closeness = new Closeness();
  const looks: readonly (readonly [caughtUp: boolean, behind: number, close: boolean])[] = [
    [false, 1, false],
    [true, 0, true],
    [false, BEHIND_BYTES - 1, true],
    [false, BEHIND_BYTES, false],
    [false, 1, false],
    [true, 0, true],
  ];
  for (const [caughtUp, behind, close] of looks) {
    assertEquals(closeness.look(caughtUp, behind), close);
  }
  closeness.reset();
  assertEquals(closeness.isClose, false);
});
