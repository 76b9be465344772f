/**
 * Whatever a peer says that has proved itself, in sound frames: neither node stops, each starts again from what
 * its disk holds, and once both speak the truth the link goes on or says why not.
 */
import { assert, assertEquals } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { FRAME_HEADER_BYTES, FrameType, jsonFrame, sealFrame } from "../../../core/link/frames.ts";
import type { Bytes } from "../../../core/ports.ts";
import {
  headOf,
  isJson,
  type LiarOptions,
  Liars,
  type Lie,
  messageOf,
  packedAs,
  setNumber,
  type Speaker,
  typeOf,
  VOLUME_BYTES,
  withBody,
  withMessage,
  withRecords,
} from "../../support/liars.ts";
import { Prng } from "../../sim/prng.ts";

const NUMBERS = [
  0,
  1,
  15,
  16,
  48,
  4096,
  65536,
  2 ** 31,
  2 ** 32,
  2 ** 32 - 16,
  2 ** 48,
  2 ** 53 - 16,
];
const VALUES: readonly unknown[] = [
  ...NUMBERS,
  -1,
  0.5,
  1e300,
  null,
  true,
  "",
  "a",
  "b",
  "x".repeat(2000),
  "\u001b[2J\n",
  [],
  {},
  "0".repeat(32),
];

/** The handshake is not lied about: those lies prove nothing. */
function isLate(frame: Bytes): boolean {
  return typeOf(frame) > FrameType.PROOF;
}

function lieInJson(prng: Prng, frame: Bytes): Bytes {
  const message = messageOf<unknown>(frame);
  let holder: Record<string, unknown> = { message };
  let key = "message";
  while (prng.chance(0.9)) {
    const value = holder[key];
    if (value === null || typeof value !== "object") break;
    const keys = Object.keys(value);
    if (keys.length === 0) break;
    holder = value as Record<string, unknown>;
    key = keys[prng.below(keys.length)]!;
  }
  const old = holder[key];
  holder[key] = typeof old === "number" && prng.chance(0.5)
    ? Math.max(0, old + [-4096, -64, -16, -1, 1, 16, 64, 4096][prng.below(8)]!)
    : VALUES[prng.below(VALUES.length)];
  return withMessage(frame, holder["message"] ?? message);
}

function lieInNumbers(prng: Prng, bytes: Bytes, from: number, to: number): void {
  const at = from + 8 * prng.below(Math.max(1, Math.floor((to - from) / 8)));
  if (at + 8 > bytes.length) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const old = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  const near = Math.max(0, old + [-4096, -64, -16, 16, 64, 4096][prng.below(6)]!);
  setNumber(bytes, at, prng.chance(0.6) ? near : NUMBERS[prng.below(NUMBERS.length)]!);
}

function lieIn(prng: Prng, frame: Bytes): Bytes {
  const type = typeOf(frame);
  if (isJson(frame)) return lieInJson(prng, frame);
  const head = headOf(type);
  if (head > 0 && frame.length > FRAME_HEADER_BYTES + head && prng.chance(0.6)) {
    if (prng.chance(0.1)) return packedAs(frame, new Uint8Array(3000), NUMBERS[prng.below(6)]!);
    return withRecords(frame, (record) => {
      if (prng.chance(0.5)) return record;
      const field = prng.below(5);
      if (field === 0) record[8] = prng.below(8);
      else if (field === 1) record[10] = prng.below(3);
      else if (field === 2) record[12] = prng.below(4);
      else lieInNumbers(prng, record, 16, 48);
      return record;
    });
  }
  const body = frame.slice(FRAME_HEADER_BYTES);
  if (prng.chance(0.1)) return withBody(frame, body.subarray(0, prng.below(body.length)));
  lieInNumbers(prng, body, 0, head === 0 ? body.length : head);
  return withBody(frame, body, prng.chance(0.8) ? frame[5] : prng.below(4));
}

/** A frame of a random type and content. */
function madeUp(prng: Prng): Bytes {
  const type = (4 + prng.below(20)) as FrameType;
  if (prng.chance(0.5)) {
    const lsn = NUMBERS[prng.below(NUMBERS.length)];
    return jsonFrame(type, {
      fromLsn: lsn,
      toLsn: lsn,
      lsn,
      base: null,
      links: [],
      id: 1,
      extents: [[0, lsn, lsn]],
      isLast: true,
      ask: "status",
      kind: "status",
    });
  }
  const frame = new Uint8Array(FRAME_HEADER_BYTES + 8 * prng.below(12));
  for (let at = FRAME_HEADER_BYTES; at < frame.length; at += 8) {
    lieInNumbers(prng, frame, at, at + 8);
  }
  const head = headOf(type) || frame.length;
  sealFrame(
    frame,
    0,
    type,
    prng.below(4),
    frame.length - FRAME_HEADER_BYTES,
    Math.min(head, frame.length - FRAME_HEADER_BYTES),
  );
  return frame;
}

function liar(prng: Prng, who: Speaker, said: string[]): Lie {
  const past: Bytes[] = [];
  return (speaker, frame) => {
    if (speaker !== who || !isLate(frame)) return [frame];
    past.push(frame);
    if (past.length > 20) past.shift();
    if (prng.chance(0.7)) return [frame];
    said.push(`${who} type ${typeOf(frame)}`);
    if (prng.chance(0.1)) return [];
    if (prng.chance(0.1)) return [past[prng.below(past.length)]!];
    if (prng.chance(0.1)) return [frame, frame];
    if (prng.chance(0.15)) return [madeUp(prng), frame];
    return [lieIn(prng, frame)];
  };
}

const IMAGE = new Uint8Array(VOLUME_BYTES).fill(9, 0, 300_000);

const SCENES: readonly (readonly [string, LiarOptions])[] = [
  ["sync", { link: { mode: "sync", timeoutMs: 500 } }],
  ["async, with a first copy", { image: IMAGE }],
  ["periodic", {
    link: {
      mode: "periodic",
      schedule: { everyMs: 200, jitterMs: 0, cron: null, window: null, timezone: null },
    },
  }],
];

async function play(seed: number, options: LiarOptions, who: Speaker): Promise<void> {
  const prng = new Prng(seed);
  const said: string[] = [];
  const liars = await Liars.start(options === undefined ? {} : options);
  try {
    const isTold = prng.chance(0.5);
    if (isTold) await liars.pass(300);
    liars.lie = liar(prng, who, said);
    for (let turn = 0; turn < 6; turn++) {
      if (prng.chance(0.3)) liars.cut();
      for (let i = 0; i < 10; i++) {
        try {
          liars.write(512 * prng.below(1000), 512 + 512 * prng.below(20), prng.below(256));
        } catch (error) {
          if (!(error instanceof CascadeError)) throw error;
        }
        await liars.pass(20 + prng.below(100));
      }
      if (prng.chance(0.3)) liars.a.node.verify.verify("a-b", false).catch(() => {});
      check(liars, said);
    }
    liars.lie = (_, frame) => [frame];
    liars.cut();
    // Each starts again from what its disk holds.
    for (const side of [liars.a, liars.b]) {
      side.node.onFatal(new CascadeError("stopping", "a restart"));
      await liars.pass(50);
      await liars.begin(side);
    }
    await liars.pass(500);
    check(liars, said);
  } catch (error) {
    throw new Error(`seed ${seed}, ${who} lies: ${error}; ${said.slice(-8).join(", ")}`, {
      cause: error,
    });
  } finally {
    await liars.end();
  }
}

function check(liars: Liars, said: string[]): void {
  for (const { node, config } of [liars.a, liars.b]) {
    // A node may find that it was told of what never was, and stand still: that is told, and no failure.
    assert(node.phase !== "failed", `${config.name} failed: ${node.reason} (${said.at(-1)})`);
  }
}

const SEEDS = Number(Deno.env.get("LIAR_SEEDS") ?? 8);
const FIRST = Number(Deno.env.get("LIAR_FIRST") ?? 1);

for (const [name, options] of SCENES) {
  for (const who of ["a", "b"] as const) {
    Deno.test(`no lie of ${who} stops a node: ${name}`, async () => {
      const faults: string[] = [];
      for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
        await play(seed, options, who).catch((error) =>
          faults.push(`${error.message}\n${(error.cause as Error).stack}`)
        );
      }
      assertEquals(faults, []);
    });
  }
}
