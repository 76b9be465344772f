import { assert, assertEquals } from "@std/assert";
import { Dialler, type DiallerParts } from "../../../core/link/dialler.ts";
import { PREFERRED_RETRY_MS, REDIAL_MAX_MS } from "../../../core/link/link_limits.ts";
import type { Wire } from "../../../core/link/wire.ts";
import { CascadeError } from "../../../core/errors.ts";
import { ManualClock, settle } from "../../support/manual_clock.ts";
import { PairEnd } from "../../support/pair.ts";
import { CountingRandom, makeLink, MemoryJournal } from "../../support/small.ts";

const QUIC = "quic://a:1";
const TLS = "tls://a:1";

/** A dialler of a link that prefers QUIC, and hands on what connects. */
class Bench {
  readonly clock = new ManualClock();
  readonly dialled: string[] = [];
  /** Addresses that answer. */
  readonly up = new Set<string>();
  readonly served: { wire: Wire; end: () => void }[] = [];
  over = false;
  readonly dialler: Dialler;

  constructor() {
    const network = {
      dial: (address: string, to?: string) => {
        this.dialled.push(`${address} ${to}`);
        if (this.up.has(address)) return Promise.resolve(new PairEnd(address));
        return Promise.reject(new CascadeError("unreachable", `nobody at ${address}`));
      },
    };
    const ports = {
      network,
      clock: this.clock,
      random: new CountingRandom(),
      journal: new MemoryJournal(),
    };
    // A dialler asks no more than this of its node and its link.
    const link = { config: makeLink({ addresses: [QUIC, TLS] }), peerName: "a", pausedWhy: null };
    this.dialler = new Dialler({
      host: { ports },
      link,
      isOver: () => this.over,
      meet: (wire: Wire) =>
        new Promise((done) => {
          const end = () => done("served");
          this.served.push({ wire, end });
          wire.whenClosed.then(end);
        }),
    } as unknown as DiallerParts);
    this.dialler.run();
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }

  /** What was dialled since the last time. */
  take(): string[] {
    return this.dialled.splice(0);
  }

  stop(): void {
    this.over = true;
    this.dialler.wake();
    for (const { wire } of this.served) wire.close();
  }
}

Deno.test("addresses are dialled in their order, and the first that answers serves", async () => {
  const bench = new Bench();
  await settle();
  assertEquals(bench.take(), [`${QUIC} a`, `${TLS} a`]);
  bench.up.add(QUIC).add(TLS);
  await bench.pass(REDIAL_MAX_MS);
  assertEquals(bench.take(), [`${QUIC} a`]);
  assertEquals(bench.served[0]?.wire.fallback, null);
  bench.stop();
});

Deno.test("a fallback says why, and comes back at once when it was cut", async () => {
  const bench = new Bench();
  bench.up.add(TLS);
  await bench.pass(REDIAL_MAX_MS);
  bench.take();
  assertEquals(bench.served[0]?.wire.fallback, `nobody at ${QUIC}`);
  bench.served[0]?.wire.close();
  await settle();
  await bench.pass(REDIAL_MAX_MS);
  assertEquals(bench.take(), [`${TLS} a`]);
  assertEquals(bench.served[1]?.wire.fallback, `nobody at ${QUIC}`);
  bench.up.delete(TLS);
  bench.served[1]?.wire.close();
  await settle();
  await bench.pass(REDIAL_MAX_MS);
  assertEquals(bench.take(), [`${TLS} a`, `${QUIC} a`, `${TLS} a`]);
  bench.stop();
});

Deno.test("the preferred address is tried beside a fallback, ever less often, and taken when it answers", async () => {
  const bench = new Bench();
  bench.up.add(TLS);
  await bench.pass(REDIAL_MAX_MS);
  bench.take();
  await bench.pass(PREFERRED_RETRY_MS);
  assertEquals(bench.take(), [`${QUIC} a`]);
  assertEquals(bench.served[0]?.wire.closed, false);
  await bench.pass(PREFERRED_RETRY_MS);
  assertEquals(bench.take(), []);
  bench.up.add(QUIC);
  await bench.pass(PREFERRED_RETRY_MS);
  assert(bench.served[0]?.wire.closed);
  await bench.pass(REDIAL_MAX_MS);
  assertEquals(bench.take(), [`${QUIC} a`, `${QUIC} a`]);
  assertEquals(bench.served[1]?.wire.fallback, null);
  bench.stop();
});
