/**
 * Block sets, dirty maps and deltas of version 1 with fixed content: what `make_delta.ts` writes as golden files, and what the
 * tests hold against them. Never change an entry: add another.
 *
 * @module
 */
import { BlockSet } from "../../core/delta/block_set.ts";
import { encodeBlockSet } from "../../core/delta/block_set_format.ts";
import { writeRun } from "../../core/delta/delta_body.ts";
import { encodeDeltaHeader, encodeDeltaTrailer } from "../../core/delta/delta_format.ts";
import { DirtyMap, DirtyMapFile } from "../../core/delta/dirty_map.ts";
import { seedProof } from "../../core/delta/seed_file.ts";
import type { Run } from "../../core/delta/run.ts";
import { RecordFlag, RecordType } from "../../core/log/record.ts";
import type { Bytes } from "../../core/ports.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryDisk } from "../support/memory_disk.ts";

/** The first is past 32 bits, the second ends within a block, the third is empty. */
export const GOLDEN_SET_SIZES = [0x1_8000_0000, 10_001, 0] as const;

/** A set with a leaf of every kind: list, full, bits, and a short one at a volume's end. */
export function goldenSet(): BlockSet {
  const set = new BlockSet(GOLDEN_SET_SIZES);
  set.add(0, 5_000, 1);
  set.add(0, 0x800_0000 - 4096, 4096);
  set.add(0, 0x800_0000, 0x800_0000);
  for (let block = 0; block < 2_000; block++) set.add(0, 0x1_7800_0000 + block * 8192, 1);
  set.add(1, 10_000, 1);
  return set;
}

/** All pieces of a serial form in one. */
export function joined(pieces: Iterable<Uint8Array>): Bytes {
  const list = [...pieces];
  const bytes = new Uint8Array(list.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of list) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** A dirty map of that set. */
export async function goldenMap(): Promise<Bytes> {
  const disk = new MemoryDisk();
  disk.makeFolder("/maps");
  const map = new DirtyMap(goldenSet(), "0123456789abcdef0123456789abcdef", 0x1_0000_0000_10);
  map.advance(0x1_0000_1000_00);
  await new DirtyMapFile(disk, "/maps", "a-b.map").save(map, new ManualClock());
  return Uint8Array.from(disk.file("/maps/a-b.map").bytes);
}

const VOLUMES = [{ name: "data", sizeBytes: 1_000_000 }, { name: "wal", sizeBytes: 4096 }];

/** Runs of two passes over two volumes: a write, each kind of zero, a trim, and an override. */
const RUNS: readonly (Run & { readonly pass: number })[] = [
  { ...writeAt(0, 512, 100), pass: 1 },
  { ...writeAt(0, 8192, 8192), type: RecordType.ZERO, pass: 1 },
  { ...writeAt(0, 65_536, 4096), type: RecordType.ZERO, flags: RecordFlag.NO_HOLE, pass: 1 },
  { ...writeAt(1, 0, 4096), type: RecordType.TRIM, pass: 1 },
  { ...writeAt(0, 512, 33), pass: 2 },
];

function writeAt(volume: number, offset: number, length: number): Run {
  return { volume, offset, length, type: RecordType.WRITE, flags: 0, source: null };
}

/** What the delta and the seed file have in common. */
function goldenParts() {
  const body = new Uint8Array(4096);
  let bodyBytes = 0;
  for (const { pass, ...run } of RUNS) {
    const payload = new Uint8Array(run.type === RecordType.WRITE ? run.length : 0).fill(0xa5);
    bodyBytes += writeRun(body, bodyBytes, run, pass, bodyBytes, payload);
  }
  const id = "00112233445566778899aabbccddeeff";
  const epoch = { number: 1, id: "0123456789abcdef0123456789abcdef", firstLsn: 0, node: "a" };
  return { body: body.subarray(0, bodyBytes), id, epoch };
}

/** The file of a committed delta. */
export function goldenDelta(): Bytes {
  const { body, id, epoch } = goldenParts();
  return joined([
    encodeDeltaHeader({
      id,
      cluster: "payroll",
      epochId: epoch.id,
      fromLsn: 1600,
      source: "volume",
      toLsn: null,
      sinceLsn: 3200,
      full: false,
      volumes: VOLUMES,
    }),
    body,
    encodeDeltaTrailer({
      id,
      toLsn: 4800,
      bodyBytes: body.length,
      records: RUNS.length,
      payloadBytes: 133,
      logBytes: 3200,
      history: [epoch],
      timeMs: 1_700_000_000_000,
    }),
  ]);
}

/** A seed file: all that the first pass holds is of a node that stands at LSN 3200, the second follows. */
export function goldenSeed(): Bytes {
  const { body, id, epoch } = goldenParts();
  return joined([
    encodeDeltaHeader({
      id,
      cluster: "payroll",
      epochId: epoch.id,
      fromLsn: 0,
      source: "volume",
      toLsn: null,
      sinceLsn: 3200,
      full: true,
      volumes: VOLUMES,
      seed: {
        node: "a",
        base: { data: "blank", wal: "blank" },
        madeAtMs: 1_700_000_000_500,
        proof: seedProof(new Uint8Array(32).fill(7), id),
      },
    }),
    body,
    encodeDeltaTrailer({
      id,
      toLsn: 4800,
      bodyBytes: body.length,
      records: RUNS.length,
      payloadBytes: 133,
      logBytes: 4800,
      history: [epoch],
      timeMs: 1_700_000_000_000,
    }),
  ]);
}

/** Every golden file of deltas. */
export const GOLDEN_DELTA: readonly {
  readonly name: string;
  readonly make: () => Bytes | Promise<Bytes>;
}[] = [
  { name: "block-set-v1.bin", make: () => joined(encodeBlockSet(goldenSet())) },
  { name: "dirty-map-v1.map", make: goldenMap },
  { name: "delta-v1.delta", make: goldenDelta },
  { name: "seed-v1.seed", make: goldenSeed },
];
