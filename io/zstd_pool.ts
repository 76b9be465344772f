/**
 * Compressing beside the main thread: one worker for all links of the process, started when it is needed.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Bytes, Compress } from "../core/ports.ts";
import type { ToZstdWorker } from "./zstd_worker.ts";

/** In a bundle this module lies beside the folder of its worker. */
const WORKER = import.meta.url.endsWith(".ts") ? "./zstd_worker.ts" : "./io/zstd_worker.js";

interface Waiting {
  readonly resolve: (packed: Bytes) => void;
  readonly reject: (error: unknown) => void;
}

/** See the module's text. */
export class ZstdWorker {
  #worker: Worker | null = null;
  readonly #waiting: Waiting[] = [];
  /** Why it answers no more. */
  #failure: CascadeError | null = null;

  /** See {@linkcode Compress}. Rejects when the worker broke: whoever asks then compresses itself. */
  readonly compress: Compress = (bytes, level) => {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const worker = this.#worker ??= this.#start();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      const message: ToZstdWorker = { bytes, level };
      worker.postMessage(message);
    });
  };

  #start(): Worker {
    const worker = new Worker(new URL(WORKER, import.meta.url), { type: "module", name: "zstd" });
    worker.onmessage = ({ data }: MessageEvent<Bytes>) => this.#waiting.shift()?.resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
    };
    worker.onmessageerror = () => this.#fail("a message could not be read");
    return worker;
  }

  #fail(found: string): void {
    this.#failure ??= new CascadeError("bug", `the worker that compresses broke: ${found}`);
    this.#worker?.terminate();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }

  close(): void {
    this.#fail("it was closed");
  }
}
