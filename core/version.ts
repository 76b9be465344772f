/**
 * The version of Cascade, and which build of it this is.
 *
 * @module
 */

/** The version of Cascade, as `cascade version` tells it. */
export const VERSION = "0.1.0";

/** Stands in the bundle until the build writes `COMMIT TIME` over it: see build/stamp.ts. */
const STAMP: string = "@cascade-build-stamp@";

/** What a program was built from. Both are null in one that runs from its sources. */
export interface Build {
  /** The commit, abbreviated; with `-dirty` behind it when files differed from it. */
  readonly commit: string | null;
  /** The time of that commit, or of `SOURCE_DATE_EPOCH`: not of the building, so that it can be repeated. */
  readonly date: string | null;
}

/** What this program was built from. */
export function build(): Build {
  return readStamp(STAMP);
}

/** Reads `COMMIT TIME`; anything else is a program that was not stamped. */
export function readStamp(stamp: string): Build {
  const match = /^([0-9a-f]{7,40}(?:-dirty)?|unknown) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$/.exec(
    stamp,
  );
  return { commit: match?.[1] ?? null, date: match?.[2] ?? null };
}

/** Commit and time in one line; null in a program that runs from its sources. */
export function buildText({ commit, date } = build()): string | null {
  return commit === null ? null : `${commit}, ${date}`;
}

/** The version with its build, in one line: `0.1.0 (1a2b3c4d5e, 2026-01-31T12:00:00Z)`. */
export function versionText(of = build()): string {
  return `${VERSION} (${buildText(of) ?? "development"})`;
}
