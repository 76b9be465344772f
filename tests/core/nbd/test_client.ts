/**
 * A small NBD client over a pipe, for the tests of the server.
 *
 * @module
 */
import { Command, Option, OPTION_REPLY_HEADER_BYTES } from "../../../core/nbd/constants.ts";
import type { PipeEnd } from "./pipe.ts";
import {
  contextData,
  infoData,
  join,
  option,
  type ParsedReply,
  ReplyParser,
  request,
  type RequestFields,
  u32,
} from "./wire.ts";

const GREETING_BYTES = 18;

/** Counts what it hears; does not check it. */
export class TestClient {
  readonly end: PipeEnd;
  #parser = new ReplyParser(false);
  #inbox: ParsedReply[] = [];
  readonly #buffer = new Uint8Array(64 * 1024);

  constructor(end: PipeEnd) {
    this.end = end;
  }

  /** Goes through the handshake. */
  async enter(name: string, structured = false): Promise<this> {
    await this.readBytes(GREETING_BYTES);
    await this.end.write(u32(3));
    if (structured) {
      await this.#ask(Option.STRUCTURED_REPLY, new Uint8Array(0));
      await this.#ask(Option.SET_META_CONTEXT, contextData(name, ["base:allocation"]));
    }
    await this.#ask(Option.GO, infoData(name));
    this.#parser = new ReplyParser(structured);
    return this;
  }

  /** Sends requests without waiting for their replies. */
  async send(...requests: RequestFields[]): Promise<void> {
    for (const each of requests) this.#parser.expect(each);
    await this.end.write(join(...requests.map(request)));
  }

  /** The next reply; null when the server hung up. */
  async reply(): Promise<ParsedReply | null> {
    for (;;) {
      const reply = this.#inbox.shift();
      if (reply !== undefined) return reply;
      const count = await this.end.read(this.#buffer);
      if (count === null) return null;
      this.#inbox.push(...this.#parser.push(this.#buffer.slice(0, count)));
    }
  }

  /** Sends one request and takes its reply. */
  async ask(fields: RequestFields): Promise<ParsedReply | null> {
    await this.send(fields);
    return await this.reply();
  }

  async write(offset: number, payload: Uint8Array, flags = 0): Promise<number | undefined> {
    return (await this.ask({ command: Command.WRITE, flags, offset, payload }))?.error;
  }

  /** Whether the server hangs up, having said no more. */
  async isHungUp(): Promise<boolean> {
    return await this.end.read(this.#buffer) === null;
  }

  async readBytes(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const got = await this.end.read(bytes.subarray(at));
      if (got === null) throw new Error("the server hung up in the handshake");
      at += got;
    }
    return bytes;
  }

  /** Makes an option and skips its replies up to the last one; an error throws. */
  async #ask(number: number, data: Uint8Array): Promise<void> {
    await this.end.write(option(number, data));
    for (;;) {
      const header = await this.readBytes(OPTION_REPLY_HEADER_BYTES);
      const view = new DataView(header.buffer);
      await this.readBytes(view.getUint32(16));
      const type = view.getUint32(12);
      if (type >= 0x80000000) throw new Error(`option ${number}: error 0x${type.toString(16)}`);
      if (type === 1) return;
    }
  }
}
