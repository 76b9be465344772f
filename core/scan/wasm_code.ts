/**
 * The few instructions of WebAssembly that hashing blocks takes, as bytes, and a module of one
 * function around them. Numbers are those of the core specification, with its vector instructions.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { Bytes } from "../ports.ts";

/** Instructions, one after the other. */
export type Code = readonly number[];

/** Types of values. */
export const Type = { I32: 0x7f, I64: 0x7e, V128: 0x7b } as const;

const NO_RESULT = 0x40;
const FUNCTION = 0x60;
const MEMORY = 0x02;

/** A number as LEB128, without sign. */
function unsigned(value: number): Code {
  assert(Number.isInteger(value) && value >= 0 && value < 2 ** 31, "a number without a sign");
  const bytes: number[] = [];
  for (let rest = value; bytes.length === 0 || rest > 0; rest >>>= 7) {
    bytes.push(rest % 128 + (rest >= 128 ? 128 : 0));
  }
  return bytes;
}

/** A number as LEB128, with a sign: the seventh bit of the last byte. */
function signed(value: number): Code {
  const bytes = [...unsigned(value)];
  const last = bytes.pop()!;
  return last < 64 ? [...bytes, last] : [...bytes, last + 128, 0];
}

const vector = (opcode: number): Code => [0xfd, ...unsigned(opcode)];

/** The instructions. `offset` is in bytes, added to the address on the stack. */
export const op = {
  get: (local: number): Code => [0x20, ...unsigned(local)],
  set: (local: number): Code => [0x21, ...unsigned(local)],
  tee: (local: number): Code => [0x22, ...unsigned(local)],
  i32Const: (value: number): Code => [0x41, ...signed(value)],
  i32Add: [0x6a],
  i32Subtract: [0x6b],
  i32Below: [0x49],
  i32Store: (offset: number): Code => [0x36, 0, ...unsigned(offset)],
  i64Load: (offset: number): Code => [0x29, 0, ...unsigned(offset)],
  i64Add: [0x7c],
  i64Multiply: [0x7e],
  i64ShiftRight: [0x88],
  i64Const: (value: number): Code => [0x42, ...signed(value)],
  i32Wrap: [0xa7],
  i64ExtendUnsigned: [0xad],
  v128Load: (offset: number): Code => [...vector(0), 0, ...unsigned(offset)],
  v128Store: (offset: number): Code => [...vector(11), 0, ...unsigned(offset)],
  v128Zero: [...vector(12), ...new Array<number>(16).fill(0)],
  v128Or: vector(0x50),
  v128AnyTrue: vector(0x53),
  i32x4Add: vector(0xae),
  i64x2Add: vector(0xce),
  i64x2Lane: (lane: number): Code => [...vector(0x1d), lane],
  /** Products of the two low, or high, lanes of 32 bits without sign. */
  i64x2MultiplyLow: vector(0xde),
  i64x2MultiplyHigh: vector(0xdf),
  /** The body again while it leaves a number that is not zero. */
  repeatWhile: (body: Code): Code => [0x03, NO_RESULT, ...body, 0x0d, 0, 0x0b],
  ifElse: (yes: Code, no: Code): Code => [0x04, NO_RESULT, ...yes, 0x05, ...no, 0x0b],
} as const;

const counted = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
const text = (value: string): Code => sized([...new TextEncoder().encode(value)]);

/** A module: imports `env.memory`, exports one function `run` without a result. */
export function moduleOf(
  parameters: readonly number[],
  locals: readonly { readonly count: number; readonly type: number }[],
  body: Code,
): Bytes {
  const variables = counted(locals.map(({ count, type }) => [...unsigned(count), type]));
  const section = (id: number, items: readonly Code[]): Code => [id, ...sized(counted(items))];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[FUNCTION, ...counted(parameters.map((type) => [type])), 0]]),
    ...section(2, [[...text("env"), ...text("memory"), MEMORY, 0, 1]]),
    ...section(3, [[0]]),
    ...section(7, [[...text("run"), 0, 0]]),
    ...section(10, [sized([...variables, ...body, 0x0b])]),
  ]);
}
