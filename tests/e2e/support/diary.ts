/**
 * A program on a file system that cares for its data, and the proof that a copy of that file system
 * holds what it had at one moment: page n is written, then flushed, and only then the diary tells of
 * it, which is flushed too. Old pages are removed, so that their blocks are used again.
 *
 * @module
 */
import { join } from "node:path";
import { pause } from "./wait.ts";

/** Pages that are kept. */
const PAGES_KEPT = 40;
const LINE_BYTES = 16;

/** See the module's text. */
export class Diary {
  readonly #folder: string;
  #pages = 0;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(mountPoint: string) {
    this.#folder = join(mountPoint, "diary");
  }

  /** Pages that are flushed and told of. */
  get pages(): number {
    return this.#pages;
  }

  /** Writes until it is stopped, with a pause of `paceMs` after each page. */
  start(paceMs: number): void {
    Deno.mkdirSync(join(this.#folder, "pages"), { recursive: true });
    this.#running = this.#loop(paceMs).catch((error) => {
      this.#failure = error;
    });
  }

  /** Throws what it met. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    if (this.#failure !== null) throw this.#failure;
  }

  async #loop(paceMs: number): Promise<void> {
    for (let page = 1; !this.#stopped; page++) {
      await writeFlushed(join(this.#folder, "pages", `${page}`), pageOf(page), false);
      await writeFlushed(join(this.#folder, "index"), lineOf(page), true);
      this.#pages = page;
      if (page > PAGES_KEPT) {
        await Deno.remove(join(this.#folder, "pages", `${page - PAGES_KEPT}`));
      }
      await pause(paceMs);
    }
  }
}

/**
 * How many pages the diary in a mounted copy tells of, each of which is there (unless it is old). Throws
 * for a page that is told of and not whole.
 */
export function readDiary(mountPoint: string): number {
  const folder = join(mountPoint, "diary");
  const index = new TextDecoder().decode(Deno.readFileSync(join(folder, "index")));
  const pages = Math.floor(index.length / LINE_BYTES);
  for (let page = 1; page <= pages; page++) {
    const line = index.slice((page - 1) * LINE_BYTES, page * LINE_BYTES);
    if (line !== new TextDecoder().decode(lineOf(page))) throw new Error(`line ${page}: ${line}`);
    // The next page may have been told of, and this one removed, before the last line got out.
    if (page <= pages - PAGES_KEPT + 1) continue;
    const bytes = Deno.readFileSync(join(folder, "pages", `${page}`));
    const wanted = pageOf(page);
    const same = bytes.length === wanted.length && bytes.every((byte, i) => byte === wanted[i]);
    if (!same) throw new Error(`page ${page} of ${pages} is not what was written`);
  }
  return pages;
}

async function writeFlushed(path: string, bytes: Uint8Array, append: boolean): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, append });
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

function lineOf(page: number): Uint8Array {
  return new TextEncoder().encode(`page ${String(page).padStart(LINE_BYTES - 6, "0")}\n`);
}

function pageOf(page: number): Uint8Array {
  const words = new Uint32Array((1 + (page * 7919) % 60) * 256);
  for (const i of words.keys()) words[i] = Math.imul(i + 1, 0x9e3779b1) ^ page;
  return new Uint8Array(words.buffer);
}
