import { assert, assertEquals, assertRejects } from "@std/assert";
import { waitFor } from "../../cli/wait_for.ts";
import { CascadeError } from "../../core/errors.ts";
import type { NodeStatus } from "../../core/status.ts";
import { linkStatus } from "../io/fixtures.ts";
import { allWell, report, type Statuses } from "./made_up.ts";

const MiB = 1024 * 1024;

/** Waits on hq-metro while the nodes say one thing after the other; tells how often it looked. */
async function wait(looks: readonly Statuses[], goalLsn: number | null): Promise<number> {
  let count = 0;
  await waitFor({
    link: "hq-metro",
    goalLsn,
    timeoutMs: looks.length === 1 ? 0 : 10_000,
    look: () => Promise.resolve(report(looks[Math.min(count++, looks.length - 1)]!)),
  });
  return count;
}

async function missing(looks: readonly Statuses[], goalLsn: number | null): Promise<string> {
  const error = await assertRejects(() => wait(looks, goalLsn), CascadeError);
  assertEquals(error.code, "timed-out");
  return error.message;
}

function at(name: "hq" | "metro", durable: number, applied = durable, epoch = "e1"): NodeStatus {
  const status = allWell()[name];
  return {
    ...status,
    lsn: { ...status.lsn, appended: durable, durable, stable: durable, applied },
    epoch: { ...status.epoch!, id: epoch },
    links: [],
  };
}

Deno.test("caught up means all that was durable upstream at the call, durable and applied below", async () => {
  const looks = [
    { hq: at("hq", 100), metro: at("metro", 50) },
    // The upstream goes on, which does not move the goal.
    { hq: at("hq", 500), metro: at("metro", 100, 90) },
    { hq: at("hq", 900), metro: at("metro", 120, 100) },
  ];
  assertEquals(await wait(looks, null), 3);
});

Deno.test("an LSN is waited for without the upstream node", async () => {
  assertEquals(await wait([{ metro: at("metro", MiB) }], MiB), 1);
  const text = await missing([{ metro: at("metro", MiB, MiB - 10) }], MiB);
  assert(text.includes("10 bytes are missing"), text);
});

Deno.test("a node that does not answer is known by its acks", async () => {
  const hq = { ...at("hq", 100), links: [linkStatus({ durable: 100, applied: 100 })] };
  assertEquals(await wait([{ hq }], null), 1);
  const behind = { ...at("hq", 100), links: [linkStatus({ durable: 100, applied: null })] };
  const text = await missing([{ hq: behind }], null);
  assert(text.includes("nobody who answers knows how far metro is"), text);
});

Deno.test("the end of a node in another epoch does not count", async () => {
  const stale = { hq: at("hq", 100, 100, "e2"), metro: at("metro", 300, 300, "e1") };
  await missing([stale], null);
  const fresh = { hq: at("hq", 100, 100, "e2"), metro: at("metro", 300, 300, "e2") };
  assertEquals(await wait([stale, fresh], null), 2);
});

Deno.test("without the upstream node nobody can say what caught up is", async () => {
  const text = await missing([{ metro: at("metro", 100) }], null);
  assert(text.includes("hq did not answer"), text);
  assertEquals(
    await wait([{ metro: at("metro", 100) }, { hq: at("hq", 100), metro: at("metro", 100) }], null),
    2,
  );
});

Deno.test("a time-out tells how far it came and what the link does", async () => {
  const hq = {
    ...at("hq", 1000),
    links: [
      linkStatus({ state: "disconnected", reason: "nobody answers", durable: 10, applied: 4 }),
    ],
  };
  assertEquals(
    await missing([{ hq }], null),
    "not within 0ms: of 1000, metro has made durable 10 and applied 4: 996 bytes are missing; " +
      "the link is disconnected (nobody answers)",
  );
});

Deno.test("nobody there at all is a time-out too", async () => {
  const text = await missing([{}], 5);
  assert(text.includes("nobody who answers"), text);
});

Deno.test("of a periodic link it is told how to have it ship at once", async () => {
  const { nodes, links, ...rest } = report({});
  const periodic = links.map(({ link, ...known }) => ({
    ...known,
    link: { ...link, mode: "periodic" as const },
  }));
  const look = () => Promise.resolve({ ...rest, nodes, links: periodic });
  const goal = { link: "metro-dr2", goalLsn: 16, timeoutMs: 0, look };
  const { hint } = await assertRejects(() => waitFor(goal), CascadeError);
  assertEquals(hint, "`cascade sync --node metro --link metro-dr2` ships now.");
});
