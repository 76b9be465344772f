import { assert, assertEquals } from "@std/assert";
import { Pacer } from "../../../core/link/pacer.ts";

const MIB = 1024 * 1024;

/** Sends for so long with something to send all the while; the bytes by time. */
function send(pacer: Pacer, fromMs: number, toMs: number, lateMs = (_atMs: number) => 0) {
  const sent: { atMs: number; bytes: number }[] = [];
  for (let nowMs = fromMs; nowMs < toMs;) {
    const bytes = Math.min(pacer.pieceBytes, MIB);
    nowMs += pacer.take(bytes, nowMs);
    nowMs += lateMs(nowMs);
    sent.push({ atMs: nowMs, bytes });
  }
  return sent;
}

function total(sent: { atMs: number; bytes: number }[], toMs = Infinity): number {
  return sent.reduce((sum, { atMs, bytes }) => atMs < toMs ? sum + bytes : sum, 0);
}

function paced(rate: number): Pacer {
  const pacer = new Pacer();
  pacer.rate = rate;
  return pacer;
}

Deno.test("what is sent in ten seconds is the rate, from 64 KiB to 400 MiB a second", () => {
  for (const rate of [64 * 1024, MIB, 5 * MIB, 50 * MIB, 200 * MIB, 400 * MIB]) {
    const bytes = total(send(paced(rate), 0, 10_000), 10_000);
    assert(Math.abs(bytes / (10 * rate) - 1) < 0.01, `${rate}: ${bytes / 10}`);
  }
});

Deno.test("timers that are late, and stalls, do not make it slower in the end", () => {
  const rate = 20 * MIB;
  const late = total(send(paced(rate), 0, 10_000, () => 3), 10_000);
  assert(Math.abs(late / (10 * rate) - 1) < 0.01, `${late}`);
  let stalls = 0;
  const stalling = (atMs: number) => atMs > 1000 * (stalls + 1) && ++stalls > 0 ? 100 : 0;
  const held = total(send(paced(rate), 0, 10_000, stalling), 10_000);
  assert(Math.abs(held / (10 * rate) - 1) < 0.02, `${held}`);
});

Deno.test("no tenth of a second has much more than the rate, also behind a stall", () => {
  const rate = 20 * MIB;
  const once = { done: false };
  const stall = (atMs: number) => {
    if (once.done || atMs < 500) return 0;
    once.done = true;
    return 1000;
  };
  const sent = send(paced(rate), 0, 10_000, stall);
  for (let fromMs = 0; fromMs < 10_000; fromMs += 50) {
    const window = sent.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + 100);
    assert(total(window) < 1.6 * rate / 10, `at ${fromMs}: ${total(window)}`);
  }
});

Deno.test("an idle line saves nothing up", () => {
  const pacer = paced(MIB);
  send(pacer, 0, 1000);
  pacer.rest();
  const sent = send(pacer, 60_000, 60_100);
  assert(total(sent, 60_050) <= 0.06 * MIB + pacer.pieceBytes, `${total(sent, 60_050)}`);
});

Deno.test("without a rate nothing waits, and a new rate holds at once", () => {
  const pacer = new Pacer();
  assertEquals([pacer.take(100 * MIB, 0), pacer.pieceBytes], [0, Infinity]);
  pacer.rate = MIB;
  assertEquals(pacer.take(MIB, 0), 0);
  assert(pacer.take(MIB, 0) >= 999);
});
