/**
 * Every bound of the log, named, with its reason. Relations between them are asserted when loaded.
 *
 * @module
 */
import { assert } from "./assert.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** A larger request becomes several records: bounds the buffers of everything that holds one. */
export const RECORD_PAYLOAD_BYTES_MAX = MIB;

/** Header, payload and padding of the largest record. */
export const RECORD_BYTES_MAX = RECORD_PAYLOAD_BYTES_MAX + 48;

/** A record can name any byte of a volume of this size. */
export const VOLUME_BYTES_MAX = 2 ** 50;

/** LSNs are JavaScript numbers: 8 PiB of record stream is 2.8 years at 100 MB/s. */
export const LSN_MAX = Number.MAX_SAFE_INTEGER;

/** The header page of a segment: one page, so that records begin on a page. */
export const SEGMENT_HEADER_BYTES = 4 * KIB;

/** A page of the page cache: what is appended to the log is written in whole ones. */
export const PAGE_BYTES = 4 * KIB;

/**
 * Written to the log in one go at the most. A file system with large folios makes them as large as
 * the write that fills them, and every small write into one walks all of its blocks.
 */
export const LOG_WRITE_BYTES = 64 * KIB;

/** What a disk writes whole or not at all. */
export const SECTOR_BYTES = 512;

/**
 * The most recent records are also kept in memory: applying, and links that follow closely, read no
 * file. More than what comes during one flush at the speed of memory.
 */
export const LOG_TAIL_BYTES = 32 * MIB;

/** Read in one go by recovery: more than a record, and little enough to stay in a cache. */
export const RECOVERY_READ_BYTES = MIB + 256 * KIB;

/** Written in one go where zeroes or old bytes are written again; the event loop goes on between. */
export const REWRITE_BYTES = MIB;

/** Descriptors that a log holds, beside those with unflushed bytes: a log may have many segments. */
export const OPEN_SEGMENTS_MAX = 64;

/** Segment files are numbered with six digits. */
export const SEGMENT_FILES_MAX = 999_999;

/** Node names and markers are short; an epoch's payload holds one. */
export const NAME_BYTES_MAX = 255;

/** Reigns that a node remembers: their list must fit a control frame and the state file. */
export const EPOCHS_MAX = 256;

/**
 * The watermark is written this long after a flush: until then damage to the records that were
 * flushed last looks like a torn write, as it does to those of the last flush before a power cut.
 */
export const WATERMARK_DELAY_MS = 10;

/** A full disk is tried again for a spare segment after this. */
export const SPARE_RETRY_MS = 1_000;

assert(RECORD_BYTES_MAX % 16 === 0, "the largest record needs no padding");
assert(RECOVERY_READ_BYTES > RECORD_BYTES_MAX, "recovery's buffer holds any record");
assert(SEGMENT_HEADER_BYTES % PAGE_BYTES === 0, "records begin on a page");
assert(LOG_WRITE_BYTES % PAGE_BYTES === 0, "a write ends on a page");
assert(SEGMENT_HEADER_BYTES >= 3 * SECTOR_BYTES, "a header and two slots, a sector each");
assert(LOG_TAIL_BYTES > 2 * RECORD_BYTES_MAX, "the tail holds more than a record");
