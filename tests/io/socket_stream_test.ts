import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate } from "node:timers";
import { CascadeError } from "../../core/errors.ts";
import { SocketStream } from "../../io/socket_stream.ts";
import { until } from "./helpers.ts";

/** Two ends of a connection over loopback, the near one as a stream. */
async function withPair(body: (near: SocketStream, far: Socket) => Promise<void>): Promise<void> {
  const server = createServer({ noDelay: true });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  const accepted = new Promise<Socket>((done) => server.once("connection", done));
  const { port } = server.address() as { port: number };
  const far = connect(port, "127.0.0.1");
  far.on("error", () => {/* some tests break it */});
  const socket = await accepted;
  const near = new SocketStream(socket, "here");
  try {
    await body(near, far);
  } finally {
    near.close();
    far.destroy();
    socket.destroy();
    await new Promise((done) => server.close(done));
  }
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index * 7 + (index >>> 8));
}

async function readAll(near: SocketStream, step: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const into = new Uint8Array(step);
    const count = await near.read(into);
    if (count === null) return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
    assert(count > 0 && count <= step);
    parts.push(into.subarray(0, count));
  }
}

Deno.test("all that came is read in order, in any steps, and then the end", async () => {
  for (const step of [1000, 65_536, 1 << 20]) {
    await withPair(async (near, far) => {
      const sent = pattern(3_000_000);
      far.end(sent);
      assertEquals(await readAll(near, step), sent);
      assertEquals(await near.read(new Uint8Array(1)), null);
    });
  }
});

Deno.test("what nobody reads is not taken into memory", () =>
  withPair(async (near, far) => {
    const sent = new Uint8Array(48 << 20).fill(7);
    let isTaken = false;
    far.end(sent, () => isTaken = true);
    for (let turn = 0; turn < 200; turn++) {
      assertEquals(await near.read(new Uint8Array(1)), 1);
      await new Promise((go) => setImmediate(go));
    }
    // The system's buffers and what is read ahead hold far less than that.
    assertEquals(isTaken, false);
    assertEquals((await readAll(near, 1 << 20)).length, sent.length - 200);
  }));

Deno.test("what came before a connection broke is still read", () =>
  withPair(async (near, far) => {
    await new Promise<void>((done) => far.write("last words", () => done()));
    const into = new Uint8Array(4);
    assertEquals(await near.read(into), 4);
    far.resetAndDestroy();
    const text = new TextDecoder();
    assertEquals(text.decode(into), "last");
    assertEquals(await near.read(into), 4);
    assertEquals(await near.read(into), 2);
    await assertRejects(() => near.read(into), CascadeError, "broke");
  }));

Deno.test("a stream that holds something is not let go of, and one that is reads no more", () =>
  withPair(async (near, far) => {
    await new Promise<void>((done) => far.write("ab", () => done()));
    await near.read(new Uint8Array(1));
    assertEquals(near.release(), false);
    await near.read(new Uint8Array(1));
    assertEquals(near.release(), true);
    await assertRejects(() => near.read(new Uint8Array(1)), CascadeError, "closed here");
    await until("it stays connected", () => !far.destroyed);
  }));
