/**
 * What the load wrote, and what of it was flushed: by this one can judge a volume that outlived its
 * site. Each page carries its own number and that of the burst which wrote it, at both ends.
 *
 * @module
 */
import type { NbdClient } from "./nbd_client.ts";

const PAGE_BYTES = 4096;
const STAMP_BYTES = 8;
const READ_DEPTH = 32;

/** Bursts that wrote a page: the last one whose flush was answered (0: none), and the last that was sent. */
interface Entry {
  flushed: number;
  sent: number;
}

/** See the module's text. One load at a time. */
export class Ledger {
  readonly #entries = new Map<number, Entry>();
  #open = new Set<Entry>();
  #burst = 0;

  /** A new burst; what an interrupted one wrote stays unflushed. */
  begin(): void {
    this.#burst++;
    this.#open = new Set();
  }

  /** Stamps each page of a write that is about to be sent, and remembers it; the burst's flush may not be for it. */
  enter(bytes: Uint8Array, offset: number, isFlushed = true): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      const page = (offset + at) / PAGE_BYTES;
      for (const place of [at, at + PAGE_BYTES - STAMP_BYTES]) {
        view.setUint32(place, this.#burst);
        view.setUint32(place + 4, page);
      }
      const entry = this.#entries.get(page) ?? { flushed: 0, sent: 0 };
      entry.sent = this.#burst;
      this.#entries.set(page, entry);
      if (isFlushed) this.#open.add(entry);
    }
  }

  /** The flush behind the burst was answered. */
  flushed(): void {
    for (const entry of this.#open) entry.flushed = this.#burst;
  }

  /**
   * Reads all pages that were ever written, and takes what is there as what must stay. Throws at the first
   * that is older than its last flush, newer than what stands, or torn. How many pages were read.
   */
  async judge(client: NbdClient, where: string): Promise<number> {
    const pages = [...this.#entries.keys()];
    const reader = async () => {
      const bytes = new Uint8Array(PAGE_BYTES);
      for (let page = pages.pop(); page !== undefined; page = pages.pop()) {
        await client.read(bytes, page * PAGE_BYTES);
        this.#judgePage(bytes, page, where);
      }
    };
    await Promise.all(Array.from({ length: READ_DEPTH }, reader));
    return this.#entries.size;
  }

  #judgePage(bytes: Uint8Array<ArrayBuffer>, page: number, where: string): void {
    const entry = this.#entries.get(page) ?? { flushed: 0, sent: 0 };
    const view = new DataView(bytes.buffer);
    const end = PAGE_BYTES - STAMP_BYTES;
    const burst = view.getUint32(0);
    const isWhole = burst === view.getUint32(end) &&
      view.getUint32(4) === view.getUint32(end + 4) &&
      view.getUint32(4) === (burst === 0 ? 0 : page);
    if (!isWhole || burst < entry.flushed || burst > entry.sent) {
      const found = isWhole ? `what burst ${burst} wrote` : "torn";
      throw new Error(
        `${where}: page ${page} is ${found}; ` +
          `it was flushed by burst ${entry.flushed} and written last by burst ${entry.sent}`,
      );
    }
    entry.flushed = burst;
    entry.sent = burst;
  }
}
