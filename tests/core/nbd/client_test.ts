import { assert, assertEquals } from "@std/assert";
import { BlockPool } from "../../../core/nbd/buffers.ts";
import { NbdClient } from "../../../core/nbd/client.ts";
import { Command } from "../../../core/nbd/constants.ts";
import { ManualClock, settle, until } from "../../support/manual_clock.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { pipe } from "./pipe.ts";
import { TestClient } from "./test_client.ts";
import { filled, request } from "./wire.ts";

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
      if (isHere) client.close("the test");
      else far.end.close();
      await done;
      await settle();
      assertEquals(pool.lent, 0);
      assertEquals(gone.length, 1);
      assertEquals(client.isServing, false);
    }
  }
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
    client.close("again");
    client.drain();
    assertEquals(gone, [reason]);
    assert(near.closed);
  }
});
