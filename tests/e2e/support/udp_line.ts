/**
 * A line over UDP that can be cut: datagrams for its port are passed on to another, and answers back.
 *
 * @module
 */
import { createSocket, type Socket } from "node:dgram";
import type { Cleanup } from "./e2e.ts";

/** See the module's text. */
export class UdpLine {
  /** Nothing gets through, and nobody is told. */
  isCut = false;
  readonly #socket: Socket;
  readonly #beyond = new Map<string, Socket>();

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async open(cleanup: Cleanup, targetPort: number): Promise<UdpLine> {
    const socket = createSocket("udp4");
    const line = new UdpLine(socket);
    socket.on("message", (bytes, { address, port }) => {
      if (line.isCut) return;
      line.#to(address, port).send(bytes, targetPort, "127.0.0.1");
    });
    await new Promise<void>((go) => socket.bind(0, "127.0.0.1", go));
    cleanup.defer(() => line.close());
    return line;
  }

  #to(address: string, port: number): Socket {
    const key = `${address}:${port}`;
    const known = this.#beyond.get(key);
    if (known !== undefined) return known;
    const made = createSocket("udp4");
    made.on("message", (bytes) => {
      if (!this.isCut) this.#socket.send(bytes, port, address);
    });
    made.on("error", () => {/* nobody is there just now */});
    this.#beyond.set(key, made);
    return made;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** What is on its way now is lost for good: new connections work. */
  forget(): void {
    for (const socket of this.#beyond.values()) socket.close();
    this.#beyond.clear();
  }

  close(): void {
    this.forget();
    this.#socket.close();
  }
}
