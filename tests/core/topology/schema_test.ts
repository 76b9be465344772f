import { assert, assertEquals } from "@std/assert";
import { topologyJsonSchema } from "../../../core/topology/json_schema.ts";

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
