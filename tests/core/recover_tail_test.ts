import { assertEquals } from "@std/assert";
import { TailRecoverer } from "../../core/recover_tail.ts";
import { settle } from "../support/manual_clock.ts";
import {
  beginReign,
  concat,
  makeEpochRecord,
  makeRig,
  makeWrite,
  type Rig,
} from "../support/rig.ts";
import { assertCode, makeEpoch } from "../support/small.ts";

const TIMEOUT_MS = 1000;

async function makeRecovery(links: readonly string[] = ["a-b", "a-c"]) {
  const rig = await makeRig();
  const endLsn = await beginReign(rig, 2);
  const recovery = new TailRecoverer(rig.pipeline, links, TIMEOUT_MS, rig.clock);
  return { rig, endLsn, recovery };
}

/** The tail that the primary lost: `count` writes of its reign. */
function makeTail(lsn: number, count: number, epoch = 1): Uint8Array<ArrayBuffer>[] {
  const records = [];
  for (let i = 0; i < count; i++) {
    const record = makeWrite(epoch, lsn, 8192 * i, 512, 9);
    records.push(record);
    lsn += record.length;
  }
  return records;
}

function bytesFrom(rig: Rig, lsn: number): Uint8Array {
  const bytes = new Uint8Array(rig.log.endLsn - lsn);
  rig.log.readAt(lsn, bytes);
  return bytes;
}

/** What `wait` came to, or null while it waits. */
function outcomeOf(recovery: TailRecoverer): { unheard: readonly string[] | null } {
  const outcome: { unheard: readonly string[] | null } = { unheard: null };
  recovery.wait().then((unheard) => outcome.unheard = unheard);
  return outcome;
}

Deno.test("the wait ends when every sync peer was heard", async () => {
  const { rig, recovery } = await makeRecovery();
  const timers = rig.clock.pending;
  const outcome = outcomeOf(recovery);
  recovery.heard("a-b");
  await settle();
  assertEquals(outcome.unheard, null);
  recovery.heard("a-c");
  await settle();
  assertEquals(outcome.unheard, []);
  assertEquals(rig.clock.pending, timers - 1);
});

Deno.test("the wait ends at its deadline, and tells who was not heard", async () => {
  const { rig, recovery } = await makeRecovery();
  const outcome = outcomeOf(recovery);
  recovery.heard("a-b");
  rig.clock.advance(TIMEOUT_MS - 1);
  await settle();
  assertEquals(outcome.unheard, null);
  rig.clock.advance(1);
  await settle();
  assertEquals(outcome.unheard, ["a-c"]);
});

Deno.test("a tail is taken back, as the very bytes", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  const tail = makeTail(endLsn, 3);
  recovery.take(tail[0] ?? new Uint8Array(0));
  recovery.take(concat(tail.slice(1)));
  assertEquals(bytesFrom(rig, endLsn), concat(tail));
});

Deno.test("a peer that is still sending is given its time anew", async () => {
  const { rig, endLsn, recovery } = await makeRecovery(["a-b"]);
  const outcome = outcomeOf(recovery);
  for (const record of makeTail(endLsn, 5)) {
    rig.clock.advance(TIMEOUT_MS - 1);
    recovery.take(record);
  }
  await settle();
  assertEquals(outcome.unheard, null);
  rig.clock.advance(TIMEOUT_MS);
  await settle();
  assertEquals(outcome.unheard, ["a-b"]);
});

Deno.test("two peers may send the same tail, and the longer one wins", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  const tail = makeTail(endLsn, 4);
  recovery.take(concat(tail.slice(0, 2)));
  recovery.take(concat(tail.slice(0, 1)));
  recovery.take(concat(tail.slice(0, 3)));
  recovery.take(concat(tail.slice(1, 4)));
  assertEquals(bytesFrom(rig, endLsn), concat(tail));
});

Deno.test("records with a gap before them are refused, and nothing is taken", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  const tail = makeTail(endLsn, 3);
  assertCode(() => recovery.take(concat(tail.slice(1))), "protocol");
  assertCode(() => recovery.take(concat([tail[0] ?? tail[1]!, tail[2]!])), "protocol");
  assertEquals(rig.log.endLsn, endLsn);
});

Deno.test("damaged records are refused, and nothing is taken", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  const bytes = concat(makeTail(endLsn, 2));
  for (const at of [0, 8, 60, bytes.length - 1]) {
    const bad = Uint8Array.from(bytes);
    bad[at] = (bad[at] ?? 0) ^ 1;
    assertCode(() => recovery.take(bad), "protocol");
  }
  assertCode(() => recovery.take(bytes.subarray(0, bytes.length - 16)), "protocol");
  assertEquals(rig.log.endLsn, endLsn);
});

Deno.test("records of another reign are refused, unless its beginning comes first", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  assertCode(() => recovery.take(concat(makeTail(endLsn, 1, 2))), "protocol");
  const epoch = makeEpoch(2, endLsn);
  const begin = makeEpochRecord(epoch);
  const [after] = makeTail(endLsn + begin.length, 1, 2);
  recovery.take(concat([begin, after ?? begin]));
  assertEquals(rig.history.last, epoch);
  assertEquals(rig.log.endLsn, endLsn + begin.length + (after?.length ?? 0));
});

Deno.test("a reign that is met in refused records is not remembered", async () => {
  const { rig, endLsn, recovery } = await makeRecovery();
  const begin = makeEpochRecord(makeEpoch(2, endLsn));
  assertCode(() => recovery.take(concat([begin, makeWrite(2, 9999, 0, 512, 1)])), "protocol");
  assertEquals(rig.history.lastNumber, 1);
});

Deno.test("nothing is taken once the wait is over", async () => {
  const { rig, endLsn, recovery } = await makeRecovery(["a-b"]);
  const outcome = outcomeOf(recovery);
  rig.clock.advance(TIMEOUT_MS);
  await settle();
  assertEquals(outcome.unheard, ["a-b"]);
  assertCode(() => recovery.take(concat(makeTail(endLsn, 1))), "protocol");
  assertEquals(rig.log.endLsn, endLsn);
});

Deno.test("whoever waits for the new epoch is told when it has begun", async () => {
  const { recovery } = await makeRecovery([]);
  let over = false;
  recovery.over.then(() => over = true);
  await settle();
  assertEquals(over, false);
  recovery.finish();
  await settle();
  assertEquals(over, true);
});
