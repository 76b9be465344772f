import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import type { Bytes, Connection } from "../../core/ports.ts";
import { Scheduler } from "./clock.ts";
import { type CrashKind, Life } from "./life.ts";
import { SimFabric, SimNetwork } from "./network.ts";
import { Prng } from "./prng.ts";
import { Trace } from "./trace.ts";

const ADDRESS = "tcp://b:7420";

/** Two hosts, `a` which dials and `b` which listens. */
class Bench {
  readonly scheduler = new Scheduler();
  readonly fabric: SimFabric;
  readonly a = new Life("a", 1);
  readonly b = new Life("b", 1);

  constructor(seed = 1) {
    this.fabric = new SimFabric(this.scheduler, new Trace(), new Prng(seed));
    this.fabric.addHost("a");
    this.fabric.addHost("b");
  }

  async settle<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const end = () => over = true;
    work.then(end, end);
    await this.scheduler.run({ until: () => over, timeMsMax: 1e9, stepsMax: 1e6 });
    return work;
  }

  /** Runs all that is going to happen within `ms`. */
  async pass(ms: number): Promise<void> {
    let over = false;
    this.scheduler.after(ms, null, () => over = true);
    await this.scheduler.run({ until: () => over, timeMsMax: 1e9, stepsMax: 1e6 });
  }

  async connect(): Promise<[Connection, Connection]> {
    const { promise, resolve } = Promise.withResolvers<Connection>();
    const listener = await new SimNetwork(this.fabric, this.b).listen(ADDRESS, resolve);
    const near = await this.settle(new SimNetwork(this.fabric, this.a).dial(ADDRESS));
    const far = await this.settle(promise);
    listener.close();
    return [near, far];
  }

  kill(life: Life, kind: CrashKind): void {
    life.end();
    this.fabric.died(life, kind);
  }
}

function numbered(length: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => i % 251);
}

async function readAll(connection: Connection, count: number): Promise<Uint8Array> {
  const all = new Uint8Array(count);
  const into = new Uint8Array(5000);
  let at = 0;
  while (at < count) {
    const got = await connection.read(into);
    if (got === null) break;
    all.set(into.subarray(0, got), at);
    at += got;
  }
  return all.subarray(0, at);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => work, CascadeError)).code;
}

Deno.test("bytes arrive whole and in order, in any pieces, both ways", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const bench = new Bench(seed);
    const [near, far] = await bench.connect();
    for (const [from, to] of [[near, far], [far, near]] as const) {
      const sent = (async () => {
        await from.write(numbered(100_000));
        await from.write(numbered(7));
      })();
      const got = await bench.settle(readAll(to, 100_007));
      await bench.settle(sent);
      assertEquals(got, new Uint8Array([...numbered(100_000), ...numbered(7)]));
    }
  }
});

Deno.test("a writer waits for a reader that does not read", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  let written = false;
  const sent = near.write(numbered(5_000_000)).then(() => written = true);
  await bench.pass(60_000);
  assertEquals(written, false);
  await bench.settle(readAll(far, 5_000_000));
  await bench.settle(sent);
});

Deno.test("a close ends the stream behind what was written", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  await bench.settle(near.write(numbered(100)));
  near.close();
  assertEquals(await codeOf(near.read(new Uint8Array(1))), "connection-lost");
  assertEquals(await bench.settle(readAll(far, 1000)), numbered(100));
  assertEquals(await bench.settle(far.read(new Uint8Array(1))), null);
});

Deno.test("a close fails the calls that wait on this side", async () => {
  const bench = new Bench();
  const [near] = await bench.connect();
  const read = codeOf(near.read(new Uint8Array(1)));
  const write = codeOf(near.write(numbered(5_000_000)));
  near.close();
  near.close();
  assertEquals(await bench.settle(read), "connection-lost");
  assertEquals(await bench.settle(write), "connection-lost");
});

Deno.test("who writes to an end that was closed learns it", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  far.close();
  await bench.settle(near.write(numbered(10)));
  await bench.pass(100);
  assertEquals(await codeOf(bench.settle(near.write(numbered(10)))), "connection-lost");
});

Deno.test("a killed process closes its connections", async () => {
  const bench = new Bench();
  const [near] = await bench.connect();
  const read = near.read(new Uint8Array(1));
  bench.kill(bench.b, "process");
  assertEquals(await bench.settle(read), null);
});

Deno.test("a loss of power is silent until something arrives after the host is back", async () => {
  const bench = new Bench();
  const [near] = await bench.connect();
  let over = false;
  const read = codeOf(near.read(new Uint8Array(1))).finally(() => over = true);
  bench.kill(bench.b, "power");
  await bench.settle(near.write(numbered(10)));
  await bench.pass(60_000);
  assertEquals(over, false);
  bench.fabric.boot("b");
  assertEquals(await bench.settle(read), "connection-lost");
});

Deno.test("a cut is silent, and what was sent arrives when it heals", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  bench.fabric.cut("a", "b");
  await bench.settle(near.write(numbered(10)));
  const got = readAll(far, 10);
  let over = false;
  got.finally(() => over = true);
  await bench.pass(60_000);
  assertEquals(over, false);
  await bench.settle(far.write(numbered(3)));
  assertEquals(await bench.settle(readAll(near, 3)), numbered(3), "the way back is not cut");
  bench.fabric.heal();
  assertEquals(await bench.settle(got), numbered(10));
});

Deno.test("a broken connection fails at both ends", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  const reads = [near, far].map((end) => codeOf(end.read(new Uint8Array(1))));
  bench.fabric.breakBetween("a", "b");
  assertEquals(await bench.settle(Promise.all(reads)), ["connection-lost", "connection-lost"]);
});

Deno.test("a slow line holds the writer back, and hurries once it is fast again", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  bench.fabric.line("a", "b").bytesPerMs = 1;
  const sent = near.write(numbered(2_000_000));
  const got = readAll(far, 2_000_000);
  let over = false;
  got.then(() => over = true);
  await bench.pass(60_000);
  assertEquals(over, false);
  bench.fabric.line("a", "b").bytesPerMs = 1e6;
  bench.fabric.replan();
  await bench.pass(1000);
  assert(over);
  await bench.settle(sent);
});

Deno.test("a dial meets nobody, a dead host or a wrong address, and says so", async () => {
  const bench = new Bench();
  const network = new SimNetwork(bench.fabric, bench.a);
  assertEquals(await codeOf(bench.settle(network.dial(ADDRESS))), "unreachable");
  bench.kill(bench.b, "power");
  assertEquals(await codeOf(bench.settle(network.dial(ADDRESS))), "unreachable");
  assertEquals(await codeOf(network.dial("b:1")), "bad-address");
});

Deno.test("an address is taken while its process lives", async () => {
  const bench = new Bench();
  const network = new SimNetwork(bench.fabric, bench.b);
  await network.listen(ADDRESS, () => {});
  assertEquals(await codeOf(network.listen(ADDRESS, () => {})), "address-in-use");
  bench.kill(bench.b, "process");
  const next = new SimNetwork(bench.fabric, new Life("b", 2));
  await next.listen(ADDRESS, () => {});
});

Deno.test("a dead process hears nothing of its connections", async () => {
  const bench = new Bench();
  const [near, far] = await bench.connect();
  let heard = false;
  near.read(new Uint8Array(1)).finally(() => heard = true);
  bench.kill(bench.a, "process");
  await bench.settle(far.write(numbered(1))).catch(() => {});
  await bench.pass(1000);
  assertEquals(heard, false);
});
