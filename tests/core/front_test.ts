import { assert, assertEquals } from "@std/assert";
import { NodeFront, type SyncGroup, WritableExport } from "../../core/front.ts";
import type { Refusal } from "../../core/nbd/backend.ts";
import { until } from "../support/manual_clock.ts";
import { beginReign, makeRig, type Rig, type RigOptions } from "../support/rig.ts";
import { assertCode } from "../support/small.ts";

/** Sync peers as numbers. */
class Peers implements SyncGroup {
  received = Infinity;
  durable = Infinity;
  lostCount = 0;
  isLost = false;
  get lost(): boolean {
    return this.isLost;
  }
  set lost(lost: boolean) {
    if (lost && !this.isLost) this.lostCount++;
    this.isLost = lost;
  }
  appends = 0;
  flushes = 0;
  receivedLsn = () => this.received;
  durableLsn = () => this.durable;
  failed = () => this.lost;
  failures = () => this.lostCount;
  onAppended = () => void this.appends++;
  onFlushWanted = () => void this.flushes++;
}

interface Primary {
  readonly rig: Rig;
  readonly peers: Peers;
  readonly front: NodeFront;
  readonly disk: WritableExport;
  /** What listeners were told. */
  readonly told: (Refusal | "progress")[];
}

async function makePrimary(options: RigOptions = {}, peers = new Peers()): Promise<Primary> {
  const rig = await makeRig(options);
  await beginReign(rig, 0);
  const front = new NodeFront(rig.pipeline, peers, rig.clock, 0);
  rig.onProgress = () => front.progress();
  const [volume] = rig.volumes;
  assert(volume !== undefined);
  const disk = new WritableExport(front, volume!, 0, "");
  const told: (Refusal | "progress")[] = [];
  front.subscribe({
    onProgress: () => told.push("progress"),
    onRefused: (refusal) => told.push(refusal),
  });
  return { rig, peers, front, disk, told };
}

function bytesOf(value: number, length = 512): Uint8Array {
  return new Uint8Array(length).fill(value);
}

function readOf({ disk }: Primary, offset: number, length: number): Uint8Array {
  const into = new Uint8Array(length);
  disk.read(into, offset);
  return into;
}

Deno.test("a write is answered when it is appended, a flush when it is durable", async () => {
  const primary = await makePrimary();
  const { front, disk, rig } = primary;
  const ticket = disk.write(bytesOf(1), 0);
  assert(front.acknowledgedLsn < ticket, "staged is not appended");
  front.commit();
  assertEquals([front.acknowledgedLsn, front.flushTicket()], [ticket, ticket]);
  assert(front.flushedLsn < ticket, "appended is not durable");
  front.requestFlush();
  await rig.log.flushed();
  assertEquals(front.flushedLsn, ticket);
});

Deno.test("every FLUSH is counted, however many of them one flush of the log serves", async () => {
  const { front, disk, rig } = await makePrimary();
  disk.write(bytesOf(1), 0);
  for (let request = 0; request < 3; request++) front.flushTicket();
  front.requestFlush();
  await rig.log.flushed();
  front.requestFlush();
  assertEquals([front.counters.flushes, front.counters.fuaWrites], [3, 0]);
});

Deno.test("a read sees what was written before it, staged, appended or applied", async () => {
  const primary = await makePrimary();
  primary.disk.write(bytesOf(1), 0);
  primary.disk.write(bytesOf(2), 256);
  const expected = new Uint8Array(1024);
  expected.fill(1, 0, 256).fill(2, 256, 768);
  assertEquals(readOf(primary, 0, 1024), expected);
  primary.front.requestFlush();
  await primary.rig.log.flushed();
  assertEquals(readOf(primary, 0, 1024), expected);
  const { pipeline, log, clock } = primary.rig;
  await until(() => pipeline.appliedLsn === log.endLsn, "applied", clock);
  assertEquals(readOf(primary, 0, 1024), expected);
  primary.disk.zero(0, 128, true);
  primary.disk.trim(512, 512);
  expected.fill(0, 0, 128).fill(0, 512, 1024);
  assertEquals(readOf(primary, 0, 1024), expected);
});

Deno.test("a write waits for the sync peers to receive it, a flush for them to make it durable", async () => {
  const peers = new Peers();
  const primary = await makePrimary({}, peers);
  peers.received = peers.durable = primary.rig.log.endLsn;
  const ticket = primary.disk.write(bytesOf(1), 0);
  primary.front.requestFlush();
  await primary.rig.log.flushed();
  assert(primary.front.acknowledgedLsn < ticket);
  peers.received = ticket;
  primary.front.progress();
  assertEquals(primary.front.acknowledgedLsn, ticket);
  assert(primary.front.flushedLsn < ticket);
  peers.durable = ticket;
  primary.front.progress();
  assertEquals(primary.front.flushedLsn, ticket);
  assert(peers.flushes > 0);
});

Deno.test("after a start, a flush waits until the sync peers have told what is durable there", async () => {
  const peers = new Peers();
  peers.received = peers.durable = 0;
  const { front, rig } = await makePrimary({}, peers);
  const ticket = front.flushTicket();
  assertEquals(ticket, rig.pipeline.durableLsn);
  assert(front.flushedLsn < ticket);
  peers.durable = ticket;
  front.progress();
  assertEquals(front.flushedLsn, ticket);
});

Deno.test("the two positions never go back, whatever becomes of the peers", async () => {
  const primary = await makePrimary();
  const ticket = primary.disk.write(bytesOf(1), 0);
  primary.front.requestFlush();
  await primary.rig.log.flushed();
  primary.peers.received = primary.peers.durable = 0;
  primary.front.progress();
  assertEquals([primary.front.acknowledgedLsn, primary.front.flushedLsn], [ticket, ticket]);
});

Deno.test("when a sync peer is lost for good, all that waits is refused once, and writes with it", async () => {
  const primary = await makePrimary();
  const { front, peers, told, disk } = primary;
  peers.lost = true;
  front.progress();
  front.progress();
  assertEquals(told.filter((word) => word !== "progress"), ["sync-peer-lost"]);
  assertEquals(front.refusal, "sync-peer-lost");
  assertCode(() => disk.write(bytesOf(1), 0), "not-primary");
  assertCode(() => disk.zero(0, 512, false), "not-primary");
  peers.lost = false;
  front.progress();
  assertEquals(front.refusal, null);
  disk.write(bytesOf(1), 0);
});

Deno.test("a batch is one write to the log, however many requests", async () => {
  const { disk, front, peers } = await makePrimary();
  const appends = peers.appends;
  for (let i = 0; i < 20; i++) disk.write(bytesOf(i, 64), 64 * i);
  assertEquals(peers.appends, appends);
  front.commit();
  front.commit();
  assertEquals(peers.appends, appends + 1);
});

Deno.test("times of records never go back, though the wall clock does", async () => {
  const { front, rig } = await makePrimary();
  const first = front.nextTimeMs();
  rig.clock.wallMs -= 10_000;
  assertEquals(front.nextTimeMs(), first);
});

Deno.test("a log without room refuses a write before anything of it is taken", async () => {
  const primary = await makePrimary({ segmentBytes: 16 * 1024, budgetBytes: 32 * 1024 });
  const { disk, front, rig } = primary;
  // Nothing becomes durable, so nothing can be applied and dropped.
  rig.disk.beforeFlush = () => new Promise(() => {});
  let written = 0;
  let lastTicket = 0;
  for (; written < 1000; written++) {
    try {
      lastTicket = disk.write(bytesOf(1 + written % 200, 4096), 4096 * written % 65536);
      front.commit();
    } catch {
      break;
    }
  }
  assert(written > 0 && written < 1000);
  const endLsn = rig.log.endLsn;
  assertEquals([endLsn, front.acknowledgedLsn], [lastTicket, lastTicket]);
  const [offset, before] = [4096 * written % 65536, readOf(primary, 0, 65536)];
  assertCode(() => disk.write(bytesOf(99, 4096), offset), "log-full");
  front.commit();
  assertEquals([rig.log.endLsn, front.flushTicket()], [endLsn, endLsn]);
  assertEquals(readOf(primary, 0, 65536), before);
});

Deno.test("a node that stops refuses writes; one that failed also refuses what waits", async () => {
  const stopping = await makePrimary();
  stopping.front.stop("stopping");
  assertEquals([stopping.front.refusal, stopping.told], ["stopping", []]);
  assertCode(() => stopping.disk.write(bytesOf(1), 0), "not-primary");
  const failed = await makePrimary();
  failed.front.stop("failed");
  assertEquals(failed.told, ["failed"]);
});

Deno.test("a fenced primary refuses what waits; one that has handed over lets its clients wait for the cut", async () => {
  const fenced = await makePrimary({}, Object.assign(new Peers(), { received: 0 }));
  fenced.disk.write(bytesOf(1), 0);
  fenced.front.fence();
  assertEquals([fenced.told.at(-1), fenced.front.refusal], ["failed", "failed"]);
  const { front, disk, told } = await makePrimary();
  front.hold(1000);
  const count = told.length;
  front.fence();
  front.release();
  assertEquals([front.accepting, front.refusal], [false, "failed"]);
  assertEquals(told.slice(count).filter((what) => what !== "progress"), []);
  assertCode(() => disk.write(bytesOf(1), 0), "not-primary");
});

Deno.test("a listener that unsubscribed hears nothing", async () => {
  const { front } = await makePrimary();
  let heard = 0;
  const unsubscribe = front.subscribe({ onProgress: () => heard++, onRefused: () => heard++ });
  front.progress();
  unsubscribe();
  front.progress();
  assertEquals(heard, 1);
});
