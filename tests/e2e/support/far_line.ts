/**
 * A line between two nodes that is long, slow or broken: a TCP proxy of the tests' own.
 *
 * @module
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Cleanup } from "./e2e.ts";

/** Past this, what is on its way in one direction is not read any more: a line's own buffers are no larger. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;

/** One end of a connection: who dialled, or who is dialled. */
export type End = "caller" | "target";

/** A connection through the line. */
class Passage {
  readonly #line: FarLine;
  readonly caller: Socket;
  readonly target: Socket;
  /** What was written to it is lost, and nobody is told: as when a NAT has forgotten it. */
  isForgotten = false;

  constructor(line: FarLine, caller: Socket, target: Socket) {
    this.#line = line;
    this.caller = caller;
    this.target = target;
    this.#pump(caller, target);
    this.#pump(target, caller);
  }

  #pump(from: Socket, to: Socket): void {
    let heldBytes = 0;
    let dueMs = 0;
    from.setNoDelay(true);
    from.on("data", (chunk: Uint8Array) => {
      if (this.isForgotten) return;
      heldBytes += chunk.length;
      if (heldBytes > HELD_BYTES_MAX) from.pause();
      const { delayMs, bytesPerMs } = this.#line;
      dueMs = Math.max(dueMs, performance.now()) + chunk.length / bytesPerMs;
      this.#line.later(Math.max(0, dueMs - performance.now()) + delayMs, () => {
        heldBytes -= chunk.length;
        if (heldBytes <= HELD_BYTES_MAX) from.resume();
        if (!this.isForgotten && !to.destroyed) to.write(chunk);
      });
    });
    from.on("error", () => {/* what it closed for is of no interest */});
    from.on("close", () => {
      if (this.isForgotten) return;
      this.#line.later(this.#line.delayMs, () => {
        if (!this.isForgotten) to.destroy();
      });
    });
  }

  destroy(): void {
    this.caller.destroy();
    this.target.destroy();
  }
}

/** See the module's text. Passes on what is sent to `port` to a port of this machine. */
export class FarLine {
  /** Each way. */
  delayMs = 0;
  /** Each way. */
  bytesPerMs = Infinity;
  /** Where connections come from, as the target sees it. */
  sourceAddress = "127.0.0.1";
  /** Connections so far. */
  connections = 0;
  readonly #server: Server;
  readonly #passages = new Set<Passage>();
  readonly #waiting: { dueMs: number; call: () => void }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(cleanup: Cleanup, targetPort: number): Promise<FarLine> {
    const server = createServer();
    const line = new FarLine(server);
    server.on("connection", (caller: Socket) => {
      const localAddress = line.sourceAddress;
      const target = connect({ host: "127.0.0.1", port: targetPort, localAddress });
      const passage = new Passage(line, caller, target);
      line.connections++;
      line.#passages.add(passage);
      caller.on("close", () => line.#passages.delete(passage));
    });
    await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
    cleanup.defer(() => line.close());
    return line;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** One timer for all: what is due at one time is passed on in order. */
  later(ms: number, call: () => void): void {
    const dueMs = performance.now() + ms;
    let at = this.#waiting.length;
    while (at > 0 && this.#waiting[at - 1]!.dueMs > dueMs) at--;
    this.#waiting.splice(at, 0, { dueMs, call });
    if (at === 0) this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#timer = setTimeout(() => {
      const nowMs = performance.now();
      while ((this.#waiting[0]?.dueMs ?? Infinity) <= nowMs) this.#waiting.shift()!.call();
      this.#arm();
    }, Math.max(0, first.dueMs - performance.now()));
  }

  /** Both ends are told. */
  cut(): void {
    for (const passage of this.#passages) passage.destroy();
  }

  /** What is sent on present connections is lost, and nobody is told; new ones work. */
  forget(): void {
    for (const passage of this.#passages) passage.isForgotten = true;
  }

  /** One end is told that its connection is gone, the other is not. */
  halfOpen(end: End): void {
    for (const passage of this.#passages) {
      passage.isForgotten = true;
      passage[end].destroy();
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
    this.cut();
    this.#server.close();
  }
}
