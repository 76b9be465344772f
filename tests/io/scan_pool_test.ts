import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { BlockDigester } from "../../core/scan/block_digest.ts";
import { hashRange } from "../../core/scan/hasher.ts";
import { DenoDisk } from "../../io/disk.ts";
import { hashInWorkers, WarmHashers } from "../../io/scan_pool.ts";

const PIECE_BYTES = 3 * 1024 * 1024;
const key = { seed: new Uint8Array(32).fill(9), blockBytes: 4096 };

async function volume(bytes: number): Promise<string> {
  const path = await Deno.makeTempFile();
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) {
    crypto.getRandomValues(content.subarray(at, at + 65_536));
  }
  content.fill(0, bytes / 2, bytes / 2 + 100_000);
  await Deno.writeFile(path, content);
  return path;
}

for (const workers of [0, 1, 3]) {
  Deno.test(`this thread and ${workers} workers give the digests of one thread`, async () => {
    const bytes = 7 * PIECE_BYTES - 1000;
    const path = await volume(bytes);
    const hasher = await hashInWorkers(workers)(path, key);
    const file = new DenoDisk().open(path, { readOnly: true });
    const digester = new BlockDigester(key);
    const offsets = Array.from({ length: 7 }, (_, piece) => piece * PIECE_BYTES);
    const lengthAt = (offset: number) => Math.min(PIECE_BYTES, bytes - offset);
    const found = await Promise.all(offsets.map((at) => hasher.hash(at, lengthAt(at))));
    for (const [index, at] of offsets.entries()) {
      assertEquals(found[index], hashRange(file, digester, at, lengthAt(at)));
    }
    assert(hasher.depth > workers, "all of them are kept busy");
    await hasher.close();
    file.close();
    await Deno.remove(path);
  });
}

Deno.test("a volume that is not there is told, whoever hashes", async () => {
  const hashers = new WarmHashers(1);
  hashers.warm();
  await assertRejects(
    async () => await hashers.open("/nowhere/at/all", key),
    CascadeError,
    "cannot open",
  );
  hashers.close();
});
