import { assertEquals } from "@std/assert";
import type { LinkConfig } from "../../../core/config.ts";
import { SyncPolicy, type SyncState } from "../../../core/link/sync_policy.ts";
import { makeLink } from "../../support/small.ts";

const TIMEOUT_MS = 1000;

function makePolicy(change: Partial<LinkConfig> = {}): SyncPolicy {
  return new SyncPolicy(makeLink({ mode: "sync", timeoutMs: TIMEOUT_MS, ...change }), 0);
}

/** How a policy comes into each of its states. */
const INTO: Record<SyncState, (policy: SyncPolicy) => void> = {
  grace: () => {},
  released: (policy) => policy.tick(TIMEOUT_MS),
  failed: (policy) => policy.tick(TIMEOUT_MS),
  joining: (policy) => {
    policy.connected(0);
    policy.caughtUp(160, 0);
  },
  joined: (policy) => {
    policy.connected(0);
    policy.caughtUp(160, 0);
    policy.acked(160, 0, 0);
  },
};

/** What can happen, long after all that was before. */
const LATE_MS = 10 * TIMEOUT_MS;
const EVENTS = {
  connected: (policy: SyncPolicy) => policy.connected(LATE_MS),
  caughtUp: (policy: SyncPolicy) => policy.caughtUp(320, LATE_MS),
  ackedBelow: (policy: SyncPolicy) => policy.acked(144, 144, LATE_MS),
  ackedSwitch: (policy: SyncPolicy) => policy.acked(160, 0, LATE_MS),
  disconnected: (policy: SyncPolicy) => policy.disconnected(LATE_MS),
  tickEarly: (policy: SyncPolicy) => policy.tick(TIMEOUT_MS - 1),
  tickLate: (policy: SyncPolicy) => policy.tick(LATE_MS),
  giveUp: (policy: SyncPolicy) => policy.giveUp(),
} as const;
type EventName = keyof typeof EVENTS;

/** The whole table: the state after each event; "lost" stands for released or failed by the mode. */
type Row = Record<EventName, SyncState | "lost">;
const AWAY: Omit<Row, "tickLate" | "giveUp"> = {
  connected: "grace",
  caughtUp: "joining",
  ackedBelow: "grace",
  ackedSwitch: "grace",
  disconnected: "grace",
  tickEarly: "grace",
};
const LOST: Row = {
  connected: "lost",
  caughtUp: "joining",
  ackedBelow: "lost",
  ackedSwitch: "lost",
  disconnected: "lost",
  tickEarly: "lost",
  tickLate: "lost",
  giveUp: "lost",
};
const TABLE: Record<SyncState, Row> = {
  grace: { ...AWAY, tickLate: "lost", giveUp: "lost" },
  released: LOST,
  failed: LOST,
  joining: {
    connected: "joining",
    caughtUp: "joining",
    ackedBelow: "joining",
    ackedSwitch: "joined",
    disconnected: "grace",
    tickEarly: "joining",
    tickLate: "joining",
    giveUp: "lost",
  },
  joined: {
    connected: "joined",
    caughtUp: "joined",
    ackedBelow: "joined",
    ackedSwitch: "joined",
    disconnected: "grace",
    tickEarly: "joined",
    tickLate: "joined",
    giveUp: "lost",
  },
};

for (const onDisconnect of ["degrade", "fail"] as const) {
  const lost: SyncState = onDisconnect === "fail" ? "failed" : "released";
  for (const [state, row] of Object.entries(TABLE) as [SyncState, Row][]) {
    if ((state === "released" || state === "failed") && state !== lost) continue;
    Deno.test(`a ${onDisconnect} link in state ${state} goes where the table says`, () => {
      for (const [event, next] of Object.entries(row) as [EventName, SyncState | "lost"][]) {
        const policy = makePolicy({ onDisconnect });
        INTO[state](policy);
        assertEquals(policy.state, state);
        EVENTS[event](policy);
        assertEquals(policy.state, next === "lost" ? lost : next, event);
      }
    });
  }
}

Deno.test("clients wait in grace, joining and joined; get errors in failed; else neither", () => {
  const seen = (Object.keys(INTO) as SyncState[]).map((state) => {
    const policy = makePolicy({ onDisconnect: state === "failed" ? "fail" : "degrade" });
    INTO[state](policy);
    return [state, policy.required, policy.failed];
  });
  assertEquals(seen, [
    ["grace", true, false],
    ["released", false, false],
    ["failed", false, true],
    ["joining", true, false],
    ["joined", true, false],
  ]);
});

Deno.test("async, periodic and paused links never make anybody wait", () => {
  for (const change of [{ mode: "async" }, { mode: "periodic" }, { paused: true }] as const) {
    const policy = makePolicy({ onDisconnect: "fail", ...change });
    assertEquals(policy.state, "released");
    policy.connected(0);
    if (policy.state === "released" && !("paused" in change)) policy.caughtUp(16, 0);
    policy.tick(LATE_MS);
    assertEquals([policy.required, policy.failed], [false, false]);
  }
});

Deno.test("giving an async link up changes nothing", () => {
  const policy = makePolicy({ mode: "async", onDisconnect: "fail" });
  policy.giveUp();
  assertEquals([policy.state, policy.failed], ["released", false]);
});

Deno.test("the grace ends at its deadline, counted from the start or from the loss", () => {
  const policy = makePolicy();
  assertEquals([policy.tick(TIMEOUT_MS - 1), policy.tick(TIMEOUT_MS)], [false, true]);
  const back = makePolicy();
  INTO.joined(back);
  back.disconnected(500);
  assertEquals([back.tick(500 + TIMEOUT_MS - 1), back.state], [false, "grace"]);
  // Told again of the same loss: the grace is not made longer.
  back.disconnected(1400);
  assertEquals([back.tick(500 + TIMEOUT_MS), back.state], [true, "released"]);
});

Deno.test("positions only grow within a connection", () => {
  const policy = makePolicy();
  policy.connected(0);
  policy.acked(320, 160, 0);
  policy.acked(160, 16, 0);
  assertEquals([policy.receivedLsn, policy.durableLsn], [320, 160]);
});

Deno.test("what a peer had acknowledged counts no more once it is gone or comes back", () => {
  const policy = makePolicy();
  INTO.joined(policy);
  policy.acked(320, 320, 0);
  policy.disconnected(10);
  assertEquals([policy.receivedLsn, policy.durableLsn], [0, 0]);
  policy.connected(20);
  policy.acked(48, 32, 20);
  assertEquals([policy.receivedLsn, policy.durableLsn], [48, 32]);
  // Also when it was given up before the connection was seen to be lost.
  policy.giveUp();
  policy.disconnected(30);
  assertEquals([policy.receivedLsn, policy.durableLsn], [0, 0]);
});

Deno.test("a joining link is joined by the ack of the switch LSN, not by one below", () => {
  const policy = makePolicy();
  policy.connected(0);
  policy.caughtUp(320, 0);
  policy.acked(319, 319, 0);
  assertEquals(policy.state, "joining");
  policy.acked(320, 0, 0);
  assertEquals(policy.state, "joined");
});

Deno.test("a peer that owes an answer is silent after the timeout without progress", () => {
  const policy = makePolicy();
  INTO.joined(policy);
  policy.acked(320, 160, 0);
  assertEquals(policy.isSilent(320, TIMEOUT_MS), false);
  assertEquals(policy.isSilent(320, TIMEOUT_MS + 1), true);
  policy.acked(320, 176, TIMEOUT_MS);
  assertEquals(policy.isSilent(320, 2 * TIMEOUT_MS), false);
});

Deno.test("a peer that owes nothing is never silent, and its time begins when it owes again", () => {
  const policy = makePolicy();
  INTO.joined(policy);
  policy.acked(320, 320, 0);
  assertEquals(policy.isSilent(320, LATE_MS), false);
  assertEquals(policy.isSilent(336, LATE_MS + TIMEOUT_MS), false);
  assertEquals(policy.isSilent(336, LATE_MS + TIMEOUT_MS + 1), true);
});

Deno.test("a peer that nobody waits for is never silent", () => {
  for (const state of ["grace", "released"] as const) {
    const policy = makePolicy();
    INTO[state](policy);
    assertEquals(policy.isSilent(1e9, 1e9), false);
  }
});

Deno.test("clients do not wait for a peer that is known to be away, and do again once it has caught up", () => {
  const policy = makePolicy({ onDisconnect: "degrade" });
  policy.doWithout();
  assertEquals([policy.state, policy.required], ["released", false]);
  policy.connected(0);
  policy.caughtUp(160, 0);
  assertEquals([policy.state, policy.required], ["joining", true]);
});

Deno.test("a peer without which clients get errors has its time, known to be away or not", () => {
  const policy = makePolicy({ onDisconnect: "fail" });
  policy.doWithout();
  assertEquals(policy.state, "grace");
  policy.tick(TIMEOUT_MS);
  assertEquals(policy.state, "failed");
});
