/**
 * The NBD handshake (fixed newstyle) as a machine: bytes in, bytes out, at the end a session.
 *
 * With STARTTLS it goes on over TLS from its options on. What was agreed in plain is forgotten then, since somebody
 * on the way may have said it; and whoever drives the machine sees to it that no byte that came in plain is taken
 * for one that came over TLS.
 *
 * | phase    | waits for                        | then                                          |
 * | -------- | -------------------------------- | --------------------------------------------- |
 * | flags    | the client's 32 bits of flags    | options; closed when one of them is unknown   |
 * | options  | an option's header and its data  | options, skipping, upgrade, ready or closed   |
 * | skipping | the data of an over-long option  | options                                       |
 * | upgrade  | `secured`, once TLS is there     | options                                       |
 * | ready    | nothing: `session` is set        |                                               |
 * | closed   | nothing: say what was gathered, then hang up                                   ||
 *
 * @module
 */
import { assert, unreachable } from "../assert.ts";
import type { Bytes } from "../ports.ts";
import type { ExportBackend } from "./backend.ts";
import {
  ALLOCATION_CONTEXT,
  ALLOCATION_CONTEXT_ID,
  BASE_WILDCARD,
  HandshakeFlag,
  Info,
  Option,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC_HIGH,
  OPTION_MAGIC_LOW,
  OptionReply,
  TransmissionFlag,
} from "./constants.ts";
import { OPTION_BYTES_MAX, OPTION_SKIP_BYTES_MAX, OPTIONS_MAX } from "./nbd_limits.ts";
import { type Parting, WITHOUT_TLS } from "./parting.ts";
import { parseContextRequest, parseExportName, parseInfoRequest } from "./option_data.ts";
import { OptionReplies } from "./option_replies.ts";

const UTF8 = new TextEncoder();
const FLAGS_BYTES = 4;
const KNOWN_OPTIONS: ReadonlySet<number> = new Set(Object.values(Option));

/** What was agreed: the input of the transmission phase. */
export interface Session {
  readonly backend: ExportBackend;
  /** Structured replies were negotiated. */
  readonly structured: boolean;
  /** `base:allocation` was selected for this export. */
  readonly blockStatus: boolean;
}

/** Whether clients may, must or cannot ask for TLS. */
export type TlsMode = "off" | "allowed" | "required";

/** See the module's table. */
export type HandshakePhase = "flags" | "options" | "skipping" | "upgrade" | "ready" | "closed";

/** The transmission flags of an export. */
export function transmissionFlags(backend: ExportBackend, structured: boolean): number {
  const common = TransmissionFlag.HAS_FLAGS | TransmissionFlag.SEND_FLUSH |
    TransmissionFlag.SEND_FUA | TransmissionFlag.CAN_MULTI_CONN | TransmissionFlag.SEND_CACHE |
    (structured ? TransmissionFlag.SEND_DF : 0);
  if (backend.readOnly) return common | TransmissionFlag.READ_ONLY;
  return common | TransmissionFlag.SEND_TRIM | TransmissionFlag.SEND_WRITE_ZEROES |
    TransmissionFlag.SEND_FAST_ZERO;
}

/** One client's handshake. Whoever drives it sends what {@linkcode Handshake.takeReplies} gives. */
export class Handshake {
  /** While the server stops, options are answered with ERR_SHUTDOWN. */
  draining = false;
  readonly #exports: readonly ExportBackend[];
  readonly #replies = new OptionReplies();
  #phase: HandshakePhase = "flags";
  #reason = "";
  #code: Parting = "protocol";
  #isDenied = false;
  #session: Session | null = null;
  /** `done`: all of this goes over TLS. */
  #tls: TlsMode | "done";
  #zeroes = true;
  #structured = false;
  /** The export for which the last SET_META_CONTEXT selected `base:allocation`. */
  #allocationOf: ExportBackend | null = null;
  #optionCount = 0;
  #skipBytes = 0;
  #wanted = FLAGS_BYTES;

  constructor(exports: readonly ExportBackend[], tls: TlsMode = "off") {
    this.#exports = exports;
    this.#tls = tls;
    this.#replies.greeting();
  }

  get phase(): HandshakePhase {
    return this.#phase;
  }

  /** Why it was closed, for messages. */
  get reason(): string {
    return this.#reason;
  }

  /** What kind of reason that is. */
  get code(): Parting {
    return this.#code;
  }

  /** It was told that nothing goes without TLS, and has not begun that since. */
  get isDenied(): boolean {
    return this.#isDenied;
  }

  /** Set in phase `ready`. */
  get session(): Session | null {
    return this.#session;
  }

  /** How many bytes from the start of the receive buffer the next step needs. */
  get wanted(): number {
    return this.#wanted;
  }

  /** TLS is there: what was agreed before it counts no more. */
  secured(): void {
    assert(this.#phase === "upgrade", "TLS was asked for");
    this.#tls = "done";
    this.#isDenied = false;
    this.#structured = false;
    this.#allocationOf = null;
    this.#phase = "options";
  }

  /** All that is to be sent now; empties it. */
  takeReplies(): Bytes {
    return this.#replies.take();
  }

  /**
   * Takes at most one message from [start, end) and returns where the next one begins: `start`
   * itself when that one is not whole yet. At most {@linkcode OPTION_BYTES_MAX} and a header must
   * fit the buffer.
   */
  consume(bytes: Bytes, start: number, end: number): number {
    switch (this.#phase) {
      case "flags":
        return this.#takeFlags(bytes, start, end);
      case "options":
        return this.#takeOption(bytes, start, end);
      case "skipping":
        return this.#skip(start, end);
      case "upgrade":
      case "ready":
      case "closed":
        return start;
      default:
        return unreachable(this.#phase);
    }
  }

  #takeFlags(bytes: Bytes, start: number, end: number): number {
    if (end - start < FLAGS_BYTES) return start;
    this.#wanted = OPTION_HEADER_BYTES;
    const flags = new DataView(bytes.buffer, bytes.byteOffset + start, 4).getUint32(0);
    // A client that does not say FIXED_NEWSTYLE may still send any option: the text allows it.
    const unknown = flags & ~(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES);
    if (unknown !== 0) this.#close(`unknown client flags 0x${(flags >>> 0).toString(16)}`);
    else this.#phase = "options";
    this.#zeroes = (flags & HandshakeFlag.NO_ZEROES) === 0;
    return start + FLAGS_BYTES;
  }

  #takeOption(bytes: Bytes, start: number, end: number): number {
    this.#wanted = OPTION_HEADER_BYTES;
    if (end - start < OPTION_HEADER_BYTES) return start;
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, OPTION_HEADER_BYTES);
    if (view.getUint32(0) !== OPTION_MAGIC_HIGH || view.getUint32(4) !== OPTION_MAGIC_LOW) {
      this.#close("an option without its magic number");
      return end;
    }
    const option = view.getUint32(8);
    const length = view.getUint32(12);
    const dataStart = start + OPTION_HEADER_BYTES;
    if (length > OPTION_BYTES_MAX) {
      this.#refuseLong(option, length);
      return dataStart;
    }
    if (end - dataStart < length) {
      this.#wanted = OPTION_HEADER_BYTES + length;
      return start;
    }
    this.#optionCount++;
    if (this.#optionCount > OPTIONS_MAX) this.#close(`more than ${OPTIONS_MAX} options`);
    else this.#act(option, bytes.subarray(dataStart, dataStart + length));
    return dataStart + length;
  }

  #refuseLong(option: number, length: number): void {
    this.#optionCount++;
    if (option === Option.ABORT) return this.#abort();
    const place = `option ${option} with ${length} bytes of data`;
    if (option === Option.EXPORT_NAME || length > OPTION_SKIP_BYTES_MAX) return this.#close(place);
    if (this.#optionCount > OPTIONS_MAX) return this.#close(`more than ${OPTIONS_MAX} options`);
    if (option === Option.SET_META_CONTEXT) this.#allocationOf = null;
    this.#phase = "skipping";
    this.#skipBytes = length;
    if (this.draining) this.#refuseForShutdown(option);
    else if (this.#lacksTls(option)) this.#demandTls(option);
    else if (!KNOWN_OPTIONS.has(option)) this.#refuseUnknown(option);
    else {
      this.#replies.error(option, OptionReply.ERR_TOO_BIG, `more than ${OPTION_BYTES_MAX} bytes`);
    }
  }

  #skip(start: number, end: number): number {
    const count = Math.min(this.#skipBytes, end - start);
    this.#skipBytes -= count;
    if (this.#skipBytes === 0) this.#phase = "options";
    return start + count;
  }

  #act(option: number, data: Uint8Array): void {
    if (option === Option.ABORT) return this.#abort();
    if (option === Option.EXPORT_NAME) return this.#takeExportName(data);
    if (this.draining) return this.#refuseForShutdown(option);
    if (this.#lacksTls(option)) return this.#demandTls(option);
    switch (option) {
      case Option.LIST:
        return this.#list(option, data);
      case Option.INFO:
      case Option.GO:
        return this.#info(option, data);
      case Option.STRUCTURED_REPLY:
        if (data.length > 0) return this.#refuse(option, "this option takes no data");
        this.#structured = true;
        return this.#replies.ack(option);
      case Option.LIST_META_CONTEXT:
        return this.#listContexts(option, data);
      case Option.SET_META_CONTEXT:
        return this.#setContexts(option, data);
      case Option.STARTTLS:
        return this.#startTls(option, data);
      default:
        return this.#refuseUnknown(option);
    }
  }

  /** Nothing but the way to TLS, and the way out, is open. */
  #lacksTls(option: number): boolean {
    return this.#tls === "required" && option !== Option.STARTTLS;
  }

  #demandTls(option: number): void {
    this.#isDenied = true;
    this.#replies.error(option, OptionReply.ERR_TLS_REQD, "this server speaks over TLS alone");
  }

  #startTls(option: number, data: Uint8Array): void {
    if (data.length > 0) return this.#refuse(option, "this option takes no data");
    if (this.#tls === "off") return this.#refuseUnknown(option);
    if (this.#tls === "done") return this.#refuse(option, "this is over TLS already");
    this.#replies.ack(option);
    this.#phase = "upgrade";
  }

  #abort(): void {
    this.#replies.ack(Option.ABORT);
    if (this.#isDenied) this.#close(WITHOUT_TLS, "no-tls");
    else this.#close("the client ended the handshake", "done");
  }

  #takeExportName(data: Uint8Array): void {
    // This option has no answer but the export.
    if (this.#lacksTls(Option.EXPORT_NAME)) {
      return this.#close(WITHOUT_TLS, "no-tls");
    }
    const name = parseExportName(data);
    const backend = name === null ? null : this.#find(name);
    if (backend === null || this.draining) {
      return this.draining
        ? this.#close("the server stops", "stopping")
        : this.#close("no such export", "not-found");
    }
    const flags = transmissionFlags(backend, this.#structured);
    this.#replies.exportName(backend.sizeBytes, flags, this.#zeroes);
    this.#enter(backend);
  }

  #list(option: number, data: Uint8Array): void {
    if (data.length > 0) return this.#refuse(option, "this option takes no data");
    for (const { name, description } of this.#exports) {
      this.#replies.server(option, UTF8.encode(name), UTF8.encode(description));
    }
    this.#replies.ack(option);
  }

  #info(option: number, data: Uint8Array): void {
    const request = parseInfoRequest(data);
    if (request === null) return this.#refuse(option, "a name and information requests expected");
    const backend = this.#find(request.name);
    if (backend === null) return this.#refuseExport(option, request.name);
    const flags = transmissionFlags(backend, this.#structured);
    this.#replies.infoExport(option, backend.sizeBytes, flags);
    if (request.wantsName) {
      this.#replies.infoText(option, Info.NAME, UTF8.encode(backend.name));
    }
    if (request.wantsDescription && backend.description !== "") {
      this.#replies.infoText(option, Info.DESCRIPTION, UTF8.encode(backend.description));
    }
    if (request.wantsBlockSize) this.#replies.infoBlockSize(option);
    this.#replies.ack(option);
    if (option === Option.GO) this.#enter(backend);
  }

  #listContexts(option: number, data: Uint8Array): void {
    const request = parseContextRequest(data);
    if (request === null) return this.#refuse(option, "a name and queries expected");
    if (request === "too-big") return this.#refuseQueries(option);
    if (this.#find(request.name) === null) return this.#refuseExport(option, request.name);
    const { queries } = request;
    const found = queries.length === 0 ||
      queries.some((query) => isText(query, ALLOCATION_CONTEXT) || isText(query, BASE_WILDCARD));
    if (found) this.#replies.metaContext(option, 0, ALLOCATION_CONTEXT);
    this.#replies.ack(option);
  }

  #setContexts(option: number, data: Uint8Array): void {
    // What was selected before is forgotten even when this fails.
    this.#allocationOf = null;
    if (!this.#structured) return this.#refuse(option, "negotiate structured replies first");
    const request = parseContextRequest(data);
    if (request === null) return this.#refuse(option, "a name and queries expected");
    if (request === "too-big") return this.#refuseQueries(option);
    const backend = this.#find(request.name);
    if (backend === null) return this.#refuseExport(option, request.name);
    if (request.queries.some((query) => isText(query, ALLOCATION_CONTEXT))) {
      this.#allocationOf = backend;
      this.#replies.metaContext(option, ALLOCATION_CONTEXT_ID, ALLOCATION_CONTEXT);
    }
    this.#replies.ack(option);
  }

  #enter(backend: ExportBackend): void {
    const blockStatus = this.#structured && this.#allocationOf === backend;
    this.#session = { backend, structured: this.#structured, blockStatus };
    this.#phase = "ready";
  }

  /** The export of that name; the only one for the empty name. */
  #find(name: Uint8Array): ExportBackend | null {
    if (name.length === 0) return this.#exports.length === 1 ? this.#exports[0] ?? null : null;
    return this.#exports.find((backend) => isText(name, backend.name)) ?? null;
  }

  #refuse(option: number, message: string): void {
    this.#replies.error(option, OptionReply.ERR_INVALID, message);
  }

  #refuseUnknown(option: number): void {
    this.#replies.error(option, OptionReply.ERR_UNSUP, "this option is not supported");
  }

  #refuseForShutdown(option: number): void {
    this.#replies.error(option, OptionReply.ERR_SHUTDOWN, "the server stops");
  }

  #refuseQueries(option: number): void {
    this.#replies.error(option, OptionReply.ERR_TOO_BIG, "too many queries");
  }

  #refuseExport(option: number, name: Uint8Array): void {
    const message = name.length === 0 && this.#exports.length > 1
      ? "there are several exports: choose one by its name"
      : "no export has this name";
    this.#replies.error(option, OptionReply.ERR_UNKNOWN, message);
  }

  #close(reason: string, code: Parting = "protocol"): void {
    this.#phase = "closed";
    this.#reason = reason;
    this.#code = code;
  }
}

/** Whether the bytes are that text, compared as bytes: any that are not UTF-8 match nothing. */
function isText(bytes: Uint8Array, text: string): boolean {
  const expected = UTF8.encode(text);
  return bytes.length === expected.length && bytes.every((byte, index) => byte === expected[index]);
}
