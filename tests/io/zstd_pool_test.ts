import { assertEquals, assertRejects } from "@std/assert";
import { zstdDecompressSync } from "node:zlib";
import { ZstdWorker } from "../../io/zstd_pool.ts";

Deno.test("a worker compresses what comes, in order, and leaves it as it is", async () => {
  const worker = new ZstdWorker();
  try {
    const batches = [1, 2, 3].map((value) => new Uint8Array(200_000).fill(value));
    const packed = await Promise.all(batches.map((bytes) => worker.compress(bytes, 1)));
    for (const [index, bytes] of packed.entries()) {
      assertEquals(new Uint8Array(zstdDecompressSync(bytes)), batches[index]);
      assertEquals(batches[index]!.length, 200_000);
    }
  } finally {
    worker.close();
  }
  await assertRejects(() => worker.compress(new Uint8Array(1), 1));
});
