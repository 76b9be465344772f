/**
 * How `cascade log` draws what it found.
 *
 * @module
 */
import type { Gap } from "../../core/log/gaps.ts";
import type { Inspection, TornEnd } from "../../core/log/inspect.ts";
import type { Damage } from "../../core/log/survey.ts";
import type { DumpLine, RecordSummary } from "../log_folder.ts";
import type { Paint } from "../output.ts";
import { type Column, drawTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "FILE", align: "left", rank: 0 },
  { title: "STATE", align: "left", rank: 0 },
  { title: "BASE", align: "right", rank: 0 },
  { title: "END", align: "right", rank: 0 },
  { title: "RECORDS", align: "right", rank: 0 },
  { title: "DURABLE", align: "right", rank: 0 },
];

/** The segments as a table, and a line on the whole. */
export function segmentTable(inspection: Inspection, paint: Paint): string[] {
  const number = (value: number | null) => value === null ? "-" : String(value);
  const rows = inspection.segments.map((segment) => [
    { text: segment.file.split("/").at(-1) ?? "" },
    {
      text: segment.state,
      ...(segment.state === "damaged" ? { paint: paint.red } : {}),
    },
    { text: number(segment.baseLsn) },
    { text: number(segment.endLsn) },
    { text: segment.baseLsn === null ? "-" : String(segment.records) },
    { text: number(segment.durableLsn) },
  ]);
  const { startLsn, endLsn, records, knownDurableLsn, checkpointLsn, gaps, damage } = inspection;
  const checkpoint = checkpointLsn === null ? "" : `, checkpoint ${checkpointLsn}`;
  const whole = `LSN ${startLsn} to ${endLsn}, ${records} records, known durable up to ` +
    `${knownDurableLsn}${checkpoint}`;
  const harm = damage.length === 0 ? [] : [
    paint.red(`damaged in ${damage.length} place${damage.length === 1 ? "" : "s"}`) +
    ": see cascade log check",
  ];
  return [...drawTable(COLUMNS, rows, Infinity, paint.bold), whole, ...gaps.map(gapLine), ...harm];
}

/** What is not in the log, on one line. */
export function gapLine({ fromLsn, toLsn }: Gap): string {
  return `LSN ${fromLsn} to ${toLsn} came as a delta`;
}

/** One record, or a gap between two, on one line. */
export function dumpLine(line: DumpLine): string {
  if (line.type !== "delta") return recordLine(line);
  return gapLine({ fromLsn: line.lsn, toLsn: line.toLsn });
}

function recordLine(record: RecordSummary): string {
  const { lsn, type, epoch, timeMs } = record;
  const time = new Date(timeMs);
  const when = Number.isNaN(time.getTime()) ? `${timeMs}ms` : time.toISOString();
  return `${lsn} ${when} epoch ${epoch} ${type} ${subjectOf(record)}`;
}

function subjectOf(record: RecordSummary): string {
  switch (record.type) {
    case "mark":
      return JSON.stringify(record.name);
    case "epoch":
      return `${record.id} of ${record.node}`;
    case "write":
    case "zero":
    case "trim": {
      const { volume, offset, length, noHole } = record;
      return `volume ${volume} offset ${offset} length ${length}${
        noHole === true ? " no hole" : ""
      }`;
    }
  }
}

/** One damaged place on one line. */
export function damageLine({ file, offset, lsn, found }: Damage): string {
  const where = lsn === null ? "" : ` LSN ${lsn}`;
  return `${file} offset ${offset}${where}: ${found}`;
}

/** A torn end on one line. */
export function tornLine({ file, offset, lsn, found }: TornEnd): string {
  return `note: the log ends at LSN ${lsn} (${file}, offset ${offset}: ${found}). What stands ` +
    `behind was not flushed when the power went; it is cut off at the next start`;
}
