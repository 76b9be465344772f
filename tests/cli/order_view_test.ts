import { assertEquals } from "@std/assert";
import { progressText, ProgressView } from "../../cli/ui/order_view.ts";
import type { OrderProgress } from "../../core/tree/order_progress.ts";

const AT: OrderProgress = {
  ...{ order: "migrate", step: "catching-up", from: "hq", bytesTotal: 4 << 20, bytesLeft: 1 << 20 },
  forMs: 2_000,
};
const HOLDING: OrderProgress = { ...AT, step: "holding", bytesTotal: 0, bytesLeft: 0 };

function shown(isTerminal: boolean, ...all: OrderProgress[]): string {
  let text = "";
  const write = (more: string) => void (text += more);
  const view = new ProgressView({ isTerminal, columns: () => 40, write }, "metro");
  for (const progress of all) view.show(progress);
  view.end();
  return text;
}

Deno.test("how far a node is that catches up is told in bytes and as a share", () => {
  assertEquals(progressText(AT, "metro"), "metro catches up with hq: 75%, 1MiB of 4MiB to come");
  assertEquals(progressText({ ...AT, bytesTotal: 0 }, "metro"), "metro catches up with hq");
});

Deno.test("each step is a line where nothing can be redrawn, and one that takes long is told again", () => {
  const later = { ...AT, forMs: 2_250 };
  const muchLater = { ...AT, forMs: 12_500, bytesLeft: 0 };
  assertEquals(shown(false, AT, later, muchLater, HOLDING).split("\n"), [
    "metro catches up with hq: 75%, 1MiB of 4MiB to come (2s)",
    "metro catches up with hq: 100%, 0B of 4MiB to come (13s)",
    "clients of hq are held, and the last bytes come (2s)",
    "",
  ]);
});

Deno.test("on a terminal one line is drawn over, no wider than that is, and nothing of it stays", () => {
  assertEquals(
    shown(true, AT),
    "\r\x1b[Kmetro catches up with hq: 75%, 1MiB of \r\x1b[K",
  );
  assertEquals(shown(true), "");
});
