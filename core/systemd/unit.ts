/**
 * The text of systemd units: sections of settings, with comments that say why.
 *
 * @module
 */

/** One line: a setting, or a comment. */
export type UnitLine = readonly [name: string, value: string] | string;

/** A file for `/etc/systemd/system`. */
export interface Unit {
  readonly name: string;
  readonly text: string;
}

/** Puts a unit's text together. A line that is a text alone becomes a comment. */
export function unitText(
  head: readonly string[],
  sections: readonly (readonly [name: string, lines: readonly UnitLine[]])[],
): string {
  const parts = sections.map(([name, lines]) => `[${name}]\n${lines.map(lineText).join("")}`);
  return [head.map(lineText).join(""), ...parts].join("\n");
}

function lineText(line: UnitLine): string {
  if (typeof line !== "string") return `${line[0]}=${line[1]}\n`;
  // A path with a line end in it would otherwise begin a setting of its own.
  return line === "" ? "\n" : `# ${line.replace(/[\r\n]+/g, "\n# ")}\n`;
}

/** Settings that stand there for whoever can use them, and have no effect. */
export function asComments(lines: readonly UnitLine[]): UnitLine[] {
  return lines.map((line) => typeof line === "string" ? line : `${line[0]}=${line[1]}`);
}

/** A word of a command line: nothing in it means anything to systemd. */
export function commandWord(word: string): string {
  return settingWord(word).replaceAll("$", "$$$$");
}

/** A word of a setting that takes several, such as a path. */
export function settingWord(word: string): string {
  const text = word.replaceAll("%", "%%");
  if (/^[\w@%+:,.\/=~$-]+$/.test(text)) return text;
  const quoted = text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return `"${quoted}"`;
}

/** A text in a setting that takes the whole line, such as a description. */
export function settingText(text: string): string {
  return text.replaceAll("%", "%%").replace(/\s+/g, " ");
}
