import { assert, assertEquals } from "@std/assert";
import { topologyJsonSchema } from "../../../core/topology/json_schema.ts";
import { parseTopology } from "../../../core/topology/parse.ts";
import { keysAt, LINK_KEYS } from "../../../core/topology/schema.ts";

const ROOT = new URL("../../../", import.meta.url);

interface SchemaNode {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly oneOf?: readonly SchemaNode[];
  readonly additionalProperties?: SchemaNode | false;
}

Deno.test("every key of the JSON Schema has a text for an editor to show", () => {
  const bare: string[] = [];
  const walk = (node: SchemaNode, path: string): void => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      if (child.description === undefined) bare.push(`${path}.${key}`);
      walk(child, `${path}.${key}`);
    }
    for (const child of [node.items, node.additionalProperties, ...(node.oneOf ?? [])]) {
      if (typeof child === "object") walk(child, path);
    }
  };
  walk(topologyJsonSchema() as SchemaNode, "");
  assertEquals(bare, []);
});

Deno.test("the JSON Schema is of what a user writes: sizes are text or numbers", () => {
  const text = JSON.stringify(topologyJsonSchema());
  assert(text.includes('"default":"1GiB"'));
  assert(text.includes('"^x-"'));
  assert(!text.includes("1073741824"));
});

Deno.test("the manual has every key", () => {
  const manual = Deno.readTextFileSync(new URL("docs/topology.md", ROOT));
  const keys = [
    ...keysAt([], null),
    ...keysAt(["nodes", "a"], null),
    ...keysAt(["nodes", "a", "log"], null).map((key) => `log.${key}`),
    ...[...LINK_KEYS.values()].flat(),
  ].filter((key) => key !== "log");
  assertEquals(keys.filter((key) => !manual.includes(`\`${key}\``)), []);
});

Deno.test("the topologies in the manual and the README are good", () => {
  for (const name of ["README.md", "docs/topology.md"]) {
    const text = Deno.readTextFileSync(new URL(name, ROOT));
    for (const [, block = ""] of text.matchAll(/^```yaml\n(cascade: 1\n[\s\S]*?)^```$/gm)) {
      // An ellipsis stands for what the reader is to fill in.
      if (block.includes("...")) continue;
      const { problems } = parseTopology(block, name, "/srv");
      assertEquals(problems.map(({ message }) => message), [], block);
    }
  }
});
