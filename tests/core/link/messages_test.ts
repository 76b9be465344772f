import { assert, assertEquals, assertObjectMatch } from "@std/assert";
import fc from "fast-check";
import { isCascadeError } from "../../../core/errors.ts";
import {
  acceptSchema,
  advanceSchema,
  decodeMessage,
  deltaAckSchema,
  deltaSchema,
  fetchSchema,
  helloSchema,
  positionSchema,
  proofSchema,
  REFUSALS,
  refuseSchema,
  subtreeSchema,
} from "../../../core/link/messages.ts";
import { hashAskSchema, hashSchema } from "../../../core/link/hashes.ts";
import { deltaTrailerSchema } from "../../../core/delta/delta_format.ts";
import { GOLDEN_MESSAGES } from "../../golden/frames_list.ts";
import { assertCode } from "../../support/small.ts";

const SCHEMAS = {
  hello: helloSchema,
  welcome: helloSchema,
  proof: proofSchema,
  position: positionSchema,
  accept: acceptSchema,
  refuse: refuseSchema,
  fetch: fetchSchema,
  "hash-ask": hashAskSchema,
  hash: hashSchema,
  advance: advanceSchema,
  subtree: subtreeSchema,
  delta: deltaSchema,
  "delta-end": deltaTrailerSchema,
  "delta-ack": deltaAckSchema,
} as const;
type Name = keyof typeof SCHEMAS;
const NAMES = Object.keys(SCHEMAS) as Name[];

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode(name: Name, body: Uint8Array): unknown {
  return decodeMessage<unknown>(SCHEMAS[name], body, name);
}

Deno.test("the messages of the golden frames pass their schemas", () => {
  for (const name of NAMES) {
    const golden: Record<string, unknown> = GOLDEN_MESSAGES[name];
    const read = decode(name, encode(golden)) as Record<string, unknown>;
    // Fields that came later have what they are when nobody tells them.
    assertObjectMatch(read, golden);
    for (const field of Object.keys(golden)) assertEquals(field in read, true, `${name} ${field}`);
  }
});

Deno.test("a link's status of an older node knows of no delta, schedule or map", () => {
  const read = decode("subtree", encode(GOLDEN_MESSAGES.subtree)) as typeof GOLDEN_MESSAGES.subtree;
  assertObjectMatch({ ...read.links[0] }, { delta: null, schedule: null, mapBytes: null });
});

Deno.test("a field that a later version adds is no fault", () => {
  for (const name of NAMES) {
    decode(name, encode({ ...GOLDEN_MESSAGES[name], addedLater: true }));
  }
});

Deno.test("a message without one of its fields, or with a wrong one, is a protocol error", () => {
  for (const name of NAMES) {
    const message: Record<string, unknown> = { ...GOLDEN_MESSAGES[name] };
    for (const field of Object.keys(message)) {
      const { [field]: _, ...rest } = message;
      if (field !== "forkLsn") assertCode(() => decode(name, encode(rest)), "protocol");
      assertCode(() => decode(name, encode({ ...message, [field]: [7] })), "protocol");
    }
  }
});

Deno.test("any bytes are a message or a protocol error", () => {
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.json().map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(fc.property(fc.constantFrom(...NAMES), body, (name, bytes) => {
    try {
      decode(name, bytes);
    } catch (error) {
      assert(isCascadeError(error, "protocol"), String(error));
    }
  }));
});

Deno.test("text that is no UTF-8 is a protocol error", () => {
  assertCode(() => decode("proof", Uint8Array.of(0x22, 0xff, 0x22)), "protocol");
});

Deno.test("lists and names have limits", () => {
  const position = GOLDEN_MESSAGES.position;
  const epoch = position.history[0];
  const volume = position.volumes[0];
  const tooMuch = [
    { ...position, history: new Array(1001).fill(epoch) },
    { ...position, volumes: new Array(1025).fill(volume) },
    { ...position, base: { data: "x".repeat(65) } },
  ];
  for (const bad of tooMuch) assertCode(() => decode("position", encode(bad)), "protocol");
  const hello = { ...GOLDEN_MESSAGES.hello, node: "n".repeat(129) };
  assertCode(() => decode("hello", encode(hello)), "protocol");
});

Deno.test("LSNs past what can be counted exactly are refused", () => {
  for (const bad of [2 ** 53, 1.5, -16, "16", null]) {
    assertCode(() => decode("fetch", encode({ fromLsn: 0, toLsn: bad })), "protocol");
  }
});

Deno.test("every refusal has its code on the wire", () => {
  for (const code of REFUSALS) decode("refuse", encode({ code, message: "why" }));
  assertCode(() => decode("refuse", encode({ code: "because", message: "why" })), "protocol");
});
