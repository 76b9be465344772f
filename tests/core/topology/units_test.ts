import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  approximateDuration,
  approximateSize,
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
  type UnitResult,
} from "../../../core/topology/units.ts";

const GIB = 1024 ** 3;

/** Text, and the number it reads as; null: it is refused. */
type Case = readonly [text: string, value: number | null];

function check(parse: (text: string) => UnitResult, cases: readonly Case[]): void {
  for (const [text, value] of cases) {
    const result = parse(text);
    assertEquals(result.ok ? result.value : null, value, JSON.stringify(text));
  }
}

Deno.test("sizes read as whole bytes, or not at all", () => {
  check(parseSize, [
    ["0", 0],
    ["4096", 4096],
    ["4096B", 4096],
    ["10GiB", 10 * GIB],
    ["10 GiB", 10 * GIB],
    [" 10GiB ", 10 * GIB],
    ["1.5GiB", 1.5 * GIB],
    ["10GB", 10e9],
    ["2.5kB", 2500],
    ["512MiB", GIB / 2],
    ["7PiB", 7 * 1024 ** 5],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["9007199254740992", null],
    ["8PiB", null],
    ["0.1GiB", null],
    ["10G", null],
    ["10gib", null],
    ["10KB", null],
    ["-1", null],
    ["1e9", null],
    ["1,5GiB", null],
    ["GiB", null],
    [".5GiB", null],
    ["", null],
    ["1".repeat(100), null],
  ]);
});

Deno.test("a size with half a unit is answered with both meanings", () => {
  assertEquals(parseSize("10G"), {
    ok: false,
    expected: "10GiB (powers of 1024) or 10GB (powers of 1000)",
  });
});

Deno.test("durations read as whole milliseconds, larger units first", () => {
  check(parseDuration, [
    ["0s", 0],
    ["500ms", 500],
    ["30s", 30_000],
    ["15m", 900_000],
    ["1.5h", 5_400_000],
    ["1h30m", 5_400_000],
    ["7d", 604_800_000],
    ["1d2h3m4s5ms", 93_784_005],
    ["30", null],
    ["30m1h", null],
    ["1h1h", null],
    ["1.0001s", null],
    ["1 h", null],
    ["-5s", null],
    ["9999999999999d", null],
    ["", null],
  ]);
});

Deno.test("rates are sizes per second", () => {
  check(parseRate, [
    ["20MiB/s", 20 * 1024 ** 2],
    ["20 MiB / s", 20 * 1024 ** 2],
    ["500B/s", 500],
    ["20MiB", null],
    ["20/s", null],
    ["20MiB/h", null],
    ["/s", null],
  ]);
});

Deno.test("what is formatted reads back as the same number", () => {
  const anyNumber = fc.oneof(
    fc.maxSafeNat(),
    fc.tuple(fc.nat(2000), fc.constantFrom(1000, 1024, 1e6, 1024 ** 2, 1e9, 1024 ** 3, 512))
      .map(([count, unit]) => count * unit),
  );
  const pairs: [(value: number) => string, (text: string) => UnitResult][] = [
    [formatSize, parseSize],
    [formatRate, parseRate],
    [formatDuration, parseDuration],
  ];
  for (const [format, parse] of pairs) {
    fc.assert(fc.property(anyNumber, (value) => {
      assertEquals(parse(format(value)), { ok: true, value });
    }));
  }
});

Deno.test("sizes are written in the shortest exact way", () => {
  for (
    const [bytes, text] of [
      [0, "0"],
      [512, "512"],
      [1024, "1KiB"],
      [1.5 * GIB, "1.5GiB"],
      [
        10e9,
        "10GB",
      ],
      [1000, "1kB"],
      [1025, "1025"],
    ] as const
  ) assertEquals(formatSize(bytes), text);
});

Deno.test("for the eye, sizes have three digits and durations two units", () => {
  for (
    const [bytes, text] of [[0, "0B"], [999, "999B"], [1536, "1.5KiB"], [10e9, "9.31GiB"], [
      123 * GIB,
      "123GiB",
    ]] as const
  ) assertEquals(approximateSize(bytes), text);
  for (
    const [ms, text] of [[250, "250ms"], [61_499, "1m1s"], [59_999, "1m"], [90_061_000, "1d1h"], [
      Infinity,
      "forever",
    ]] as const
  ) assertEquals(approximateDuration(ms), text);
});
