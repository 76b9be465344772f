import { assert, assertEquals } from "@std/assert";
import { parseTopology } from "../../../core/topology/parse.ts";

const SAMPLES = new URL("../../../samples/", import.meta.url);
const WRONG = new URL("../../topologies/", import.meta.url);

/** Paths in messages are resolved from here. */
const FOLDER = "/srv";

function yamlFiles(folder: URL): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((n) => n.endsWith(".yaml"));
}

for (const name of yamlFiles(SAMPLES)) {
  Deno.test(`the sample ${name} is good, without a warning`, () => {
    const text = Deno.readTextFileSync(new URL(name, SAMPLES));
    const { topology, problems } = parseTopology(text, name, FOLDER);
    assertEquals(problems.map(({ line, message }) => `${line}: ${message}`), []);
    assert(topology !== null);
  });
}

for (const name of yamlFiles(WRONG)) {
  Deno.test(`the topology ${name} gives exactly the problems that it promises`, () => {
    const text = Deno.readTextFileSync(new URL(name, WRONG));
    const promised = [...text.matchAll(/^# expect: (.*)$/gm)].map((match) => match[1]);
    const { topology, problems } = parseTopology(text, name, FOLDER);
    const found = problems.map(({ line, column, severity, message }) =>
      `${line}:${column} ${severity === "warning" ? "warning: " : ""}${message}`
    );
    assert(promised.length > 0, "the file has no line `# expect: LINE:COL message`");
    assertEquals(found, promised);
    assertEquals(topology !== null, name.startsWith("warning_"));
  });
}
