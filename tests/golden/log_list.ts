/**
 * Records of every type and segment files of version 1 with fixed content: what `make_log.ts` writes
 * as golden files, and what the tests hold against them. Never change an entry: add another.
 *
 * @module
 */
import {
  encodeEpoch,
  encodeName,
  recordBytes,
  RecordFlag,
  RecordType,
  writeRecord,
} from "../../core/log/record.ts";
import { encodeHeader, encodeWatermark, SegmentState, SLOT_OFFSETS } from "../../core/log/segment.ts";
import type { Bytes } from "../../core/ports.ts";

/** The fields of one golden record. */
export interface GoldenRecord {
  readonly type: RecordType;
  readonly flags: number;
  readonly volume: number;
  readonly epoch: number;
  readonly lsn: number;
  readonly offset: number;
  readonly length: number;
  readonly timeMs: number;
  readonly payload: Uint8Array;
}

/** Past 32 bits, so that the upper halves of all numbers are met. */
export const GOLDEN_BASE_LSN = 0x12_3456_7890;

export const GOLDEN_EPOCH = {
  number: 0x89abcdef,
  id: "00112233445566778899aabbccddeeff",
  firstLsn: GOLDEN_BASE_LSN,
  node: "hq-größe",
};

const NONE = new Uint8Array(0);
const common = { flags: 0, volume: 0, epoch: GOLDEN_EPOCH.number, offset: 0 };
const bytesTo = (count: number) => Uint8Array.from({ length: count }, (_, index) => index + 1);

function golden(type: RecordType, fields: Partial<GoldenRecord>, payload = NONE): GoldenRecord {
  const record = { ...common, type, lsn: 0, length: payload.length, timeMs: 0, payload };
  return { ...record, ...fields };
}

const TIMES = { first: 1_700_000_000_123, last: 2 ** 53 - 1 };

/** In the order in which they stand in the golden segment; 80, 64, 48, 48 and 64 bytes. */
export const GOLDEN_RECORDS: Readonly<Record<string, GoldenRecord>> = {
  epoch: golden(
    RecordType.EPOCH,
    { lsn: GOLDEN_BASE_LSN, timeMs: TIMES.first },
    encodeEpoch(GOLDEN_EPOCH),
  ),
  write: golden(
    RecordType.WRITE,
    { volume: 0xfedc, lsn: GOLDEN_BASE_LSN + 80, offset: 0x1_0000_0200, timeMs: TIMES.first },
    bytesTo(13),
  ),
  zero: golden(RecordType.ZERO, {
    flags: RecordFlag.NO_HOLE,
    volume: 1,
    lsn: GOLDEN_BASE_LSN + 144,
    offset: 2 ** 49,
    length: 2 ** 48 + 3,
    timeMs: TIMES.first + 1,
  }),
  trim: golden(RecordType.TRIM, {
    lsn: GOLDEN_BASE_LSN + 192,
    offset: 7,
    length: 1,
    timeMs: TIMES.first + 2,
  }),
  mark: golden(
    RecordType.MARK,
    { lsn: GOLDEN_BASE_LSN + 240, timeMs: TIMES.last },
    encodeName("nightly"),
  ),
};

export const GOLDEN_END_LSN = GOLDEN_BASE_LSN + 304;

function recordOf(fields: GoldenRecord): Bytes {
  const bytes = new Uint8Array(recordBytes(fields.type, fields.length));
  const { type, flags, volume, epoch, lsn, offset, length, timeMs, payload } = fields;
  writeRecord(bytes, 0, type, flags, volume, epoch, lsn, offset, length, timeMs, payload);
  return bytes;
}

/** What the slots of the golden stream segment say. */
export const GOLDEN_WATERMARKS = [
  { sequence: 0x1_0000_0002, durableLsn: GOLDEN_END_LSN, upstreamMark: GOLDEN_BASE_LSN + 80 },
  { sequence: 0x1_0000_0001, durableLsn: GOLDEN_BASE_LSN + 80, upstreamMark: GOLDEN_BASE_LSN },
] as const;

/** Bytes of the golden segment files. */
export const GOLDEN_SEGMENT_BYTES = 6144;

function segmentOf(state: SegmentState): Bytes {
  const file = new Uint8Array(GOLDEN_SEGMENT_BYTES);
  const isStream = state === SegmentState.STREAM;
  const baseLsn = isStream ? GOLDEN_BASE_LSN : 0;
  file.set(encodeHeader({ state, baseLsn, fileBytes: GOLDEN_SEGMENT_BYTES }), 0);
  if (!isStream) return file;
  for (const [slot, mark] of GOLDEN_WATERMARKS.entries()) {
    file.set(encodeWatermark(mark), SLOT_OFFSETS[slot]);
  }
  for (const record of Object.values(GOLDEN_RECORDS)) {
    file.set(recordOf(record), 4096 + record.lsn - GOLDEN_BASE_LSN);
  }
  return file;
}

/** Where the log before the golden jump ended. */
export const GOLDEN_JUMP_FROM_LSN = GOLDEN_BASE_LSN - 0x1_0000_0010;

/** A segment that begins after a delta: as the golden stream segment but for its header. */
function jumpSegment(): Bytes {
  const file = segmentOf(SegmentState.STREAM);
  const header = { state: SegmentState.STREAM, baseLsn: GOLDEN_BASE_LSN };
  const [fileBytes, jumpFromLsn] = [GOLDEN_SEGMENT_BYTES, GOLDEN_JUMP_FROM_LSN];
  file.set(encodeHeader({ ...header, fileBytes, jumpFromLsn }), 0);
  return file;
}

/** Every golden file of the log. */
export const GOLDEN_LOG: readonly { readonly name: string; readonly make: () => Bytes }[] = [
  ...Object.entries(GOLDEN_RECORDS).map(([name, record]) => ({
    name: `record-v1-${name}.bin`,
    make: () => recordOf(record),
  })),
  { name: "segment-v1-stream.seg", make: () => segmentOf(SegmentState.STREAM) },
  { name: "segment-v1-free.seg", make: () => segmentOf(SegmentState.FREE) },
  { name: "segment-v1-jump.seg", make: jumpSegment },
];
