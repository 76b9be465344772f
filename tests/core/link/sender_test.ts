import { assert, assertEquals } from "@std/assert";
import type { LinkConfig } from "../../../core/config.ts";
import {
  FLAG_FLUSH_WANTED,
  FrameReader,
  FrameType,
  readTide,
  type Tide,
  TIDE_BYTES,
} from "../../../core/link/frames.ts";
import { HEARTBEAT_INTERVAL_MS, WINDOW_BYTES_FIRST } from "../../../core/link/link_limits.ts";
import { Sender, SENDER_BUFFER_BYTES } from "../../../core/link/sender.ts";
import { SyncPolicy } from "../../../core/link/sync_policy.ts";
import { beginReign, makeRig, makeWrite, type Rig, type RigOptions } from "../../support/rig.ts";
import { idOf, makeEpoch, makeLink } from "../../support/small.ts";

interface Upstream {
  readonly rig: Rig;
  readonly policy: SyncPolicy;
  readonly sender: Sender;
}

function makeSender(rig: Rig, change: Partial<LinkConfig> = {}, fromLsn = 0): Upstream {
  const link = makeLink(change);
  const policy = new SyncPolicy(link, 0);
  policy.connected(0);
  const tide = { toldTimeMs: () => 7000, timeMs: () => 7000, endLsn: () => rig.log.endLsn };
  const sender = new Sender(rig.pipeline, link, policy, tide, rig.clock, fromLsn);
  sender.flow(fromLsn);
  return { rig, policy, sender };
}

async function makeUpstream(change: Partial<LinkConfig> = {}, options: RigOptions = {}) {
  const rig = await makeRig(options);
  await beginReign(rig, 3);
  return makeSender(rig, change);
}

interface Sent {
  type: number;
  flags: number;
  tide: Tide;
  records: Uint8Array;
}

/** What is sent next; null: nothing is due. */
function pull({ sender }: Upstream): Sent | null {
  const buffer = new Uint8Array(SENDER_BUFFER_BYTES);
  const end = sender.fill(buffer, 0);
  if (end === 0) return null;
  const reader = new FrameReader(SENDER_BUFFER_BYTES);
  reader.allowData();
  reader.room().set(buffer.subarray(0, end));
  reader.advance(end);
  const frame = reader.next();
  assert(frame !== null);
  const { type = 0, flags = 0, body = new Uint8Array(0) } = frame ?? {};
  return { type, flags, tide: readTide(body), records: Uint8Array.from(body.subarray(TIDE_BYTES)) };
}

/** All that is due, at most `max` frames: a sender that never stops is a fault. */
function pullAll(upstream: Upstream, max = 50): Sent[] {
  const all: Sent[] = [];
  for (let sent = pull(upstream); sent !== null; sent = pull(upstream)) {
    all.push(sent);
    assert(all.length <= max, "a sender comes to rest");
  }
  return all;
}

/** Appends a write that nobody has flushed. */
function append({ rig }: Upstream, bytes = 512): number {
  rig.log.append(makeWrite(1, rig.log.endLsn, 0, bytes, 3));
  rig.pipeline.appended();
  return rig.log.endLsn;
}

function ack(upstream: Upstream, receivedLsn: number): void {
  upstream.sender.acked({
    epochId: idOf("1"),
    receivedLsn,
    durableLsn: receivedLsn,
    appliedLsn: 0,
    groupReceivedLsn: receivedLsn,
    groupDurableLsn: receivedLsn,
  });
}

Deno.test("the log is sent from where the peer stands, as the very bytes", async () => {
  const upstream = await makeUpstream();
  const [sent, ...rest] = pullAll(upstream);
  const bytes = new Uint8Array(upstream.rig.log.endLsn);
  upstream.rig.log.readAt(0, bytes);
  assertEquals([sent?.type, sent?.records, rest.length], [FrameType.DATA, bytes, 0]);
  assertEquals(sent?.tide, {
    stableLsn: upstream.rig.log.endLsn,
    primaryTimeMs: 7000,
    primaryEndLsn: upstream.rig.log.endLsn,
    firstLsn: 0,
  });
});

Deno.test("an async link ships what is stable, a sync link what is appended", async () => {
  for (const mode of ["async", "sync"] as const) {
    const upstream = await makeUpstream({ mode });
    pullAll(upstream);
    const durableLsn = upstream.rig.log.endLsn;
    const endLsn = append(upstream);
    pullAll(upstream);
    assertEquals(upstream.sender.cursorLsn, mode === "sync" ? endLsn : durableLsn);
    upstream.rig.pipeline.flushNow();
    await upstream.rig.log.flushed();
    pullAll(upstream);
    assertEquals(upstream.sender.cursorLsn, endLsn);
  }
});

Deno.test("below the primary, an async link ships nothing that is provisional", async () => {
  const upstream = await makeUpstream({}, { reigns: false });
  const { rig } = upstream;
  assertEquals([rig.pipeline.stableLsn, rig.pipeline.durableLsn], [0, rig.log.endLsn]);
  assertEquals(pullAll(upstream).map(({ type }) => type), [FrameType.TIDE]);
  assertEquals(upstream.sender.cursorLsn, 0);
});

Deno.test("a window of unacknowledged bytes stops the sender, and acks let it go on", async () => {
  const rig = await makeRig({ segmentBytes: 3 * WINDOW_BYTES_FIRST });
  await beginReign(rig, 1);
  const upstream = makeSender(rig, { mode: "sync" });
  while (rig.log.endLsn < 2 * WINDOW_BYTES_FIRST) append(upstream, 1024 * 1024);
  pullAll(upstream);
  const stopped = upstream.sender.cursorLsn;
  assert(stopped >= WINDOW_BYTES_FIRST && stopped < WINDOW_BYTES_FIRST + SENDER_BUFFER_BYTES);
  assertEquals([upstream.sender.caughtUp, upstream.policy.state], [false, "grace"]);
  ack(upstream, stopped);
  pullAll(upstream);
  assert(upstream.sender.cursorLsn > stopped);
});

Deno.test("a sync link that has sent all makes new writes wait for it", async () => {
  const upstream = await makeUpstream({ mode: "sync" });
  pullAll(upstream);
  assertEquals(upstream.policy.state, "joining");
  ack(upstream, upstream.rig.log.endLsn);
  assertEquals(upstream.policy.state, "joined");
});

Deno.test("a sync peer hears at once of a new stable position", async () => {
  const upstream = await makeUpstream({ mode: "sync" });
  append(upstream);
  pullAll(upstream);
  upstream.rig.log.requestFlush();
  await upstream.rig.log.flushed();
  const sent = pullAll(upstream);
  assertEquals(sent.map(({ type, tide }) => [type, tide.stableLsn]), [
    [FrameType.TIDE, upstream.rig.log.endLsn],
  ]);
});

Deno.test("an idle link says something once a heartbeat", async () => {
  const upstream = await makeUpstream();
  pullAll(upstream);
  assertEquals(pullAll(upstream).length, 0);
  upstream.rig.clock.advance(HEARTBEAT_INTERVAL_MS);
  const sent = pullAll(upstream);
  assertEquals(sent.map(({ type, tide }) => [type, tide.firstLsn]), [
    [FrameType.TIDE, upstream.rig.log.endLsn],
  ]);
});

Deno.test("each flush that a client waits for is asked of a sync peer once", async () => {
  const upstream = await makeUpstream({ mode: "sync" });
  pullAll(upstream);
  append(upstream);
  upstream.rig.pipeline.flushNow();
  assertEquals(pullAll(upstream).map(({ type, flags }) => [type, flags]), [
    [FrameType.DATA, FLAG_FLUSH_WANTED],
  ]);
  append(upstream);
  assertEquals(pullAll(upstream).map(({ flags }) => flags), [0]);
  upstream.rig.pipeline.flushNow();
  assertEquals(pullAll(upstream).map(({ type, flags }) => [type, flags]), [
    [FrameType.TIDE, FLAG_FLUSH_WANTED],
  ]);
});

Deno.test("an async peer is never asked to flush", async () => {
  const upstream = await makeUpstream();
  append(upstream);
  upstream.rig.pipeline.flushNow();
  await upstream.rig.log.flushed();
  assertEquals(pullAll(upstream).map(({ flags }) => flags), [0]);
});

Deno.test("a flush that is wanted while the window is full does not make the sender babble", async () => {
  const rig = await makeRig({ segmentBytes: 3 * WINDOW_BYTES_FIRST });
  await beginReign(rig, 1);
  const upstream = makeSender(rig, { mode: "sync" });
  while (rig.log.endLsn < 2 * WINDOW_BYTES_FIRST) append(upstream, 1024 * 1024);
  rig.pipeline.flushNow();
  const flags = pullAll(upstream).map((sent) => sent.flags);
  assert(flags.every((flag) => flag === 0));
  while (upstream.sender.cursorLsn < rig.log.endLsn) {
    ack(upstream, upstream.sender.cursorLsn);
    flags.push(...pullAll(upstream).map((sent) => sent.flags));
  }
  assertEquals(flags.filter((flag) => flag === FLAG_FLUSH_WANTED).length, 1);
});

Deno.test("a flush of a tail that was cut off does not make the sender babble", async () => {
  const upstream = await makeUpstream({ mode: "sync" }, { reigns: false });
  const cut = upstream.rig.log.endLsn;
  append(upstream);
  upstream.rig.pipeline.flushNow();
  await upstream.rig.log.flushed();
  await upstream.rig.pipeline.cutBack(cut);
  const again = makeSender(upstream.rig, { mode: "sync" });
  pullAll(again);
  assertEquals(again.sender.cursorLsn, cut);
  // The next flush is asked for, although it ends below the one that was cut.
  upstream.rig.history.add(makeEpoch(2, cut));
  upstream.rig.log.append(makeWrite(2, cut, 0, 16, 1));
  upstream.rig.pipeline.flushNow();
  assertEquals(pullAll(again).map(({ flags }) => flags), [FLAG_FLUSH_WANTED]);
});
