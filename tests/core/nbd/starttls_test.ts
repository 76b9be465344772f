import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { BlockPool } from "../../../core/nbd/buffers.ts";
import { NbdClient } from "../../../core/nbd/client.ts";
import { Handshake, type TlsMode } from "../../../core/nbd/handshake.ts";
import { Option, OptionReply } from "../../../core/nbd/constants.ts";
import { OPTION_BYTES_MAX } from "../../../core/nbd/nbd_limits.ts";
import type { Connection } from "../../../core/ports.ts";
import { ManualClock, settle } from "../../support/manual_clock.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { pipe } from "./pipe.ts";
import { contextData, infoData, join, option, parseOptionReplies, text, u32 } from "./wire.ts";

const GREETING_BYTES = 18;
const FLAGS = u32(3);
const data = new MemoryBackend(0x1_0000, { name: "data", description: "the data" });

/** A machine that was greeted, and how each option is answered. */
function greeted(tls: TlsMode) {
  const machine = new Handshake([data], tls);
  machine.consume(FLAGS, 0, FLAGS.length);
  machine.takeReplies();
  const say = (bytes: Uint8Array<ArrayBuffer>) => {
    for (let at = 0; at < bytes.length;) {
      const next = machine.consume(bytes, at, bytes.length);
      if (next === at) break;
      at = next;
    }
    return parseOptionReplies(machine.takeReplies()).replies.map(({ type }) => type);
  };
  return { machine, say };
}

const EVERY = [
  option(Option.LIST),
  option(Option.INFO, infoData("data")),
  option(Option.GO, infoData("data")),
  option(Option.STRUCTURED_REPLY),
  option(Option.LIST_META_CONTEXT, contextData("data", [])),
  option(Option.SET_META_CONTEXT, contextData("data", ["base:allocation"])),
  option(99),
  option(Option.GO, new Uint8Array(OPTION_BYTES_MAX + 1)),
];

Deno.test("where TLS is required every option but the way there and out is refused for want of it", () => {
  for (const bytes of EVERY) {
    const { machine, say } = greeted("required");
    assertEquals(say(bytes), [OptionReply.ERR_TLS_REQD]);
    assertEquals([machine.phase, machine.session], ["options", null]);
  }
  const leaving = greeted("required");
  assertEquals(leaving.say(option(Option.ABORT)), [OptionReply.ACK]);
  const naming = greeted("required");
  assertEquals(naming.say(option(Option.EXPORT_NAME, text("data"))), []);
  assertEquals([naming.machine.phase, naming.machine.session], ["closed", null]);
});

Deno.test("over TLS all options are there, and TLS no second time", () => {
  for (const mode of ["allowed", "required"] as const) {
    const { machine, say } = greeted(mode);
    assertEquals(say(option(Option.STARTTLS)), [OptionReply.ACK]);
    assertEquals(machine.phase, "upgrade");
    machine.secured();
    assertEquals(say(option(Option.STARTTLS)), [OptionReply.ERR_INVALID]);
    assertEquals(say(option(Option.GO, infoData("data"))).at(-1), OptionReply.ACK);
    assertEquals(machine.session?.backend, data);
  }
});

Deno.test("what was agreed in plain counts no more over TLS", () => {
  const { machine, say } = greeted("allowed");
  say(option(Option.STRUCTURED_REPLY));
  say(option(Option.SET_META_CONTEXT, contextData("data", ["base:allocation"])));
  say(option(Option.STARTTLS));
  machine.secured();
  say(option(Option.GO, infoData("data")));
  assertEquals([machine.session?.structured, machine.session?.blockStatus], [false, false]);

  const anew = greeted("allowed");
  anew.say(option(Option.SET_META_CONTEXT, contextData("data", ["base:allocation"])));
  anew.say(option(Option.STARTTLS));
  anew.machine.secured();
  anew.say(option(Option.STRUCTURED_REPLY));
  anew.say(option(Option.GO, infoData("data")));
  assertEquals([anew.machine.session?.structured, anew.machine.session?.blockStatus], [
    true,
    false,
  ]);
});

Deno.test("where TLS is off, or its option has data, it is refused and nothing changes", () => {
  const off = greeted("off");
  assertEquals(off.say(option(Option.STARTTLS)), [OptionReply.ERR_UNSUP]);
  for (const mode of ["off", "allowed", "required"] as const) {
    const { machine, say } = greeted(mode);
    assertEquals(say(option(Option.STARTTLS, text("x"))), [OptionReply.ERR_INVALID]);
    assertEquals(machine.phase, "options");
  }
  const plain = greeted("allowed");
  assertEquals(plain.say(option(Option.GO, infoData("data"))).at(-1), OptionReply.ACK);
});

Deno.test("whatever a client says in whatever order, nothing of an export comes before TLS", () => {
  const sayings = fc.array(
    fc.oneof(
      fc.constantFrom(...EVERY.slice(0, -1), option(Option.STARTTLS), option(Option.STARTTLS)),
      fc.constantFrom(option(Option.EXPORT_NAME, text("data")), option(Option.STARTTLS, text("x"))),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.from(bytes)),
    ),
    { maxLength: 12 },
  );
  fc.assert(fc.property(sayings, (said) => {
    const machine = new Handshake([data], "required");
    machine.consume(FLAGS, 0, FLAGS.length);
    machine.takeReplies();
    let isSecure = false;
    for (const bytes of said) {
      for (let at = 0; at < bytes.length;) {
        const next = machine.consume(bytes, at, bytes.length);
        if (next === at) break;
        at = next;
      }
      const replies = machine.takeReplies();
      if (!isSecure) {
        assertEquals(machine.session, null);
        const types = parseOptionReplies(replies).replies.map(({ type }) => type);
        for (const type of types) assert(type === OptionReply.ACK || type >= 0x8000_0000);
      }
      if (machine.phase === "upgrade") {
        machine.secured();
        isSecure = true;
      }
      if (machine.phase === "ready" || machine.phase === "closed") return;
    }
  }));
});

Deno.test("while TLS is begun no byte is taken", () => {
  const { machine } = greeted("required");
  const both = join(option(Option.STARTTLS), option(Option.GO, infoData("data")));
  const next = machine.consume(both, 0, both.length);
  assertEquals(next, option(Option.STARTTLS).length);
  assertEquals(machine.consume(both, next, both.length), next);
  assertEquals([machine.phase, machine.session], ["upgrade", null]);
});

/** A server's client over a pipe, which would begin TLS by going on over another pipe. */
function served(tls: TlsMode) {
  const [far, near] = pipe();
  const [farSecure, nearSecure] = pipe();
  const started: string[] = [];
  const connection: Connection = Object.assign(near, {
    startTls: async (lastWords: Uint8Array<ArrayBuffer>) => {
      started.push(`unread ${near.unreadBytes}`);
      await near.write(lastWords);
      return nearSecure;
    },
  });
  const gone: string[] = [];
  const client = new NbdClient({
    ...{ connection, exports: [data], tls, pool: new BlockPool(2), clock: new ManualClock() },
    handshakeTimeoutMs: 1000,
    onServing: (name) => started.push(name),
    onClosed: (reason, unexpected) => gone.push(`${reason} ${unexpected}`),
  });
  return { far, farSecure, started, gone, done: client.run() };
}

async function heard(end: Connection, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const got = await end.read(bytes.subarray(at));
    if (got === null) break;
    at += got;
  }
  return bytes;
}

Deno.test("a client that asks for TLS goes on over it", async () => {
  const { far, farSecure, started, gone, done } = served("required");
  await heard(far, GREETING_BYTES);
  await far.write(FLAGS);
  await far.write(option(Option.STARTTLS));
  await heard(far, 20);
  await farSecure.write(option(Option.GO, infoData("data")));
  await settle();
  assertEquals(started, ["unread 0", "data"]);
  farSecure.close();
  await done;
  assertEquals(gone, ["the client hung up false"]);
});

Deno.test("what came in plain behind STARTTLS is not believed: the client is sent away", async () => {
  const injected = option(Option.GO, infoData("data"));
  for (const extra of [injected, injected.subarray(0, 1), new Uint8Array(100_000)]) {
    const { far, started, gone, done } = served("required");
    await heard(far, GREETING_BYTES);
    await far.write(join(FLAGS, option(Option.STARTTLS), extra));
    await done;
    assertEquals(started, [], "TLS was not even begun");
    assertEquals(gone.length, 1);
    assertStringIncludes(gone[0]!, "more in plain after it asked for TLS");
    assert(far.unreadBytes === 0, "and not answered");
  }
});
