/**
 * The transmission machine with its buffers, driven by hand, for tests.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { BlockPool, ReceiveBuffer } from "../../../core/nbd/buffers.ts";
import { Command } from "../../../core/nbd/constants.ts";
import { ReplyBuffer } from "../../../core/nbd/reply_buffer.ts";
import { type Lack, Transmission } from "../../../core/nbd/transmission.ts";
import type { MemoryBackend } from "./memory_backend.ts";
import { join, type ParsedReply, ReplyParser, request, type RequestFields } from "./wire.ts";

export interface BenchOptions {
  readonly structured?: boolean;
  readonly blockStatus?: boolean;
  readonly largeBlocks?: number;
}

/** A transmission with its buffers, driven by hand as a socket would. */
export class Bench {
  readonly pool: BlockPool;
  readonly input: ReceiveBuffer;
  readonly replies: ReplyBuffer;
  readonly machine: Transmission;
  readonly parser: ReplyParser;
  readonly backend: MemoryBackend;
  lack: Lack = "input";

  constructor(backend: MemoryBackend, options: BenchOptions = {}) {
    const { structured = false, blockStatus = false, largeBlocks = 4 } = options;
    this.backend = backend;
    this.pool = new BlockPool(largeBlocks);
    this.input = new ReceiveBuffer(this.pool);
    this.replies = new ReplyBuffer(this.pool);
    this.machine = new Transmission({ backend, structured, blockStatus }, this.replies);
    this.parser = new ReplyParser(structured);
  }

  /** Brings bytes, at most `count` at a time; returns all replies that came. */
  feed(bytes: Uint8Array, count = Infinity): ParsedReply[] {
    const replies: ParsedReply[] = [];
    let at = 0;
    while (at < bytes.length && this.machine.phase !== "ended") {
      const space = this.input.space(this.machine.wanted);
      const length = Math.min(space.length, count, bytes.length - at);
      if (length === 0) throw new Error(`no space while it lacks ${this.lack}`);
      space.set(bytes.subarray(at, at + length));
      this.input.received(length);
      at += length;
      replies.push(...this.run());
      if (this.lack === "places" || this.machine.phase === "broken") break;
    }
    return replies;
  }

  /** Brings bytes that fit the buffer, and acts on them; sends nothing. */
  push(bytes: Uint8Array): Lack {
    this.input.space(this.machine.wanted).set(bytes);
    this.input.received(bytes.length);
    const lack = this.machine.advance(this.input);
    this.machine.commit();
    return lack;
  }

  /** Gathers small replies until there is room for exactly `room` bytes. */
  fillReplies(room: number): void {
    const count = (this.replies.room - room) / 16;
    const each = request({ command: Command.CACHE, handle: 0xcacen });
    this.push(join(...new Array(count).fill(each)));
    assertEquals(this.replies.room, room);
  }

  /** Acts and drains until nothing more happens by itself. */
  run(): ParsedReply[] {
    const replies: ParsedReply[] = [];
    do {
      this.lack = this.machine.advance(this.input);
      this.machine.commit();
      replies.push(...this.drain());
    } while (this.lack === "room");
    return replies;
  }

  drain(): ParsedReply[] {
    if (this.replies.length === 0) return [];
    const replies = this.parser.push(this.replies.take());
    this.replies.sent();
    return replies;
  }

  ask(...requests: RequestFields[]): ParsedReply[] {
    for (const each of requests) this.parser.expect(each);
    return this.feed(join(...requests.map(request)));
  }

  /** The error number that a request is answered with. */
  errorOf(fields: RequestFields): number {
    const replies = this.ask(fields);
    assertEquals(replies.length, 1, "one request, one reply");
    assertEquals(replies[0]?.handle, fields.handle ?? 0n);
    return replies[0]?.error ?? -1;
  }
}
