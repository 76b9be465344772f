import { assertEquals, assertNotEquals } from "@std/assert";
import type { Bytes } from "../../../core/ports.ts";
import {
  BlockDigester,
  DIGEST_BATCH_BYTES,
  DIGEST_BYTES,
  expandKey,
  SCAN_BLOCK_BYTES_MAX,
  SCAN_BLOCK_BYTES_MIN,
} from "../../../core/scan/block_digest.ts";
import { Prng } from "../../sim/prng.ts";

function bytesOf(seed: number, length: number): Bytes {
  const prng = new Prng(seed);
  return Uint8Array.from({ length }, () => prng.below(256));
}

/** The digest of one block as the head comment of the module has it, number by number. */
function plainDigest(block: Uint8Array, key: Uint8Array): Bytes {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const keys = new DataView(key.buffer);
  const word = 0xffff_ffffn;
  const sums = [0, 1, 2, 3].map((pass) => {
    let sum = 0n;
    for (let at = 0; at < block.length; at += 32) {
      for (let i = 0; i < 4; i++) {
        const term = (from: number) =>
          BigInt(view.getUint32(from, true)) + BigInt(keys.getUint32(from + 32 * pass, true)) &
          word;
        sum += term(at + 4 * i) * term(at + 16 + 4 * i);
      }
    }
    return BigInt.asUintN(64, sum);
  });
  const halves = sums.flatMap((sum) => [sum & word, sum >> 32n]);
  const digest = new DataView(new ArrayBuffer(DIGEST_BYTES));
  for (let j = 0; j < 4; j++) {
    const at = block.length + 96 + j * 72;
    let sum = keys.getBigUint64(at + 64, true);
    halves.forEach((half, i) => sum += half * keys.getBigUint64(at + 8 * i, true));
    digest.setUint32(4 * j, Number(BigInt.asUintN(64, sum) >> 32n), true);
  }
  return new Uint8Array(digest.buffer);
}

for (const blockBytes of [SCAN_BLOCK_BYTES_MIN, 8192, SCAN_BLOCK_BYTES_MAX]) {
  Deno.test(`digests of blocks of ${blockBytes} bytes are those of the plain definition`, () => {
    const seed = bytesOf(1, 32);
    const digester = new BlockDigester({ seed, blockBytes });
    const key = expandKey(seed, blockBytes);
    const data = bytesOf(2, 3 * blockBytes);
    data.fill(255, 0, blockBytes); // Where sums carry most.
    data.fill(0, 2 * blockBytes + 5);
    digester.room.set(data);
    const digests = digester.digest(data.length).slice();
    for (let block = 0; block < 3; block++) {
      const own = data.subarray(block * blockBytes, (block + 1) * blockBytes);
      assertEquals(
        digests.slice(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES),
        plainDigest(own, key),
      );
    }
  });
}

Deno.test("a digest never changes from one version to the next", () => {
  const digester = new BlockDigester({ seed: new Uint8Array(32).fill(7), blockBytes: 4096 });
  for (let i = 0; i < 4096; i++) digester.room[i] = i % 251;
  assertEquals(digester.digest(4096).toHex(), "caf852b4523caf5dbba25034af656995");
});

Deno.test("zeroes have a digest of zeroes, in any place of a batch", () => {
  const digester = new BlockDigester({ seed: bytesOf(3, 32), blockBytes: 4096 });
  digester.room.fill(0);
  digester.room[5 * 4096 + 4095] = 1;
  const digests = digester.digest(DIGEST_BATCH_BYTES);
  for (let block = 0; block < DIGEST_BATCH_BYTES / 4096; block++) {
    const own = digests.subarray(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES);
    assertEquals(own.some((byte) => byte !== 0), block === 5);
  }
});

Deno.test("a short last block counts as filled up with zeroes, whatever lay there", () => {
  const digester = new BlockDigester({ seed: bytesOf(4, 32), blockBytes: 4096 });
  digester.room.fill(9);
  digester.room.fill(0, 4196, 8192);
  const whole = digester.digest(8192).slice();
  digester.room.fill(9);
  assertEquals(digester.digest(4196), whole);
});

Deno.test("every bit of a block, and of its place, tells", () => {
  const digester = new BlockDigester({ seed: bytesOf(5, 32), blockBytes: 4096 });
  const data = bytesOf(6, 4096);
  const seen = new Set<string>();
  digester.room.set(data);
  seen.add(digester.digest(4096).toHex());
  let changes = 1;
  for (let byte = 0; byte < 4096; byte++) {
    digester.room[byte]! ^= 1 << byte % 8;
    seen.add(digester.digest(4096).toHex());
    digester.room[byte] = data[byte]!;
    changes++;
  }
  for (let word = 4; word < 4096; word += 4) {
    digester.room.set(data.subarray(word), 0);
    digester.room.set(data.subarray(0, word), 4096 - word);
    seen.add(digester.digest(4096).toHex());
    changes++;
  }
  assertEquals(seen.size, changes);
});

Deno.test("another seed gives other digests", () => {
  const digest = (seed: Bytes) => {
    const digester = new BlockDigester({ seed, blockBytes: 4096 });
    digester.room.set(bytesOf(7, 4096));
    return digester.digest(4096).slice();
  };
  assertEquals(digest(bytesOf(8, 32)), digest(bytesOf(8, 32)));
  assertNotEquals(digest(bytesOf(8, 32)), digest(bytesOf(9, 32)));
  assertEquals(digest(bytesOf(8, 32)).length, DIGEST_BYTES);
});
