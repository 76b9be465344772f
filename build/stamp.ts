/**
 * Writes into a bundle what it was made from. The same commit gives the same bytes, whenever and
 * wherever it is built: the time is the commit's, or that of `SOURCE_DATE_EPOCH` where it is set.
 *
 * @module
 */

/** What stands in core/version.ts. */
const PLACEHOLDER = "@cascade-build-stamp@";

/** `COMMIT TIME`, from git and the environment. Throws where neither tells the time. */
export function stampOf(folder: string, epoch = Deno.env.get("SOURCE_DATE_EPOCH")): string {
  const log = git(folder, "log", "-1", "--format=%h %ct", "--abbrev=10");
  const [commit = "unknown", seconds] = log?.trim().split(" ") ?? [];
  const changed = commit !== "unknown" && git(folder, "status", "--porcelain") !== "";
  const text = epoch === undefined || epoch === "" ? seconds : epoch;
  if (text === undefined || !/^\d{1,11}$/.test(text)) {
    throw new Error(
      text === undefined
        ? "no commit to tell the time of the build: build in a git checkout, or set SOURCE_DATE_EPOCH"
        : `SOURCE_DATE_EPOCH is ${text}; expected seconds since 1970`,
    );
  }
  const time = new Date(Number(text) * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  return `${commit}${changed ? "-dirty" : ""} ${time}`;
}

/** Stamps the JavaScript of a folder. Returns in how many files; throws when there was no place for it. */
export function stampFolder(folder: string, stamp: string): number {
  let count = 0;
  for (const { name } of [...Deno.readDirSync(folder)]) {
    if (!name.endsWith(".js")) continue;
    const text = Deno.readTextFileSync(`${folder}/${name}`);
    if (!text.includes(PLACEHOLDER)) continue;
    Deno.writeTextFileSync(`${folder}/${name}`, text.replaceAll(PLACEHOLDER, stamp));
    count++;
  }
  if (count === 0) throw new Error(`no file in ${folder} has a place for the stamp`);
  return count;
}

/** What git says; null where there is no git, or no repository. */
function git(folder: string, ...args: readonly string[]): string | null {
  try {
    const command = new Deno.Command("git", { args: [...args], cwd: folder, stderr: "null" });
    const { success, stdout } = command.outputSync();
    return success ? new TextDecoder().decode(stdout) : null;
  } catch {
    return null;
  }
}

if (import.meta.main) {
  const [folder = "dist/js"] = Deno.args;
  stampFolder(folder, stampOf("."));
}
