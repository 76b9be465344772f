import { assert, assertEquals } from "@std/assert";
import { BlockPool } from "../../../core/nbd/buffers.ts";
import { NbdClient } from "../../../core/nbd/client.ts";
import { Command } from "../../../core/nbd/constants.ts";
import { ManualClock, settle, until } from "../../support/manual_clock.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { pipe } from "./pipe.ts";
import { TestClient } from "./test_client.ts";
import { filled, join as concat, option, request, u32 } from "./wire.ts";

const MIB = 1024 * 1024;

/** A client's two ends, and what became of it. */
function join(capacity: number) {
  const [far, near] = pipe(capacity);
  const pool = new BlockPool(2);
  const backend = new MemoryBackend(4 * MIB);
  const gone: string[] = [];
  const client = new NbdClient({
    connection: near,
    exports: [backend],
    pool,
    clock: new ManualClock(),
    handshakeTimeoutMs: 1000,
    onServing: () => {},
    onClosed: (reason, unexpected) => gone.push(`${reason} ${unexpected}`),
  });
  return { far: new TestClient(far), near, client, pool, backend, gone, done: client.run() };
}

Deno.test("large buffers come back when a client is lost in the middle of a large request", async () => {
  const requests = [
    request({ command: Command.READ, length: 4 * MIB }),
    request({ command: Command.WRITE, payload: filled(4 * MIB) }).subarray(0, 600_000),
  ];
  for (const bytes of requests) {
    for (const isHere of [true, false]) {
      const { far, client, pool, gone, done } = join(MIB / 2);
      await far.enter("data");
      await far.end.write(bytes);
      await until(() => pool.lent > 0, "a large buffer is in use");
      await settle();
      if (isHere) client.close("the test", "stopping");
      else far.end.close();
      await done;
      await settle();
      assertEquals(pool.lent, 0);
      assertEquals(gone.length, 1);
      assertEquals(client.isServing, false);
    }
  }
});

Deno.test("a client costs little memory until it sends much", async () => {
  const { far, near, client, done } = join(MIB);
  let largest = 0;
  const read = near.read.bind(near);
  near.read = (into) => {
    largest = Math.max(largest, into.buffer.byteLength);
    return read(into);
  };
  await far.readBytes(18);
  await far.end.write(concat(u32(3), option(99, new Uint8Array(60_000)).subarray(0, 50_000)));
  await settle();
  assert(largest <= 80 * 1024, `${largest} bytes for a stranger with a long option`);
  client.close("the test", "stopping");
  await done;
  largest = 0;
  const next = join(MIB);
  const readNext = next.near.read.bind(next.near);
  next.near.read = (into) => {
    largest = Math.max(largest, into.buffer.byteLength);
    return readNext(into);
  };
  await next.far.enter("data");
  assertEquals(await next.far.write(0, filled(512)), 0);
  assert(largest <= 8 * 1024, `${largest} bytes for a client that does little`);
  for (let turn = 0; turn < 8; turn++) {
    assertEquals(await next.far.write(0, filled(100 * 1024)), 0);
  }
  assert(largest >= 100 * 1024, `${largest} bytes for one that does much`);
  next.client.close("the test", "stopping");
  await next.done;
});

Deno.test("a client is told of once, with what happened", async () => {
  const cases: [string, (far: TestClient) => Promise<void> | void][] = [
    ["the client hung up false", (far) => far.end.close()],
    ["the client is done false", (far) => far.send({ command: Command.DISC })],
  ];
  for (const [reason, act] of cases) {
    const { far, near, gone, done, client } = join(MIB);
    await far.enter("data");
    await act(far);
    await done;
    client.close("again", "stopping");
    client.drain();
    assertEquals(gone, [reason]);
    assert(near.closed);
  }
});
