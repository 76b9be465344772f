/**
 * The certificates of a cascade as a table.
 *
 * @module
 */
import { escapeControls } from "../../io/journal.ts";
import type { CertificateLine, CertificateState } from "../certs_show.ts";
import type { Paint } from "../output.ts";
import { type Column, drawTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "FOR", align: "left", rank: 0 },
  { title: "STATE", align: "left", rank: 0 },
  { title: "UNTIL", align: "left", rank: 0 },
  { title: "LEFT", align: "right", rank: 0 },
  { title: "KEY", align: "left", rank: 0 },
  { title: "SHA-256", align: "left", rank: 0 },
  { title: "ALSO FOR", align: "left", rank: 0 },
];

/** Enough of a fingerprint to tell two apart; `--json` has all of it. */
const FINGERPRINT_LENGTH = 23;
/** Nobody puts up with a line that wraps because of a long list of names. */
const NAMES_LENGTH = 60;

/** The table, then a line for each that has something said of it. */
export function certificateTable(lines: readonly CertificateLine[], paint: Paint): string[] {
  const rows = lines.map((line) => [
    { text: labelOf(line), paint: paint.bold },
    { text: STATE_TEXT[line.state], paint: paintOf(line.state, paint) },
    { text: line.notAfter?.slice(0, 10) ?? "-" },
    { text: leftText(line) },
    { text: line.state === "missing" ? "-" : line.hasKey ? "here" : "elsewhere" },
    { text: line.fingerprint?.slice(0, FINGERPRINT_LENGTH) ?? "-" },
    { text: namesText(line) },
  ]);
  const notes = lines.flatMap((line) => {
    if (line.problem === null) return [];
    const text = escapeControls(`${labelOf(line)}: ${line.problem}`);
    return [line.state === "wrong" ? paint.red(text) : paint.dim(text)];
  });
  if (lines.length === 0) return ["the topology names no certificates"];
  const table = drawTable(COLUMNS, rows, Infinity, paint.dim).map((line) => line.trimEnd());
  return notes.length === 0 ? table : [...table, "", ...notes];
}

const STATE_TEXT: Record<CertificateState, string> = {
  good: "good",
  due: "renew",
  expired: "expired",
  early: "not yet valid",
  wrong: "wrong",
  missing: "not here",
};

function paintOf(state: CertificateState, paint: Paint): (text: string) => string {
  if (state === "good") return paint.green;
  if (state === "missing") return paint.dim;
  return state === "due" ? paint.yellow : paint.red;
}

function labelOf({ kind, name }: CertificateLine): string {
  return kind === "client" ? `client ${name}` : name;
}

function leftText({ daysLeft }: CertificateLine): string {
  return daysLeft === null ? "-" : `${daysLeft}d`;
}

/** Without the URI, which says again what stands in the first column. */
function namesText({ names }: CertificateLine): string {
  const text = names.filter((name) => !name.startsWith("cascade://")).join(", ");
  return text.length > NAMES_LENGTH ? `${text.slice(0, NAMES_LENGTH)}...` : text;
}
