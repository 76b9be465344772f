import { assertEquals } from "@std/assert";
import { runScanSeed } from "./scan_world.ts";

for (let seed = 1; seed <= 24; seed++) {
  Deno.test(`a volume that others write is replicated through the faults of seed ${seed}`, async () => {
    const { failure, tail } = await runScanSeed(seed);
    assertEquals(failure, null, tail.join("\n"));
  });
}
