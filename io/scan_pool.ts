/**
 * Hashing on all cores: workers that open, read and hash a volume themselves, so that only digests travel;
 * and this thread, which has nothing else to do meanwhile, as one of them.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { CascadeError } from "../core/errors.ts";
import type { Bytes, DiskFile } from "../core/ports.ts";
import {
  BlockDigester,
  DIGEST_BYTES,
  type DigestKey,
  prepareDigests,
} from "../core/scan/block_digest.ts";
import { type BlockHasher, hashRange, type OpenHasher } from "../core/scan/hasher.ts";
import { SCAN_BLOCK_BYTES } from "../core/scan/map_files.ts";
import { DenoDisk } from "./disk.ts";
import type { ErrorFields, FromWorker, ToWorker } from "./scan_messages.ts";

/** More than a server has use for: the memory is the limit long before. */
const WORKERS_MAX = 15;
/** Hashed in this thread before the event loop goes on: some 0.6 ms. */
const TURN_BYTES = 2 * 1024 * 1024;
/** The next piece waits in the worker while it hashes one. */
const PIECES_PER_WORKER = 2;

/** A worker for each core but one unless said otherwise, beside this thread. */
export function hashInWorkers(workers = navigator.hardwareConcurrency - 1): OpenHasher {
  return new WarmHashers(workers).open;
}

/** The same, with the workers for the first volume started at once: beside all else that starts then. */
export class WarmHashers {
  readonly #count: number;
  #warm: HashWorker[] | null = null;

  constructor(workers = navigator.hardwareConcurrency - 1) {
    this.#count = Math.max(0, Math.min(workers, WORKERS_MAX));
  }

  warm(): void {
    this.#warm ??= this.#start();
    // While the disk is waited for.
    setImmediate(() => prepareDigests(SCAN_BLOCK_BYTES));
  }

  #start(): HashWorker[] {
    return Array.from({ length: this.#count }, () => new HashWorker());
  }

  readonly open: OpenHasher = (path, key) => {
    const here = new HashHere(path, key);
    const workers = this.#warm ?? this.#start();
    this.#warm = null;
    return Promise.resolve(new WorkerHasher(path, key, workers, here));
  };

  /** Ends what was started and not used. */
  close(): void {
    for (const worker of this.#warm ?? []) worker.end();
    this.#warm = null;
  }
}

/** See {@linkcode BlockHasher}. */
class WorkerHasher implements BlockHasher {
  readonly key: DigestKey;
  readonly depth: number;
  readonly #workers: readonly HashWorker[];
  readonly #here: HashHere;

  constructor(path: string, key: DigestKey, workers: readonly HashWorker[], here: HashHere) {
    this.key = key;
    this.depth = workers.length * PIECES_PER_WORKER + 1;
    this.#workers = workers;
    this.#here = here;
    for (const worker of workers) worker.open(path, key);
  }

  hash(offset: number, length: number): Promise<Bytes> {
    const [first] = this.#workers;
    if (first === undefined || !this.#here.isBusy) return this.#here.hash(offset, length);
    const idlest = this.#workers.reduce(
      (least, worker) => worker.waiting < least.waiting ? worker : least,
      first,
    );
    return idlest.hash(offset, length);
  }

  async close(): Promise<void> {
    await this.#here.close();
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

/** This thread's share. */
class HashHere {
  readonly #file: DiskFile;
  readonly #digester: BlockDigester;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(path: string, key: DigestKey) {
    this.#digester = new BlockDigester(key);
    this.#file = new DenoDisk().open(path, { readOnly: true });
  }

  get isBusy(): boolean {
    return this.#waiting > 0;
  }

  hash(offset: number, length: number): Promise<Bytes> {
    this.#waiting++;
    const done = this.#last.then(() => this.#hash(offset, length)).finally(() => this.#waiting--);
    this.#last = done.catch(() => {/* whoever asked is told */});
    return done;
  }

  async #hash(offset: number, length: number): Promise<Bytes> {
    const { blockBytes } = this.#digester;
    const digests = new Uint8Array(Math.ceil(length / blockBytes) * DIGEST_BYTES);
    for (let done = 0; done < length; done += TURN_BYTES) {
      await new Promise<void>((go) => void setImmediate(go));
      const piece = Math.min(TURN_BYTES, length - done);
      const found = hashRange(this.#file, this.#digester, offset + done, piece);
      digests.set(found, done / blockBytes * DIGEST_BYTES);
    }
    return digests;
  }

  async close(): Promise<void> {
    await this.#last;
    this.#file.close();
  }
}

interface Waiting {
  readonly resolve: (digests: Bytes) => void;
  readonly reject: (error: unknown) => void;
}

/** In a bundle this module lies beside the folder of its worker. */
const WORKER = import.meta.url.endsWith(".ts") ? "./scan_worker.ts" : "./io/scan_worker.js";

/** One worker, and who waits for its answers, in the order of the questions. */
class HashWorker {
  readonly #worker: Worker;
  #path = "";
  readonly #waiting: Waiting[] = [];
  /** Why it answers no more. */
  #failure: CascadeError | null = null;

  constructor() {
    this.#worker = new Worker(new URL(WORKER, import.meta.url), {
      type: "module",
      name: "scan",
    });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
    this.#worker.onmessageerror = () => this.#fail("a message could not be read");
  }

  /** Once, before all else. */
  open(path: string, { seed, blockBytes }: DigestKey): void {
    this.#path = path;
    this.#send({ kind: "open", path, seed, blockBytes });
  }

  end(): void {
    this.#worker.terminate();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  hash(offset: number, length: number): Promise<Bytes> {
    return this.#ask({ kind: "hash", offset, length });
  }

  /** Settles when the worker has closed the volume and is gone; one that failed is just ended. */
  async close(): Promise<void> {
    try {
      await this.#ask({ kind: "close" });
    } catch (error) {
      if (this.#failure === null) throw error;
    } finally {
      this.#worker.terminate();
    }
  }

  #ask(question: ToWorker): Promise<Bytes> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#send(question);
    });
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #take(answer: FromWorker): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return this.#fail("an answer without a question");
    if (answer.kind === "failed") waiting.reject(errorOf(answer.error));
    else waiting.resolve(answer.digests);
  }

  #fail(found: string): void {
    this.#failure ??= new CascadeError("bug", `a worker that hashes a volume broke: ${found}`, {
      where: { path: this.#path },
    });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

function errorOf({ code, message, where, hint, retryable }: ErrorFields): CascadeError {
  return new CascadeError(code, message, {
    where,
    retryable,
    ...(hint === undefined ? {} : { hint }),
  });
}
