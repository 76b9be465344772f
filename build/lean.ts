/**
 * Makes a bundle start sooner, in two ways that change nothing of what it does:
 *
 * - Commander gets commander_host.ts in place of Node's modules.
 * - The runtime looks at every module that is named in an `import("...")`, wherever it stands, before it runs
 *   anything. A name that is computed is looked at when it is imported, so that a command loads only its own.
 *
 * @module
 */

/** The bundle's file of commander_host.ts. */
export const HOST = "build/commander_host.js";

/** What commander imports; a chunk with more of Node's is not commander's alone. */
const HOSTED = [
  "node:events",
  "node:child_process",
  "node:path",
  "node:fs",
  "node:process",
  "node:util",
];

/** Of what is in the bundle, commander alone starts programs by Node's means. */
const SIGN = "node:child_process";

const NODE_IMPORT = /\bfrom\s*"(node:[a-z_/]+)"/g;
const DYNAMIC_IMPORT = /\bimport\(("\.\/[\w.-]+\.js")\)/g;

/** The text of a chunk, made lean. Throws when commander cannot be told from the rest any more. */
export function leaner(text: string): string {
  return text.includes(`"${SIGN}"`)
    ? hosted(text).replace(DYNAMIC_IMPORT, "import(String($1))")
    : text.replace(DYNAMIC_IMPORT, "import(String($1))");
}

function hosted(text: string): string {
  return text.replace(NODE_IMPORT, (_, name: string) => {
    if (!HOSTED.includes(name)) throw new Error(`the chunk of commander imports ${name} too`);
    return `from"./${HOST}"`;
  });
}

/** Makes the JavaScript of a folder lean. Throws when nothing in it is commander's. */
export function leanFolder(folder: string): void {
  let count = 0;
  for (const { name } of [...Deno.readDirSync(folder)]) {
    if (!name.endsWith(".js")) continue;
    const path = `${folder}/${name}`;
    const text = Deno.readTextFileSync(path);
    if (text.includes(`"${SIGN}"`)) count++;
    Deno.writeTextFileSync(path, leaner(text));
  }
  if (count !== 1) {
    throw new Error(`expected one chunk with commander in ${folder}, found ${count}`);
  }
}

if (import.meta.main) {
  const [folder = "dist/js"] = Deno.args;
  leanFolder(folder);
}
