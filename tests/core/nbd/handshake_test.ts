import { assert, assertEquals } from "@std/assert";
import { Handshake, type HandshakePhase, type Session } from "../../../core/nbd/handshake.ts";
import {
  Info,
  Option,
  OptionReply,
  STRING_BYTES_MAX,
  TransmissionFlag,
} from "../../../core/nbd/constants.ts";
import {
  OPTION_BYTES_MAX,
  OPTION_SKIP_BYTES_MAX,
  OPTIONS_MAX,
  QUERIES_MAX,
} from "../../../core/nbd/nbd_limits.ts";
import { MemoryBackend } from "./memory_backend.ts";
import {
  contextData,
  infoData,
  join,
  option,
  type ParsedOptionReply,
  parseOptionReplies,
  text,
  u16,
  u32,
} from "./wire.ts";

const FIXED_NO_ZEROES = u32(3);
const SIZE = 123_456_789;
const GREETING = join(text("NBDMAGICIHAVEOPT"), u16(3));

const data = new MemoryBackend(0x1_0000, { name: "data", description: "the data" });
const wal = new MemoryBackend(8192, { name: "wal", readOnly: true });
const large = {
  ...new MemoryBackend(0),
  name: "large",
  description: "",
  sizeBytes: 2 ** 40 + SIZE,
  readOnly: false,
} as unknown as MemoryBackend;

interface Outcome {
  readonly replies: ParsedOptionReply[];
  readonly rest: Uint8Array;
  readonly phase: HandshakePhase;
  readonly session: Session | null;
  readonly said: Uint8Array;
  readonly leftBytes: number;
}

/** Feeds a client's bytes, cut into pieces that end at `cuts`. */
function converse(
  bytes: Uint8Array,
  options: { exports?: MemoryBackend[]; cuts?: number[]; draining?: boolean } = {},
): Outcome {
  const machine = new Handshake(options.exports ?? [data]);
  machine.draining = options.draining ?? false;
  const buffer = new Uint8Array(bytes.length);
  const said: Uint8Array[] = [];
  let start = 0;
  for (const end of [...(options.cuts ?? []), bytes.length]) {
    buffer.set(bytes.subarray(0, end));
    for (;;) {
      said.push(machine.takeReplies());
      const next = machine.consume(buffer, start, end);
      if (next === start) break;
      start = next;
    }
  }
  said.push(machine.takeReplies());
  const all = join(...said);
  assertEquals(all.subarray(0, GREETING.length), GREETING);
  return {
    ...parseOptionReplies(all.subarray(GREETING.length)),
    phase: machine.phase,
    session: machine.session,
    said: all,
    leftBytes: bytes.length - start,
  };
}

function types(outcome: Outcome): number[] {
  return outcome.replies.map((reply) => reply.type);
}

/** The final reply to one option. */
function answer(number: number, body?: Uint8Array, exports?: MemoryBackend[]): number | undefined {
  const outcome = converse(
    join(FIXED_NO_ZEROES, option(number, body)),
    exports === undefined ? {} : { exports },
  );
  return types(outcome).at(-1);
}

Deno.test("the server speaks first: both magic numbers, fixed newstyle, no zeroes", () => {
  assertEquals(new Handshake([data]).takeReplies(), GREETING);
});

Deno.test("unknown client flags end the session without a word", () => {
  for (const flags of [4, 0x80000000, 0xffffffff]) {
    const outcome = converse(u32(flags));
    assertEquals(outcome.phase, "closed");
    assertEquals(outcome.said, GREETING);
  }
});

Deno.test("an option without its magic number ends the session", () => {
  const bad = option(Option.LIST);
  bad[7] = 0;
  assertEquals(converse(join(FIXED_NO_ZEROES, bad)).phase, "closed");
});

Deno.test("EXPORT_NAME answers size and flags, and 124 zeroes unless agreed otherwise", () => {
  const flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.SEND_FLUSH |
    TransmissionFlag.SEND_FUA | TransmissionFlag.SEND_TRIM | TransmissionFlag.SEND_WRITE_ZEROES |
    TransmissionFlag.CAN_MULTI_CONN | TransmissionFlag.SEND_CACHE | TransmissionFlag.SEND_FAST_ZERO;
  const expected = join(u32(256), u32(SIZE), u16(flags));
  const ask = option(Option.EXPORT_NAME, text("large"));
  const short = converse(join(FIXED_NO_ZEROES, ask), { exports: [data, large] });
  assertEquals(short.rest, expected);
  assertEquals(short.phase, "ready");
  assert(short.session?.backend === large);
  for (const clientFlags of [0, 1]) {
    const long = converse(join(u32(clientFlags), ask), { exports: [data, large] });
    assertEquals(long.rest, join(expected, new Uint8Array(124)));
  }
});

Deno.test("EXPORT_NAME of no export, or with a name that is none, ends the session", () => {
  for (const name of [text("nope"), new Uint8Array([100, 0, 97]), new Uint8Array(4097).fill(97)]) {
    const outcome = converse(join(FIXED_NO_ZEROES, option(Option.EXPORT_NAME, name)));
    assertEquals([outcome.phase, outcome.said.length], ["closed", GREETING.length]);
  }
});

Deno.test("the empty name is the only export, and no export when there are several", () => {
  const go = join(FIXED_NO_ZEROES, option(Option.GO, infoData("")));
  assert(converse(go).session?.backend === data);
  const several = converse(go, { exports: [data, wal] });
  assertEquals(types(several), [OptionReply.ERR_UNKNOWN]);
  assertEquals(several.phase, "options");
  const old = join(FIXED_NO_ZEROES, option(Option.EXPORT_NAME));
  assertEquals(converse(old).phase, "ready");
  assertEquals(converse(old, { exports: [data, wal] }).phase, "closed");
});

Deno.test("LIST names every export with its description", () => {
  const { replies } = converse(join(FIXED_NO_ZEROES, option(Option.LIST)), {
    exports: [data, wal],
  });
  assertEquals(replies, [
    { option: 3, type: OptionReply.SERVER, data: join(u32(4), text("data"), text("the data")) },
    { option: 3, type: OptionReply.SERVER, data: join(u32(3), text("wal")) },
    { option: 3, type: OptionReply.ACK, data: new Uint8Array(0) },
  ]);
});

Deno.test("INFO tells what is asked, once each, and leaves the choice open", () => {
  const infos = [Info.BLOCK_SIZE, 77, Info.NAME, Info.DESCRIPTION, Info.NAME, Info.EXPORT];
  const outcome = converse(join(FIXED_NO_ZEROES, option(Option.INFO, infoData("", infos))));
  const payloads = outcome.replies.map((reply) => reply.data);
  assertEquals(types(outcome), [3, 3, 3, 3, OptionReply.ACK]);
  assertEquals(payloads[0]?.subarray(0, 10), join(u16(Info.EXPORT), u32(0), u32(0x1_0000)));
  assertEquals(payloads[1], join(u16(Info.NAME), text("data")));
  assertEquals(payloads[2], join(u16(Info.DESCRIPTION), text("the data")));
  assertEquals(payloads[3], join(u16(Info.BLOCK_SIZE), u32(1), u32(4096), u32(64 << 20)));
  assertEquals(outcome.phase, "options");
});

Deno.test("GO answers like INFO and enters the transmission phase", () => {
  const outcome = converse(join(FIXED_NO_ZEROES, option(Option.GO, infoData("data"))));
  assertEquals(types(outcome), [OptionReply.INFO, OptionReply.ACK]);
  assertEquals(outcome.phase, "ready");
  assertEquals(outcome.rest.length, 0);
});

Deno.test("bytes behind GO are left for the transmission phase", () => {
  const outcome = converse(
    join(FIXED_NO_ZEROES, option(Option.GO, infoData("data")), new Uint8Array(28)),
  );
  assertEquals(outcome.leftBytes, 28);
});

Deno.test("a read-only export offers no writes, and DF comes with structured replies", () => {
  const go = option(Option.GO, infoData("wal"));
  const flagsOf = (bytes: Uint8Array) => {
    const info = converse(join(FIXED_NO_ZEROES, bytes), { exports: [wal] }).replies.at(-2)?.data;
    return info === undefined ? 0 : (info[10] ?? 0) << 8 | (info[11] ?? 0);
  };
  const readOnly = TransmissionFlag.HAS_FLAGS | TransmissionFlag.READ_ONLY |
    TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA | TransmissionFlag.CAN_MULTI_CONN |
    TransmissionFlag.SEND_CACHE;
  assertEquals(flagsOf(go), readOnly);
  const structured = join(option(Option.STRUCTURED_REPLY), go);
  assertEquals(flagsOf(structured), readOnly | TransmissionFlag.SEND_DF);
});

Deno.test("data that is not of an option's form is invalid, and the next option is heard", () => {
  const cases: [string, number, Uint8Array][] = [
    ["LIST with data", Option.LIST, text("x")],
    ["STRUCTURED_REPLY with data", Option.STRUCTURED_REPLY, text("x")],
    ["STARTTLS with data", Option.STARTTLS, text("x")],
    ["INFO of nothing", Option.INFO, new Uint8Array(0)],
    ["INFO with half a count", Option.INFO, join(u32(0), new Uint8Array(1))],
    ["INFO with a name past the end", Option.INFO, join(u32(5), text("data"), u16(0))],
    ["INFO with a huge name", Option.INFO, join(u32(0xffffffff), u16(0))],
    ["INFO with too few requests", Option.INFO, join(infoData("data"), u16(3))],
    ["INFO with too many requests", Option.INFO, join(u32(0), u16(2), u16(3))],
    ["INFO with a NUL in the name", Option.INFO, infoData("da\0ta")],
    ["INFO with an over-long name", Option.INFO, infoData("x".repeat(STRING_BYTES_MAX + 1))],
    ["LIST_META_CONTEXT of nothing", Option.LIST_META_CONTEXT, new Uint8Array(7)],
    ["a query past the end", Option.LIST_META_CONTEXT, join(u32(0), u32(1), u32(9), text("base:"))],
    [
      "a query with a huge length",
      Option.LIST_META_CONTEXT,
      join(u32(0), u32(1), u32(2 ** 32 - 1)),
    ],
    ["more queries than bytes", Option.LIST_META_CONTEXT, join(u32(0), u32(0xffffffff))],
    ["bytes behind the queries", Option.LIST_META_CONTEXT, join(contextData("", []), text("x"))],
    ["an over-long query", Option.LIST_META_CONTEXT, contextData("", ["x".repeat(4097)])],
    ["SET_META_CONTEXT too early", Option.SET_META_CONTEXT, contextData("", ["base:allocation"])],
  ];
  for (const [what, number, body] of cases) {
    const outcome = converse(
      join(FIXED_NO_ZEROES, option(number, body), option(Option.LIST)),
    );
    assertEquals(
      types(outcome),
      [OptionReply.ERR_INVALID, OptionReply.SERVER, OptionReply.ACK],
      what,
    );
    assertEquals(outcome.replies[0]?.option, number, what);
  }
});

Deno.test("options that are not known, withdrawn or not offered are unsupported", () => {
  for (const number of [0, 4, Option.STARTTLS, 11, 12, 0x7fffffff, 0xffffffff]) {
    assertEquals(answer(number), OptionReply.ERR_UNSUP, `option ${number}`);
    if (number !== Option.STARTTLS) assertEquals(answer(number, text("x")), OptionReply.ERR_UNSUP);
  }
});

Deno.test("an export that is not there is unknown to every option that names one", () => {
  assertEquals(answer(Option.INFO, infoData("nope")), OptionReply.ERR_UNKNOWN);
  assertEquals(answer(Option.GO, infoData("nope")), OptionReply.ERR_UNKNOWN);
  assertEquals(answer(Option.LIST_META_CONTEXT, contextData("nope", [])), OptionReply.ERR_UNKNOWN);
  // Not UTF-8: it must not be taken for a name that has the replacement character.
  const odd = new MemoryBackend(1, { name: "\ufffd" });
  const body = join(u32(1), new Uint8Array([0xff]), u16(0));
  assertEquals(answer(Option.INFO, body, [odd]), OptionReply.ERR_UNKNOWN);
});

Deno.test("ABORT is acknowledged, with data or without, and ends the session", () => {
  for (const length of [0, 10, OPTION_BYTES_MAX + 1]) {
    const outcome = converse(
      join(FIXED_NO_ZEROES, option(Option.ABORT, new Uint8Array(length))),
    );
    assertEquals(types(outcome), [OptionReply.ACK]);
    assertEquals(outcome.phase, "closed");
  }
});

Deno.test("metadata contexts: what is listed and what is selected", () => {
  const structured = option(Option.STRUCTURED_REPLY);
  const cases: [string[], number, number][] = [
    [[], 1, 0],
    [["base:"], 1, 0],
    [["base:allocation"], 1, 1],
    [["base:allocation", "base:", "base:allocation"], 1, 1],
    [["base:nothing", "qemu:dirty-bitmap:x", "x-y:", "nocolon", ""], 0, 0],
    [["base:allocation "], 0, 0],
    [["qemu:", "base:allocation"], 1, 1],
  ];
  for (const [queries, listed, selected] of cases) {
    const body = contextData("", queries);
    const list = converse(
      join(FIXED_NO_ZEROES, structured, option(Option.LIST_META_CONTEXT, body)),
    );
    const context = (id: number) => ({ type: 4, data: join(u32(id), text("base:allocation")) });
    const strip = (outcome: Outcome) =>
      outcome.replies.slice(1).map(({ type, data }) => ({ type, data }));
    const ack = { type: OptionReply.ACK, data: new Uint8Array(0) };
    assertEquals(strip(list), [...new Array(listed).fill(context(0)), ack], queries.join());
    const set = converse(
      join(
        FIXED_NO_ZEROES,
        structured,
        option(Option.SET_META_CONTEXT, body),
        option(Option.GO, infoData("")),
      ),
    );
    assertEquals(
      strip(set).slice(0, -2),
      [...new Array(selected).fill(context(1)), ack],
      queries.join(),
    );
    assertEquals(set.session?.blockStatus, selected === 1);
  }
});

Deno.test("contexts can be listed before structured replies are negotiated", () => {
  assertEquals(answer(Option.LIST_META_CONTEXT, contextData("", [])), OptionReply.ACK);
});

Deno.test("selected contexts are forgotten by the next selection, even a failed one", () => {
  const select = (name: string, queries: string[]) =>
    option(Option.SET_META_CONTEXT, contextData(name, queries));
  const statusAfter = (...options: Uint8Array[]) =>
    converse(
      join(
        FIXED_NO_ZEROES,
        option(Option.STRUCTURED_REPLY),
        ...options,
        option(Option.GO, infoData("data")),
      ),
      { exports: [data, wal] },
    ).session?.blockStatus;
  const good = select("data", ["base:allocation"]);
  assertEquals(statusAfter(good), true);
  assertEquals(statusAfter(good, select("data", [])), false);
  assertEquals(statusAfter(good, select("nope", ["base:allocation"])), false);
  assertEquals(statusAfter(good, option(Option.SET_META_CONTEXT, text("junk"))), false);
  const long = new Uint8Array(OPTION_BYTES_MAX + 1);
  assertEquals(statusAfter(good, option(Option.SET_META_CONTEXT, long)), false);
  assertEquals(statusAfter(good, select("wal", ["base:allocation"])), false);
  assertEquals(statusAfter(select("wal", ["base:allocation"]), good), true);
});

Deno.test("too many queries, and options that are too long, are too big but not fatal", () => {
  const queries = new Array(QUERIES_MAX + 1).fill("base:allocation");
  const many = contextData("", queries);
  assertEquals(answer(Option.LIST_META_CONTEXT, many), OptionReply.ERR_TOO_BIG);
  const long = new Uint8Array(OPTION_BYTES_MAX + 1);
  for (const number of [Option.INFO, Option.GO, Option.LIST, Option.SET_META_CONTEXT]) {
    const outcome = converse(
      join(FIXED_NO_ZEROES, option(number, long), option(Option.STRUCTURED_REPLY)),
    );
    assertEquals(types(outcome), [OptionReply.ERR_TOO_BIG, OptionReply.ACK]);
  }
  assertEquals(answer(99, long), OptionReply.ERR_UNSUP);
});

Deno.test("an option longer than any reason ends the session before its data comes", () => {
  const header = join(text("IHAVEOPT"), u32(Option.GO), u32(OPTION_SKIP_BYTES_MAX + 1));
  assertEquals(converse(join(FIXED_NO_ZEROES, header)).phase, "closed");
  const name = join(text("IHAVEOPT"), u32(Option.EXPORT_NAME), u32(OPTION_BYTES_MAX + 1));
  assertEquals(converse(join(FIXED_NO_ZEROES, name)).phase, "closed");
});

Deno.test("a client that never chooses is cut off after so many options", () => {
  const asks = new Array(OPTIONS_MAX).fill(option(99));
  assertEquals(converse(join(FIXED_NO_ZEROES, ...asks)).phase, "options");
  assertEquals(converse(join(FIXED_NO_ZEROES, ...asks, option(99))).phase, "closed");
});

Deno.test("while the server stops, options are refused for that, but for ABORT", () => {
  const asks = [Option.LIST, Option.INFO, Option.GO, Option.STRUCTURED_REPLY, 99];
  for (const number of asks) {
    const body = number === Option.INFO || number === Option.GO ? infoData("") : undefined;
    const outcome = converse(join(FIXED_NO_ZEROES, option(number, body)), { draining: true });
    assertEquals(types(outcome), [OptionReply.ERR_SHUTDOWN]);
    assertEquals(outcome.phase, "options");
  }
  const abort = converse(join(FIXED_NO_ZEROES, option(Option.ABORT)), { draining: true });
  assertEquals(types(abort), [OptionReply.ACK]);
  const old = converse(join(FIXED_NO_ZEROES, option(Option.EXPORT_NAME, text("data"))), {
    draining: true,
  });
  assertEquals(old.phase, "closed");
});

Deno.test("a session gives the same answers however its bytes are cut", () => {
  const bytes = join(
    FIXED_NO_ZEROES,
    option(Option.LIST),
    option(99, text("junk")),
    option(Option.STRUCTURED_REPLY),
    option(Option.SET_META_CONTEXT, contextData("data", ["base:allocation", "x-a:b"])),
    option(Option.INFO, infoData("data", [Info.BLOCK_SIZE])),
    option(Option.GO, infoData("data", [Info.NAME])),
  );
  const whole = converse(bytes);
  assertEquals(whole.phase, "ready");
  for (let cut = 0; cut < bytes.length; cut++) {
    const split = converse(bytes, { cuts: [cut] });
    assertEquals(split.said, whole.said, `cut at ${cut}`);
    assertEquals(split.phase, "ready");
  }
  const bytewise = converse(bytes, { cuts: Array.from(bytes, (_, index) => index) });
  assertEquals(bytewise.said, whole.said);
});

Deno.test("a skipped option may come in any pieces", () => {
  const bytes = join(
    FIXED_NO_ZEROES,
    option(Option.LIST, new Uint8Array(OPTION_BYTES_MAX + 100)),
    option(Option.STRUCTURED_REPLY),
  );
  for (const cut of [21, 100, OPTION_BYTES_MAX, bytes.length - 17, bytes.length - 16]) {
    const outcome = converse(bytes, { cuts: [cut] });
    assertEquals(types(outcome), [OptionReply.ERR_TOO_BIG, OptionReply.ACK]);
  }
});
