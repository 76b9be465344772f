/**
 * The demo's end in words: what was written, what each hop carried, and whether all images are equal.
 * A pure function of the result.
 *
 * @module
 */
import { approximateSize } from "../../core/topology/units.ts";
import type { Paint } from "../output.ts";
import { type Cell, type Column, drawTable } from "../ui/table.ts";
import type { FailoverResult } from "./failover.ts";
import type { Hop } from "./hops.ts";
import type { DemoResult } from "./story.ts";

const COLUMNS: readonly Column[] = [
  { title: "LINK", align: "left", rank: 0 },
  { title: "MODE", align: "left", rank: 0 },
  { title: "WRITTEN", align: "right", rank: 0 },
  { title: "CARRIED", align: "right", rank: 0 },
  { title: "SAVED", align: "right", rank: 0 },
  { title: "LAG MAX", align: "right", rank: 1 },
  { title: "HOW", align: "left", rank: 2 },
];

/** The lines, each within `width` columns where the result lets it be. */
export function summaryLines(result: DemoResult, paint: Paint, width: number): string[] {
  const { load, hops } = result;
  const verdicts = [...result.differences].map(([node, offset]) => {
    const verdict = offset === null
      ? paint.green("equal to hq, byte for byte")
      : paint.red(`DIFFERS from hq at byte ${offset}`);
    return `${node.padEnd(10)} ${verdict}`;
  });
  return [
    `written    ${count(load.writes, "write")}, ${approximateSize(load.bytes)}, ${
      count(load.flushes, "flush", "flushes")
    }`,
    `killed     ${result.killed}, with SIGKILL under load; the client saw no error`,
    ...verdicts,
    `took       ${result.seconds.toFixed(1)} s`,
    "",
    ...drawTable(COLUMNS, hops.map((hop) => cellsOf(hop, paint)), width, paint.dim),
    ...hops.filter(({ deltas }) => deltas > 0).flatMap((hop) => ["", ...savingLines(hop)]),
  ];
}

/** The lines of the story of a failover. */
export function failoverLines(result: FailoverResult, paint: Paint): string[] {
  const { load, kept, checks } = result;
  const seconds = (time: number) => `${time.toFixed(1)} s`;
  return [
    `written    ${count(load.writes, "write")}, ${approximateSize(load.bytes)}, ${
      count(load.flushes, "flush", "flushes")
    }`,
    `outage     ${seconds(result.outageSeconds)} until a client was answered again; the promotion ${
      seconds(result.promoteSeconds)
    }`,
    `return     ${seconds(result.returnSeconds)}, ${approximateSize(result.returnBytes)} sent of ${
      approximateSize(result.sizeBytes)
    }`,
    `kept       ${
      kept === null
        ? "nothing: hq had nothing beyond what was replicated"
        : `hq/abandoned/${kept.folder}, ${approximateSize(kept.bytes)}`
    }`,
    `home       ${seconds(result.migrateSeconds)}`,
    `lost       ${paint.green("nothing that was flushed")}, looked for ${
      count(checks.length, "time")
    }`,
    `images     ${paint.green("equal, byte for byte")}`,
    `took       ${seconds(result.seconds)}`,
  ];
}

function cellsOf(hop: Hop, paint: Paint): Cell[] {
  const isDelta = hop.deltas > 0;
  return [
    { text: hop.link, paint: paint.bold },
    { text: hop.mode },
    { text: approximateSize(hop.logBytes) },
    { text: approximateSize(hop.sentBytes) },
    isDelta ? { text: approximateSize(hop.savedBytes), paint: paint.green } : { text: "-" },
    { text: `${hop.lagSecondsMax.toFixed(1)}s` },
    { text: isDelta ? `in ${count(hop.deltas, "delta")}` : "write by write" },
  ];
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** What a newcomer is to see in the figures. */
function savingLines({ to, logBytes, savedBytes }: Hop): string[] {
  if (savedBytes === 0) return [`No place was written more than once between two deltas to ${to}.`];
  const percent = Math.round(100 * savedBytes / logBytes);
  return [
    `${to} was spared ${percent}% of what was written: where a place was written more than once`,
    "between two deltas, only its last content went.",
  ];
}
