import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import { WAITING_MAX } from "../../../core/nbd/nbd_limits.ts";
import { NbdServer, type NbdServerOptions } from "../../../core/nbd/server.ts";
import { ManualClock, settle, until } from "../../support/manual_clock.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { ListJournal, type PipeEnd, PipeNetwork } from "./pipe.ts";
import { TestClient } from "./test_client.ts";
import { DISC, filled, infoData, join, option, request, u32 } from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const HERE = "unix:/run/a.sock";
const THERE = "tcp://127.0.0.1:10809";

/** A server on two addresses with one export, in memory. */
class House {
  readonly network = new PipeNetwork();
  readonly clock = new ManualClock();
  readonly journal = new ListJournal();
  readonly backend: MemoryBackend;
  readonly server: NbdServer;

  private constructor(options: Partial<NbdServerOptions>, sizeBytes: number) {
    this.backend = new MemoryBackend(sizeBytes);
    const { network, clock, journal } = this;
    this.server = new NbdServer({ network, clock, journal, exports: [this.backend], ...options });
  }

  static async open(options: Partial<NbdServerOptions> = {}, sizeBytes = 4 * MIB): Promise<House> {
    const house = new House(options, sizeBytes);
    await house.server.listen(HERE);
    await house.server.listen(THERE);
    return house;
  }

  get clients(): number[] {
    return this.server.listening.map(({ clients }) => clients);
  }

  client(structured = false, address = HERE): Promise<TestClient> {
    return new TestClient(this.network.connect(address)).enter("data", structured);
  }

  /** Ends the test: nobody may be left behind. */
  async close(): Promise<void> {
    this.server.abort();
    await settle();
    assertEquals(this.backend.front.listenerCount, 0, "all unsubscribed");
    assertEquals(this.clock.pending, 0, "no timer is left");
  }
}

/** Whether these are the bytes of {@linkcode filled}; quicker than an assertion. */
function isFilled(bytes: Uint8Array | null, seed: number): boolean {
  if (bytes === null) return false;
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index] !== ((index * 7 + seed + (index >>> 8)) & 0xff)) return false;
  }
  return true;
}

Deno.test("clients are counted by the address they came through", async () => {
  const house = await House.open();
  assertEquals(house.server.listening, [
    { address: HERE, clients: 0 },
    { address: THERE, clients: 0 },
  ]);
  const client = await house.client();
  await house.client(false, THERE);
  await house.client(true, THERE);
  assertEquals(house.clients, [1, 2]);
  client.end.close();
  await until(() => house.clients[0] === 0, "the client is gone");
  assertEquals(house.clients, [0, 2]);
  await house.close();
});

Deno.test("an address that is taken is refused to whoever asks", async () => {
  const house = await House.open();
  const error = await assertRejects(() => house.server.listen(HERE), CascadeError);
  assertEquals(error.code, "address-in-use");
  await house.close();
});

Deno.test("what one client wrote and had flushed, another one reads", async () => {
  const house = await House.open();
  const writer = await house.client();
  const reader = await house.client(true, THERE);
  const payload = filled(10_000);
  assertEquals(await writer.write(5, payload, CommandFlag.FUA), 0);
  const reply = await reader.ask({ command: Command.READ, offset: 5, length: payload.length });
  assertEquals(reply?.data, payload);
  await house.close();
});

Deno.test("more clients than the bound are turned away, until one has left", async () => {
  const house = await House.open({ connectionsMax: 2 });
  const first = await house.client();
  await house.client();
  const third = new TestClient(house.network.connect(HERE));
  assert(await third.isHungUp());
  assert(house.journal.lines.some((line) => line.startsWith("warn turned an NBD client away")));
  first.end.close();
  await until(() => house.clients[0] === 1, "one has left");
  assertEquals(await (await house.client()).write(0, filled(1)), 0);
  await house.close();
});

Deno.test("strangers have some of the places, and lose them to those who come, the oldest first", async () => {
  const house = await House.open({ handshakesMax: 3 });
  const enter = (address: string) => new TestClient(house.network.connect(address));
  const here = enter(HERE);
  const there = [enter(THERE), enter(THERE)];
  for (const each of [here, ...there]) await each.readBytes(18);
  const client = await house.client();
  assertEquals(await client.write(0, filled(1)), 0);
  assert(await here.isHungUp());
  // One who has chosen is never asked to leave.
  for (let turn = 0; turn < 5; turn++) await enter(HERE).readBytes(18);
  assertEquals(await client.write(0, filled(1)), 0);
  await house.close();
});

Deno.test("a flood of strangers is a line a second in the journal, with a count", async () => {
  const house = await House.open({ connectionsMax: 1 });
  const about = (text: string) => house.journal.lines.filter((line) => line.includes(text));
  for (let turn = 0; turn < 50; turn++) {
    const stranger = new TestClient(house.network.connect(HERE));
    await stranger.readBytes(18);
    stranger.end.close();
    await until(() => house.clients[0] === 0, "the stranger is gone");
  }
  assertEquals(about("NBD client gone").length, 1);
  const client = await house.client();
  for (let turn = 0; turn < 50; turn++) {
    assert(await new TestClient(house.network.connect(HERE)).isHungUp());
  }
  assertEquals(about("turned an NBD client away").length, 1);
  // Of a client that was served, the end is told at once.
  client.end.close();
  await until(() => house.clients[0] === 0, "the client is gone");
  assertEquals(about("NBD client gone").length, 2);
  house.clock.advance(1000);
  assertEquals(about("turned an NBD client away").length, 2);
  assertEquals(about("NBD client gone").length, 3);
  await house.close();
});

Deno.test("of strangers who go for another reason the journal tells at once, too", async () => {
  const house = await House.open({});
  const visit = async (says: Uint8Array<ArrayBuffer>) => {
    const stranger = new TestClient(house.network.connect(HERE));
    await stranger.readBytes(18);
    if (says.length > 0) await stranger.end.write(says);
    stranger.end.close();
    await until(() => house.clients[0] === 0, "the stranger is gone");
  };
  const nonsense = new Uint8Array(20).fill(255);
  for (const says of [new Uint8Array(0), nonsense, new Uint8Array(0), nonsense]) await visit(says);
  const gone = house.journal.lines.filter((line) => line.includes("NBD client gone"));
  assertEquals(
    gone.map((line) => /"code":"([^"]+)"/.exec(line)?.[1]),
    ["hung-up", "protocol"],
    gone.join(),
  );
  await house.close();
});

Deno.test("a client that does not choose in time is cut off, one that chose is not", async () => {
  const house = await House.open();
  const chosen = await house.client();
  const idle = new TestClient(house.network.connect(HERE));
  await idle.readBytes(18);
  await idle.end.write(u32(3));
  await settle();
  house.clock.advance(9_999);
  await settle();
  assertEquals(house.clients[0], 2);
  house.clock.advance(1);
  assert(await idle.isHungUp());
  assertEquals(house.clock.pending, 0);
  house.clock.advance(100_000);
  assertEquals(await chosen.write(0, filled(1)), 0);
  await house.close();
});

Deno.test("a client that hangs up leaves nothing behind, wherever it was", async () => {
  const house = await House.open();
  house.backend.front.autoAcknowledge = false;
  const session = join(
    u32(3),
    option(8),
    option(7, infoData("data")),
    request({ command: Command.WRITE, payload: filled(100) }),
    request({ command: Command.FLUSH }),
    request({ command: Command.WRITE, payload: filled(2 * MIB) }).subarray(0, 700_000),
  );
  const cuts = [...Array.from({ length: 240 }, (_, index) => index), 300_000, session.length];
  for (const cut of cuts) {
    const end = house.network.connect(HERE);
    await end.write(session.subarray(0, cut));
    await settle(2);
    end.close();
  }
  await until(() => house.clients[0] === 0, "all are gone");
  assert(house.journal.lines.every((line) => !line.startsWith("error")), "that is no error here");
  await house.close();
});

Deno.test("DISC is answered by hanging up, after what is in flight", async () => {
  const house = await House.open();
  const { front } = house.backend;
  front.autoAcknowledge = false;
  const client = await house.client();
  await client.send({ command: Command.WRITE, handle: 1n, payload: filled(1) });
  await client.end.write(DISC);
  await settle();
  front.progress();
  assertEquals((await client.reply())?.handle, 1n);
  assert(await client.isHungUp());
  await house.close();
});

Deno.test("a bad magic number is answered by hanging up", async () => {
  const house = await House.open();
  const client = await house.client();
  await client.end.write(filled(28));
  assert(await client.isHungUp());
  await house.close();
});

Deno.test("replies wait for the front's progress, on every connection", async () => {
  const house = await House.open();
  const { front } = house.backend;
  front.autoAcknowledge = front.autoFlush = false;
  const one = await house.client();
  const two = await house.client(true);
  await one.send({ command: Command.WRITE, handle: 1n, payload: filled(1) });
  await two.send({ command: Command.WRITE, handle: 2n, payload: filled(1) });
  await settle();
  await two.send({ command: Command.FLUSH, handle: 3n });
  await settle();
  assertEquals([one.end.unreadBytes, two.end.unreadBytes], [0, 0]);
  front.progress(front.committedLsn, false);
  assertEquals((await one.reply())?.handle, 1n);
  assertEquals((await two.reply())?.handle, 2n);
  await settle();
  assertEquals(two.end.unreadBytes, 0);
  front.progress();
  assertEquals((await two.reply())?.handle, 3n);
  await house.close();
});

Deno.test("more small writes than may wait at once, in one go, are all answered", async () => {
  const house = await House.open();
  const client = await house.client();
  const count = WAITING_MAX + 2000;
  const payload = filled(1);
  const writes = Array.from({ length: count }, (_, index) => ({
    command: Command.WRITE,
    handle: BigInt(index),
    offset: index,
    payload,
  }));
  await client.send(...writes);
  for (let index = 0; index < count; index++) {
    assertEquals((await client.reply())?.handle, BigInt(index));
  }
  await house.close();
});

Deno.test("when the front refuses what waits, all clients hear of it and go on", async () => {
  const house = await House.open();
  const { front } = house.backend;
  front.autoAcknowledge = false;
  const clients = [await house.client(), await house.client(true)];
  for (const client of clients) await client.send({ command: Command.WRITE, payload: filled(1) });
  await settle();
  front.refuse("sync-peer-lost");
  for (const client of clients) assertEquals((await client.reply())?.error, ErrorNumber.EIO);
  front.autoAcknowledge = true;
  for (const client of clients) assertEquals(await client.write(0, filled(1)), 0);
  await house.close();
});

Deno.test("while the node does not accept, a socket is read no further than a buffer holds, and nothing is refused", async () => {
  const house = await House.open();
  house.network.capacity = 64 * KIB;
  const { front } = house.backend;
  const client = await house.client();
  front.accepting = false;
  house.backend.calls = [];
  const payload = filled(512 * KIB);
  const sent = client.send({ command: Command.WRITE, payload });
  let done = false;
  sent.then(() => done = true);
  await settle();
  assertEquals(done, false);
  assertEquals(house.backend.calls, []);
  front.accepting = true;
  front.progress();
  await sent;
  assertEquals((await client.reply())?.error, 0);
  assertEquals(house.backend.bytes.subarray(0, payload.length), payload);
  await house.close();
});

Deno.test("a client that vanishes while it has to wait is noticed at once, and what it sent is dropped", async () => {
  const writes = Array.from({ length: 3 }, (_, index) => ({
    command: Command.WRITE,
    offset: index * 4096,
    payload: filled(4096, index),
  }));
  for (const sent of [0, 1, 3]) {
    const house = await House.open();
    const { front } = house.backend;
    const client = await house.client();
    const other = await house.client();
    front.accepting = false;
    await client.send(...writes.slice(0, sent));
    await other.send(...writes);
    await settle();
    client.end.close();
    await until(() => house.clients[0] === 1, "the client that vanished is gone");
    house.backend.calls = [];
    front.accepting = true;
    front.progress();
    // The one that is still there gets all that it asked for.
    for (const _ of writes) assertEquals((await other.reply())?.error, 0);
    assertEquals(house.backend.calls.length, writes.length);
    await house.close();
  }
});

Deno.test("a client that says goodbye while it has to wait has all acted on that it asked for", async () => {
  const house = await House.open();
  const { front } = house.backend;
  const client = await house.client();
  front.accepting = false;
  await client.send({ command: Command.WRITE, payload: filled(4096) }, { command: Command.DISC });
  client.end.close();
  await settle();
  assertEquals(house.clients[0], 1);
  front.accepting = true;
  front.progress();
  await until(() => house.clients[0] === 0, "the client is gone");
  assertEquals(house.backend.bytes.subarray(0, 4096), filled(4096));
  await house.close();
});

Deno.test("a client that does not read is served no further, and later in full", async () => {
  const house = await House.open();
  house.network.capacity = 4 * KIB;
  const client = await house.client();
  house.backend.bytes.set(filled(4 * MIB));
  house.backend.calls = [];
  const reads = Array.from({ length: 300 }, (_, index) => ({
    command: Command.READ,
    handle: BigInt(index),
    offset: index * 10,
    length: 8 * KIB,
  }));
  const sent = client.send(...reads);
  await settle();
  const served = house.backend.calls.length;
  assert(served < 40, `${served} of ${reads.length} were served`);
  for (const { handle, offset, length } of reads) {
    const reply = await client.reply();
    assertEquals(reply?.handle, handle);
    assertEquals(reply?.data, house.backend.bytes.subarray(offset, offset + length));
  }
  await sent;
  await house.close();
});

Deno.test("a simple read that fails midway hangs up at once", async () => {
  const house = await House.open();
  house.backend.badOffset = 3 * MIB;
  const client = await house.client();
  assertEquals(await client.ask({ command: Command.READ, length: 4 * MIB }), null);
  await house.close();
});

Deno.test("large reads and writes by many clients at once, with fewer large buffers than clients", async () => {
  const size = MIB + 500 * KIB;
  const house = await House.open({}, 40 * size);
  house.network.capacity = 256 * KIB;
  const clients = await Promise.all(
    Array.from({ length: 40 }, (_, index) => house.client(index % 2 === 0)),
  );
  await Promise.all(clients.map(async (client, index) => {
    assertEquals(await client.write(index * size, filled(size, index)), 0);
    const reply = await client.ask({ command: Command.READ, offset: index * size, length: size });
    assert(reply?.data !== undefined && isFilled(reply.data, index));
  }));
  await house.close();
});

Deno.test("stopping answers what is in flight, refuses what is new, and then hangs up", async () => {
  const house = await House.open();
  const { front } = house.backend;
  front.autoAcknowledge = front.autoFlush = false;
  const busy = await house.client();
  const idle = await house.client();
  const shaking = new TestClient(house.network.connect(HERE));
  await shaking.readBytes(18);
  await shaking.end.write(u32(3));
  await busy.send(
    { command: Command.WRITE, handle: 1n, payload: filled(1) },
    { command: Command.FLUSH, handle: 2n },
  );
  await settle();
  let stopped = false;
  const stopping = house.server.stop().then(() => stopped = true);
  assert(await idle.isHungUp(), "it had nothing in flight");
  assertEquals(house.server.listening, []);
  assertEquals((await busy.ask({ command: Command.READ, handle: 3n, length: 1 }))?.error, 108);
  await shaking.end.write(option(3));
  assertEquals((await shaking.readBytes(20)).subarray(12, 16), u32(0x80000007));
  assertEquals(stopped, false);
  front.progress(front.committedLsn, false);
  assertEquals((await busy.reply())?.handle, 1n);
  front.progress();
  assertEquals((await busy.reply())?.handle, 2n);
  assertEquals(await busy.reply(), null);
  await stopping;
  await house.close();
});

Deno.test("stopping waits for the rest of a write that was begun, up to a deadline", async () => {
  const whole = request({ command: Command.WRITE, handle: 1n, payload: filled(2 * MIB) });
  for (const comes of [true, false]) {
    const house = await House.open({ drainTimeoutMs: 700 });
    const client = await house.client();
    await client.end.write(whole.subarray(0, MIB));
    await settle();
    let stopped = false;
    const stopping = house.server.stop().then(() => stopped = true);
    await settle();
    assertEquals(stopped, false);
    if (comes) {
      await client.end.write(whole.subarray(MIB));
      assertEquals((await client.reply())?.error, 0);
    } else house.clock.advance(700);
    await stopping;
    assertEquals(await client.reply(), null);
    await house.close();
  }
});

Deno.test("stopping does not wait for a client that never reads, but until the deadline", async () => {
  const house = await House.open({ drainTimeoutMs: 700 });
  house.network.capacity = KIB;
  const client = await house.client();
  await client.send({ command: Command.READ, length: MIB });
  await settle();
  const stopping = house.server.stop();
  await settle();
  assertEquals(house.backend.front.listenerCount, 1);
  house.clock.advance(700);
  await stopping;
  await house.close();
});

Deno.test("stopping while the node does not accept still answers", async () => {
  const house = await House.open();
  const { front } = house.backend;
  const client = await house.client();
  front.accepting = false;
  await client.send({ command: Command.WRITE, handle: 1n, payload: filled(1) });
  await settle();
  const stopping = house.server.stop();
  assertEquals((await client.reply())?.error, ErrorNumber.ESHUTDOWN);
  await stopping;
  await house.close();
});

Deno.test("a server that stopped turns everybody away, and can be stopped again", async () => {
  const house = await House.open();
  const ends: PipeEnd[] = [house.network.connect(HERE)];
  await house.server.stop();
  await house.server.stop();
  for (const end of ends) await until(() => end.unreadBytes === 0 || end.unreadBytes === 18, "end");
  assertEquals(house.server.listening, []);
  await house.server.listen("unix:/run/late.sock");
  assertEquals(house.server.listening, []);
  await house.close();
});

Deno.test("aborting hangs up on everybody at once", async () => {
  const house = await House.open();
  house.backend.front.autoAcknowledge = false;
  const client = await house.client();
  await client.send({ command: Command.WRITE, payload: filled(1) });
  await settle();
  house.server.abort();
  assertEquals(await client.reply(), null);
  await house.close();
});

Deno.test("a fault of the node shows as an error in the journal, not as a lost client", async () => {
  const house = await House.open();
  const client = await house.client();
  // A position that goes back breaks an invariant.
  house.backend.front.autoAcknowledge = false;
  assertEquals(await client.ask({ command: Command.CACHE }).then((reply) => reply?.error), 0);
  await client.send({ command: Command.WRITE, payload: filled(1) });
  await settle();
  house.backend.front.stage = () => -5;
  await client.send({ command: Command.WRITE, payload: filled(1) });
  assertEquals(await client.reply(), null);
  await until(() => house.journal.lines.some((line) => line.startsWith("error")), "it is told");
  await house.close();
});
