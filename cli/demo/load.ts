/**
 * The demo's load: what a small database does to its disk. Bursts of 4 to 16 KiB writes at random
 * places, most of them in the few pages that are in use, a flush after each burst (a commit), and now
 * and then a checkpoint: a longer run of sequential writes. Or a user's own image, copied in.
 *
 * @module
 */
import { delay } from "@std/async/delay";
import type { Ledger } from "./ledger.ts";
import type { NbdClient } from "./nbd_client.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const BURST_WRITES_MAX = 16;
const CHECKPOINT_EVERY_BURSTS = 200;
const CHECKPOINT_BYTES = 2 * MIB;
/** So many of the writes go to the pages in use, and those are such a part of the volume. */
const HOT_WRITES_PART = 0.8;
const HOT_VOLUME_PART = 1 / 50;
const COPY_BYTES = 256 * KIB;
const COPY_DEPTH = 4;

/** The volume that the database-like load needs at least. */
export const LOAD_VOLUME_BYTES_MIN = 2 * CHECKPOINT_BYTES;

/** What a load has done so far. */
export interface LoadReport {
  writes: number;
  bytes: number;
  flushes: number;
  done: boolean;
}

/** Runs the database-like load until `until` (ms of `performance.now`); the ledger knows what it wrote. */
export async function databaseLoad(
  client: NbdClient,
  report: LoadReport,
  ledger: Ledger,
  until: number,
) {
  const page = new Uint8Array(16 * KIB);
  for (let burst = 1; performance.now() < until; burst++) {
    crypto.getRandomValues(page);
    ledger.begin();
    const writes: Promise<void>[] = [];
    const count = 1 + Math.floor(Math.random() * BURST_WRITES_MAX);
    for (let i = 0; i < count; i++) {
      const bytes = page.subarray(0, 4 * KIB * (1 + Math.floor(Math.random() * 4)));
      const offset = placeFor(bytes.length, client.sizeBytes);
      ledger.enter(bytes, offset);
      writes.push(client.write(bytes, offset));
      report.bytes += bytes.length;
    }
    await Promise.all(writes);
    await client.flush();
    ledger.flushed();
    report.writes += count;
    report.flushes++;
    if (burst % CHECKPOINT_EVERY_BURSTS === 0) await checkpoint(client, report, ledger);
    // A database has clients that think; and the view should not starve.
    await delay(1);
  }
  report.done = true;
}

/** Where a write of so many bytes goes: a whole page, and all of it within the volume. */
function placeFor(bytes: number, sizeBytes: number): number {
  const part = Math.random() < HOT_WRITES_PART ? HOT_VOLUME_PART : 1;
  const pages = Math.floor((sizeBytes * part - bytes) / (4 * KIB));
  return 4 * KIB * Math.floor(Math.random() * Math.max(1, pages));
}

async function checkpoint(client: NbdClient, report: LoadReport, ledger: Ledger): Promise<void> {
  ledger.begin();
  const block = crypto.getRandomValues(new Uint8Array(64 * KIB));
  const start = 64 * KIB *
    Math.floor(Math.random() * (client.sizeBytes - CHECKPOINT_BYTES) / (64 * KIB));
  for (let at = 0; at < CHECKPOINT_BYTES; at += block.length) {
    ledger.enter(block, start + at);
    await client.write(block, start + at);
    report.writes++;
    report.bytes += block.length;
  }
  await client.flush();
  ledger.flushed();
  report.flushes++;
}

/** Copies a file into the export; what reads as zero is left out, the volume is blank. */
export async function copyLoad(client: NbdClient, report: LoadReport, path: string) {
  const file = await Deno.open(path);
  try {
    let running: Promise<void>[] = [];
    for (let offset = 0;;) {
      const block = new Uint8Array(COPY_BYTES);
      const count = await file.read(block);
      if (count === null) break;
      const bytes = block.subarray(0, count);
      if (bytes.some((byte) => byte !== 0)) {
        running.push(client.write(bytes, offset));
        report.writes++;
        report.bytes += count;
      }
      offset += count;
      if (running.length >= COPY_DEPTH) {
        await Promise.all(running);
        running = [];
      }
    }
    await Promise.all(running);
    await client.flush();
    report.flushes++;
    report.done = true;
  } finally {
    file.close();
  }
}
