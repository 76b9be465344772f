/**
 * Gathers what a server says during an NBD handshake.
 *
 * @module
 */
import type { Bytes } from "../ports.ts";
import {
  EXPORT_NAME_ZEROES_BYTES,
  HandshakeFlag,
  Info,
  INIT_MAGIC_HIGH,
  INIT_MAGIC_LOW,
  OPTION_MAGIC_HIGH,
  OPTION_MAGIC_LOW,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC_HIGH,
  OPTION_REPLY_MAGIC_LOW,
  OptionReply,
} from "./constants.ts";
import { BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, PAYLOAD_BYTES_MAX } from "./nbd_limits.ts";

const UTF8 = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** One handshake's replies, in order, until they are taken. */
export class OptionReplies {
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** All that was said since the last call. */
  take(): Bytes {
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#bytes = 0;
    return all;
  }

  /** The first words of a connection. */
  greeting(): void {
    const view = this.#fixed(18);
    view.setUint32(0, INIT_MAGIC_HIGH);
    view.setUint32(4, INIT_MAGIC_LOW);
    view.setUint32(8, OPTION_MAGIC_HIGH);
    view.setUint32(12, OPTION_MAGIC_LOW);
    view.setUint16(16, HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES);
  }

  /** The answer to EXPORT_NAME, which has no header. */
  exportName(sizeBytes: number, transmissionFlags: number, zeroes: boolean): void {
    const view = this.#fixed(10 + (zeroes ? EXPORT_NAME_ZEROES_BYTES : 0));
    view.setBigUint64(0, BigInt(sizeBytes));
    view.setUint16(8, transmissionFlags);
  }

  ack(option: number): void {
    this.#header(option, OptionReply.ACK, 0);
  }

  /** An error reply; the message is for a person. */
  error(option: number, type: number, message: string): void {
    this.#header(option, type, 0, UTF8.encode(message));
  }

  /** One export of a LIST. */
  server(option: number, name: Uint8Array, description: Uint8Array): void {
    this.#header(option, OptionReply.SERVER, 4, name, description).setUint32(0, name.length);
  }

  infoExport(option: number, sizeBytes: number, transmissionFlags: number): void {
    const view = this.#header(option, OptionReply.INFO, 12);
    view.setUint16(0, Info.EXPORT);
    view.setBigUint64(2, BigInt(sizeBytes));
    view.setUint16(10, transmissionFlags);
  }

  infoBlockSize(option: number): void {
    const view = this.#header(option, OptionReply.INFO, 14);
    view.setUint16(0, Info.BLOCK_SIZE);
    view.setUint32(2, BLOCK_BYTES_MIN);
    view.setUint32(6, BLOCK_BYTES_PREFERRED);
    view.setUint32(10, PAYLOAD_BYTES_MAX);
  }

  /** The canonical name of an export, or its description. */
  infoText(option: number, info: number, text: Uint8Array): void {
    this.#header(option, OptionReply.INFO, 2, text).setUint16(0, info);
  }

  metaContext(option: number, id: number, name: string): void {
    this.#header(option, OptionReply.META_CONTEXT, 4, UTF8.encode(name)).setUint32(0, id);
  }

  /** Says a header, `fieldBytes` of fields (the view that is returned) and the texts behind. */
  #header(
    option: number,
    type: number,
    fieldBytes: number,
    text: Uint8Array = NOTHING,
    moreText: Uint8Array = NOTHING,
  ): DataView {
    const view = this.#fixed(OPTION_REPLY_HEADER_BYTES + fieldBytes);
    view.setUint32(0, OPTION_REPLY_MAGIC_HIGH);
    view.setUint32(4, OPTION_REPLY_MAGIC_LOW);
    view.setUint32(8, option);
    view.setUint32(12, type);
    view.setUint32(16, fieldBytes + text.length + moreText.length);
    this.#say(text);
    this.#say(moreText);
    return new DataView(view.buffer, OPTION_REPLY_HEADER_BYTES);
  }

  #fixed(length: number): DataView<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    this.#say(bytes);
    return new DataView(bytes.buffer);
  }

  #say(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }
}
