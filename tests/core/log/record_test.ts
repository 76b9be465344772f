import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { assert } from "../../../core/assert.ts";
import { CascadeError } from "../../../core/errors.ts";
import {
  NAME_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_PAYLOAD_BYTES_MAX,
  VOLUME_BYTES_MAX,
} from "../../../core/limits.ts";
import {
  checkRecord,
  CUT_SHORT,
  encodeEpoch,
  encodeName,
  readEpoch,
  readMark,
  recordBytes,
  RecordReader,
  RecordType,
  writeRecord,
} from "../../../core/log/record.ts";
import { GOLDEN_EPOCH, GOLDEN_LOG, GOLDEN_RECORDS } from "../../golden/log_list.ts";
import { recordAt } from "./world.ts";

function goldenFile(name: string): Uint8Array {
  return Deno.readFileSync(new URL(`../../golden/log/${name}`, import.meta.url));
}

function fieldsOf(record: RecordReader, bytes: Uint8Array) {
  const { type, flags, volume, epoch, lsn, offset, length, timeMs, payloadStart } = record;
  const payloadBytes = type === RecordType.ZERO || type === RecordType.TRIM ? 0 : length;
  const payload = bytes.slice(payloadStart, payloadStart + payloadBytes);
  return { type, flags, volume, epoch, lsn, offset, length, timeMs, payload };
}

Deno.test("records of version 1 are the golden bytes", () => {
  for (const { name, make } of GOLDEN_LOG.filter(({ name }) => name.startsWith("record"))) {
    assertEquals(make(), goldenFile(name), name);
  }
});

Deno.test("golden records are read back as what they say", () => {
  for (const [name, wanted] of Object.entries(GOLDEN_RECORDS)) {
    const bytes = goldenFile(`record-v1-${name}.bin`);
    assertEquals(checkRecord(bytes, 0, bytes.length), null, name);
    const record = new RecordReader().at(bytes, 0);
    assertEquals(record.totalBytes, bytes.length);
    assertEquals(fieldsOf(record, bytes), wanted, name);
  }
  const epoch = goldenFile("record-v1-epoch.bin");
  assertEquals(readEpoch(epoch, new RecordReader().at(epoch, 0)), GOLDEN_EPOCH);
  const mark = goldenFile("record-v1-mark.bin");
  assertEquals(readMark(mark, new RecordReader().at(mark, 0)), "nightly");
});

const type = fc.constantFrom(...Object.values(RecordType));
const header = fc.record({
  volume: fc.integer({ min: 0, max: 0xffff }),
  epoch: fc.integer({ min: 0, max: 0xffff_ffff }),
  lsn: fc.integer({ min: 0, max: 2 ** 49 - 1 }).map((units) => units * 16),
  offset: fc.integer({ min: 0, max: VOLUME_BYTES_MAX }),
  timeMs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  payload: fc.uint8Array({ minLength: 17, maxLength: 255 }),
  range: fc.integer({ min: 1, max: VOLUME_BYTES_MAX }),
  noHole: fc.boolean(),
  at: fc.integer({ min: 0, max: 100 }),
});

Deno.test("any record is read back as it was written, wherever it stands", () => {
  fc.assert(fc.property(type, header, (type, fields) => {
    const isRange = type === RecordType.ZERO || type === RecordType.TRIM;
    const payload = isRange ? new Uint8Array(0) : fields.payload;
    const length = isRange ? fields.range : payload.length;
    const flags = type === RecordType.ZERO && fields.noHole ? 1 : 0;
    const { at, volume, epoch, lsn, offset, timeMs } = fields;
    const bytes = new Uint8Array(at + recordBytes(type, length) + 50).fill(0xaa);
    const total = writeRecord(
      bytes,
      at,
      type,
      flags,
      volume,
      epoch,
      lsn,
      offset,
      length,
      timeMs,
      payload,
    );
    assertEquals(total, recordBytes(type, length));
    assertEquals([total % 16, bytes[at + total]], [0, 0xaa]);
    assertEquals(checkRecord(bytes, at, total), null);
    const record = new RecordReader().at(bytes, at);
    const wanted = { type, flags, volume, epoch, lsn, offset, length, timeMs };
    const { payload: found, ...rest } = fieldsOf(record, bytes);
    assertEquals(rest, wanted);
    assert(Buffer.compare(found, payload) === 0, "the payload");
  }));
});

Deno.test("a flipped bit in any byte of a record is found", () => {
  for (const { name, make } of GOLDEN_LOG.filter(({ name }) => name.startsWith("record"))) {
    const bytes = make();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert(checkRecord(bytes, 0, bytes.length) !== null, `${name} bit ${bit}`);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
});

Deno.test("a record is cut short at every byte but its last", () => {
  const bytes = recordAt(4096, 100);
  for (let available = 0; available < bytes.length; available++) {
    assertEquals(checkRecord(bytes, 0, available), CUT_SHORT);
  }
  assertEquals(checkRecord(bytes, 0, bytes.length), null);
});

Deno.test("any bytes are judged without a crash, also behind a good magic and a right CRC", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 48, maxLength: 400 }), fc.boolean(), (bytes, seal) => {
      bytes.set([0x43, 0x53, 0x52, 0x43]);
      bytes[8] = 1 + bytes[8]! % 6;
      bytes.fill(0, 34, 40);
      if (seal) new DataView(bytes.buffer).setUint32(4, crc32(bytes.subarray(8)), true);
      const fault = checkRecord(bytes, 0, bytes.length);
      if (fault === null) {
        assert(new RecordReader().at(bytes, 0).totalBytes <= bytes.length, "fits");
      }
    }),
    { numRuns: 2000 },
  );
});

/** The golden write with one field changed, and its CRC right again. */
function changed(change: (view: DataView) => void): Uint8Array {
  const bytes = recordAt(4096, 100);
  const view = new DataView(bytes.buffer);
  change(view);
  view.setUint32(4, crc32(bytes.subarray(8)), true);
  return bytes;
}

Deno.test("a length is not believed before it was held against the limits", () => {
  const cases: [fault: RegExp, change: (view: DataView) => void][] = [
    [/no record/, (view) => view.setUint8(0, 0)],
    [/unknown type 0/, (view) => view.setUint8(8, 0)],
    [/unknown type 6/, (view) => view.setUint8(8, 6)],
    [/unknown flags 1/, (view) => view.setUint8(9, 1)],
    [/an LSN of/, (view) => view.setUint8(23, 1)],
    [/an offset of/, (view) => view.setUint8(31, 1)],
    [/a length of 0 bytes/, (view) => view.setUint32(32, 0)],
    [/a length of 1048577 bytes/, (view) => view.setUint32(32, 1048577, true)],
    [/a length of/, (view) => view.setUint8(39, 0x80)],
    [/a time of/, (view) => view.setUint8(47, 0xff)],
  ];
  for (const [fault, change] of cases) {
    const bytes = changed(change);
    const found = checkRecord(bytes, 0, bytes.length) ?? "";
    assert(fault.test(found), `${fault}: ${found}`);
  }
});

Deno.test("the largest record is as large as the limits say, and no larger one is written", () => {
  const bytes = new Uint8Array(2 * RECORD_BYTES_MAX);
  const write = (length: number) =>
    writeRecord(bytes, 0, RecordType.WRITE, 0, 0, 1, 0, 0, length, 0, new Uint8Array(length));
  assertEquals(write(RECORD_PAYLOAD_BYTES_MAX), RECORD_BYTES_MAX);
  assertThrows(() => write(RECORD_PAYLOAD_BYTES_MAX + 1), CascadeError);
  assertThrows(() => write(0), CascadeError);
});

Deno.test("names of every length within the limit are carried, and no others", () => {
  const write = (payload: Uint8Array, type: RecordType) => {
    const bytes = new Uint8Array(recordBytes(type, payload.length));
    writeRecord(bytes, 0, type, 0, 0, 9, 32, 0, payload.length, 0, payload);
    assertEquals(checkRecord(bytes, 0, bytes.length), null);
    return { bytes, record: new RecordReader().at(bytes, 0) };
  };
  for (let length = 1; length <= NAME_BYTES_MAX; length++) {
    const name = "n".repeat(length);
    const mark = write(encodeName(name), RecordType.MARK);
    assertEquals(readMark(mark.bytes, mark.record), name);
    const epoch = { number: 9, id: "ab".repeat(16), firstLsn: 32, node: name };
    const begin = write(encodeEpoch(epoch), RecordType.EPOCH);
    assertEquals(readEpoch(begin.bytes, begin.record), epoch);
  }
  assertThrows(() => encodeName(""), CascadeError);
  assertThrows(() => encodeName("é".repeat(128)), CascadeError);
});
