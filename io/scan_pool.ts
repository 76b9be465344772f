/**
 * Hashing on all cores: workers that open, read and hash a volume themselves; only digests travel.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Bytes } from "../core/ports.ts";
import type { DigestKey } from "../core/scan/block_digest.ts";
import type { BlockHasher, OpenHasher } from "../core/scan/hasher.ts";
import type { ErrorFields, FromWorker, ToWorker } from "./scan_messages.ts";

/** More than a server has use for: the memory is the limit long before. */
const WORKERS_MAX = 16;
/** The next piece waits in the worker while it hashes one. */
const PIECES_PER_WORKER = 2;

/** The workers of one volume, which is opened with them; a worker a core unless said otherwise. */
export function hashInWorkers(workers = navigator.hardwareConcurrency): OpenHasher {
  return new WarmHashers(workers).open;
}

/** The same, with the workers for the first volume started at once: beside all else that starts then. */
export class WarmHashers {
  readonly #count: number;
  #warm: HashWorker[] | null = null;

  constructor(workers = navigator.hardwareConcurrency) {
    this.#count = Math.max(1, Math.min(workers, WORKERS_MAX));
  }

  warm(): void {
    this.#warm ??= this.#start();
  }

  #start(): HashWorker[] {
    return Array.from({ length: this.#count }, () => new HashWorker());
  }

  readonly open: OpenHasher = (path, key) => {
    const workers = this.#warm ?? this.#start();
    this.#warm = null;
    return Promise.resolve(new WorkerHasher(path, key, workers));
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

  constructor(path: string, key: DigestKey, workers: readonly HashWorker[]) {
    this.key = key;
    this.depth = workers.length * PIECES_PER_WORKER;
    this.#workers = workers;
    for (const worker of workers) worker.open(path, key);
  }

  hash(offset: number, length: number): Promise<Bytes> {
    const idlest = this.#workers.reduce((least, worker) =>
      worker.waiting < least.waiting ? worker : least
    );
    return idlest.hash(offset, length);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
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
