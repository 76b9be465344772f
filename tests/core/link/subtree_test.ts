import { assertEquals } from "@std/assert";
import { eachOnce } from "../../../core/link/subtree.ts";
import type { LinkStatus } from "../../../core/status.ts";

function link(name: string, sentBytes: number): LinkStatus {
  return { name, sentBytes } as LinkStatus;
}

Deno.test("a node below cannot tell of a link that is another's, or of one twice", () => {
  const own = [link("a-b", 1), link("a-c", 2)];
  const told = [link("b-d", 3), link("a-c", 99), link("b-d", 98), link("a-b", 97)];
  assertEquals(eachOnce(own, told).map(({ name, sentBytes }) => [name, sentBytes]), [
    ["a-b", 1],
    ["a-c", 2],
    ["b-d", 3],
  ]);
});
