/**
 * Hash maps of version 1 with fixed content: what `make_scan.ts` writes as golden files, and what the
 * tests hold against them. Never change an entry: add another.
 *
 * @module
 */
import type { Bytes } from "../../core/ports.ts";
import { HashMapWriter } from "../../core/scan/hash_map_writer.ts";
import { MemoryDisk } from "../support/memory_disk.ts";

/** Past 32 bits, and the last block is short. */
export const GOLDEN_MAP_OWNER = {
  ...{ cluster: "payroll", node: "hq", volume: "data" },
  volumeBytes: 0x1_8000_0001,
} as const;
export const GOLDEN_MAP_POSITION = { lsn: 0x2_0000_0010, epochId: "0123456789abcdef".repeat(2) };
export const GOLDEN_MAP_KEY = { seed: new Uint8Array(32).fill(7), blockBytes: 4096 };

/** A map with blocks at the beginning, across two sections, and at the end; not in order. */
export async function goldenMap(): Promise<Bytes> {
  const disk = new MemoryDisk();
  disk.makeFolder("/m");
  const writer = new HashMapWriter(
    { disk, folder: "/m", name: "data.hashes" },
    GOLDEN_MAP_OWNER,
    GOLDEN_MAP_KEY,
  );
  const block = Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
  writer.note(GOLDEN_MAP_OWNER.volumeBytes - 1, Uint8Array.of(5));
  writer.note(0, block);
  writer.note(1023 * 4096, Uint8Array.of(...block, ...block));
  await writer.finish(GOLDEN_MAP_POSITION);
  return disk.file("/m/data.hashes").bytes;
}

/** Every golden file of scans. */
export const GOLDEN_SCAN: readonly { readonly name: string; readonly make: () => Promise<Bytes> }[] =
  [{ name: "hash-map-v1.bin", make: goldenMap }];
