/**
 * The delta, version 1: what takes a peer from LSN a to LSN b, all or nothing. The same bytes are staged
 * by the receiver, forwarded to the nodes below it, and carried by hand.
 *
 *     0        4        8        12       16                      body                    end - 16    end
 *     +--------+--------+--------+--------+--------------+------+-----+-------------------+------------+
 *     | magic  | version| bytes  | CRC-32 | header, JSON | 0... | body| trailer, JSON     | footer     |
 *     +--------+--------+--------+--------+--------------+------+-----+-------------------+------------+
 *
 *     magic    "CSDH"; bytes and CRC-32 are those of the header's JSON; the body begins on a page
 *     body     records as in `log/record.ts`: WRITE, ZERO and TRIM. Their LSN is the byte position
 *              within the body, their epoch the number of the pass (from 1 on), their time 0. Within a
 *              pass they ascend by volume and offset and never overlap; a later pass overrides an
 *              earlier one.
 *     footer   "CSDE", bytes of the trailer u32, CRC-32 of the trailer u32, CRC-32 of these 12 bytes
 *
 * Little-endian. A file without a footer was not committed. The body is durable before the trailer is
 * written, so a whole footer tells that all before it is.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import * as z from "zod";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { epochSchema } from "../epoch_schema.ts";
import { PAGE_BYTES } from "../limits.ts";
import type { Bytes } from "../ports.ts";
import { DELTA_MAGIC } from "./delta_magic.ts";

/** "CSDE" */
const FOOTER_MAGIC = 0x45445343;
export const DELTA_VERSION = 1;
const HEADER_FIXED_BYTES = 16;
export const FOOTER_BYTES = 16;
/** A header or a trailer: volumes and reigns by the hundred. */
export const DELTA_JSON_BYTES_MAX = 60 * 1024;
/** What {@linkcode decodeHeader} wants to see at least. */
export const HEADER_READ_BYTES = HEADER_FIXED_BYTES + DELTA_JSON_BYTES_MAX;

const lsn = z.number().int().nonnegative();
const hex32 = z.string().regex(/^[0-9a-f]{32}$/);

/** What makes a delta a seed file, which is carried to a blank node by hand. */
export const seedNoteSchema = z.object({
  /** The node that made it. */
  node: z.string().min(1).max(128),
  /** Fingerprints of the volumes at LSN 0, by name. */
  base: z.record(z.string().max(128), z.string().max(64)),
  madeAtMs: z.number().nonnegative(),
  /** An HMAC-SHA256 over the delta's id with the secret of the cluster: two may bear one name. */
  proof: z.string().regex(/^[0-9a-f]{64}$/),
});
export type SeedNote = z.infer<typeof seedNoteSchema>;

/** What is known of a delta before its body. */
export const deltaHeaderSchema = z.object({
  id: hex32,
  cluster: z.string().min(1).max(128),
  /** The epoch that `fromLsn` lies in. */
  epochId: hex32,
  /** Serves any peer that stands from here on. */
  fromLsn: lsn,
  /** `log`: exact, from the log alone. `volume`: blocks of a live volume first. */
  source: z.enum(["log", "volume", "scan"]),
  /** `log`: the end. Else it is known in the trailer. */
  toLsn: lsn.nullable(),
  /** `volume`: the log from here on goes behind the blocks; what was read is no older. */
  sinceLsn: lsn,
  /** The whole volume: for a peer that has no image. */
  full: z.boolean(),
  volumes: z.array(z.object({ name: z.string().min(1).max(128), sizeBytes: lsn })).max(1024),
  /** It has the blocks that its receiver wrote in an abandoned epoch, too. */
  mends: z.boolean().optional(),
  /** Of a seed file alone: what a link would tell beside the delta. */
  seed: seedNoteSchema.optional(),
});
export type DeltaHeader = z.infer<typeof deltaHeaderSchema>;

/** What commits a delta. */
export const deltaTrailerSchema = z.object({
  id: hex32,
  toLsn: lsn,
  bodyBytes: lsn,
  records: lsn,
  /** Bytes of the writes in the body. */
  payloadBytes: lsn,
  /** Bytes of the record stream that it stands for. */
  logBytes: lsn,
  /** The reigns that began below `toLsn`. */
  history: z.array(epochSchema).max(1000),
  /** The primary's time at `toLsn`. */
  timeMs: z.number().nonnegative(),
});
export type DeltaTrailer = z.infer<typeof deltaTrailerSchema>;

/** The first part of a delta; its length is where the body begins. */
export function encodeDeltaHeader(header: DeltaHeader): Bytes {
  const json = encodeJson(header);
  const end = HEADER_FIXED_BYTES + json.length;
  const bytes = new Uint8Array(Math.ceil(end / PAGE_BYTES) * PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, DELTA_MAGIC, true);
  view.setUint32(4, DELTA_VERSION, true);
  view.setUint32(8, json.length, true);
  view.setUint32(12, crc32(json), true);
  bytes.set(json, HEADER_FIXED_BYTES);
  return bytes;
}

/** The header in the first bytes of a delta, and where its body begins. Throws `state-corrupt`. */
export function decodeDeltaHeader(bytes: Uint8Array): { header: DeltaHeader; bodyAt: number } {
  if (bytes.length < HEADER_FIXED_BYTES) throw damaged("it is too short for a delta");
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_FIXED_BYTES);
  if (view.getUint32(0, true) !== DELTA_MAGIC) throw damaged("it does not begin as a delta");
  const version = view.getUint32(4, true);
  if (version !== DELTA_VERSION) {
    throw damaged(`it has version ${version}, this program reads ${DELTA_VERSION}`);
  }
  const length = view.getUint32(8, true);
  const end = HEADER_FIXED_BYTES + length;
  if (length > DELTA_JSON_BYTES_MAX || end > bytes.length) throw damaged("its header is cut short");
  const json = bytes.subarray(HEADER_FIXED_BYTES, end);
  if (crc32(json) !== view.getUint32(12, true)) throw damaged("its header's checksum does not fit");
  const header = decodeJson(json, deltaHeaderSchema, "header");
  return { header, bodyAt: Math.ceil(end / PAGE_BYTES) * PAGE_BYTES };
}

/** The last part of a delta. */
export function encodeDeltaTrailer(trailer: DeltaTrailer): Bytes {
  const json = encodeJson(trailer);
  const bytes = new Uint8Array(json.length + FOOTER_BYTES);
  bytes.set(json);
  const view = new DataView(bytes.buffer, json.length, FOOTER_BYTES);
  view.setUint32(0, FOOTER_MAGIC, true);
  view.setUint32(4, json.length, true);
  view.setUint32(8, crc32(json), true);
  view.setUint32(12, crc32(bytes.subarray(json.length, json.length + 12)), true);
  return bytes;
}

/** How many bytes the trailer has, by the last bytes of a file; null when it was not committed. */
export function decodeFooter(footer: Uint8Array): { bytes: number; crc: number } | null {
  assert(footer.length === FOOTER_BYTES, "the last bytes of a delta");
  const view = new DataView(footer.buffer, footer.byteOffset, FOOTER_BYTES);
  if (view.getUint32(0, true) !== FOOTER_MAGIC) return null;
  if (view.getUint32(12, true) !== crc32(footer.subarray(0, 12))) return null;
  const bytes = view.getUint32(4, true);
  return bytes > DELTA_JSON_BYTES_MAX ? null : { bytes, crc: view.getUint32(8, true) };
}

/** Throws `state-corrupt`. */
export function decodeDeltaTrailer(json: Uint8Array, crc: number): DeltaTrailer {
  if (crc32(json) !== crc) throw damaged("its trailer's checksum does not fit");
  return decodeJson(json, deltaTrailerSchema, "trailer");
}

function encodeJson(value: unknown): Bytes {
  const json = new TextEncoder().encode(JSON.stringify(value));
  assert(json.length <= DELTA_JSON_BYTES_MAX, "a header or a trailer within its limit");
  return json;
}

function decodeJson<T>(json: Uint8Array, schema: z.ZodType<T>, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch {
    throw damaged(`its ${what} is no JSON`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw damaged(`its ${what} is wrong: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function damaged(found: string): CascadeError {
  return new CascadeError("state-corrupt", `the delta is damaged: ${found}`, {
    hint: "Look after the disk; the delta is made anew when its file is removed",
  });
}
