/**
 * Asks the upstream node of a link to compare it with its peer, and tells what it found.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { linkNamed, nodeNamed } from "../core/topology/node_config.ts";
import { approximateDuration, approximateSize } from "../core/topology/units.ts";
import type { Difference, VerifyReport } from "../core/verify_report.ts";
import { type AdminTarget, TIMEOUT_NEVER_MS, verifyLink } from "../io/admin_client.ts";
import { readToken } from "../io/secret_source.ts";
import { loadTopology } from "../io/topology_file.ts";
import { EXIT, type ExitCode, ExitWith } from "./exit.ts";
import { printLine } from "./output.ts";

/** What the command line says. */
export interface VerifyRunOptions {
  readonly topology: string;
  readonly link: string;
  readonly repair: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Runs the command. Throws {@linkcode ExitWith} when something differs, or what is wrong. */
export async function runVerify(options: VerifyRunOptions): Promise<void> {
  const report = await verifyLink(targetOf(options), options.link, options.repair);
  if (options.json) printLine(JSON.stringify(report, null, 2));
  else for (const line of reportLines(report, options.quiet)) printLine(line);
  const code = verdictOf(report);
  if (code !== EXIT.done) throw new ExitWith(code);
}

function targetOf({ topology: file, link }: VerifyRunOptions): AdminTarget {
  const topology = loadTopology(file);
  const { name, admin, adminToken } = nodeNamed(topology, linkNamed(topology, link).from);
  if (admin === null) {
    throw new CascadeError("usage", `${name} has no admin address at which it could be asked`, {
      hint: `Give ${name} an \`admin:\` address in ${file}, and restart it.`,
    });
  }
  const token = adminToken === null ? null : readToken(adminToken);
  return { node: name, address: admin, token, timeoutMs: TIMEOUT_NEVER_MS };
}

/** 3 when something differs that was not repaired. */
export function verdictOf({ differentBytes, repairedBytes }: VerifyReport): ExitCode {
  return differentBytes > repairedBytes ? EXIT.differences : EXIT.done;
}

/** What is printed: a line for each range, then one for the whole; `quiet`: only what is wrong. */
export function reportLines(report: VerifyReport, quiet: boolean): string[] {
  const { link, comparedBytes, busyBytes, differentBytes, repairedBytes, durationMs } = report;
  const ranges = report.differences.map(rangeLine);
  const told = report.differences.reduce((sum, { length }) => sum + length, 0);
  if (told < differentBytes) ranges.push(`... ${approximateSize(differentBytes - told)} more`);
  if (quiet && differentBytes === 0) return [];
  const verdict = differentBytes === 0
    ? "nothing differs"
    : `${approximateSize(differentBytes)} in blocks that differ`;
  const repaired = repairedBytes === 0 ? "" : `, ${approximateSize(repairedBytes)} repaired`;
  const compared = `compared ${approximateSize(comparedBytes)} in ${
    approximateDuration(durationMs)
  }`;
  const busy = busyBytes === 0
    ? ""
    : `, ${approximateSize(busyBytes)} not compared: written or on their way meanwhile`;
  return [...ranges, `${link}: ${verdict}${repaired} (${compared}${busy})`];
}

function rangeLine({ volume, offset, length, firstByte }: Difference): string {
  const first = firstByte === null ? "" : `, first at byte ${firstByte}`;
  return `${volume}: ${length} bytes from ${offset} differ${first}`;
}
